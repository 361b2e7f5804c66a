//! The content of a packet at its final hop: a SURB-ack to send on, and a message to deliver.
//!
//! A SURB-ack is a ready-made Sphinx packet that tells the sender of its message's arrival. In every packet that is not
//! itself an acknowledgement the plaintext is `first hop, zero-padded to 19 | SURB-ack 386 | message`.
//!
//! *Trusts* nothing: the plaintext is the sender's. *Promises*: nothing is copied, and a packet whose SURB-ack cannot
//! be sent yields no message either, because nobody would ever learn of the delivery.

use std::net::SocketAddr;

use bytes::Bytes;

use super::{
    packet::PacketSize,
    routing::{self, RoutingAddressError},
};

/// Bytes in front of the message: the first hop's address and the SURB-ack.
pub const SURB_ACK_LEN: usize = routing::IPV6_LEN + PacketSize::Ack.packet_len();

/// The plaintext of a final hop, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinalHopContent {
    /// The packet to send once the message is safe. Only an acknowledgement has none.
    pub surb_ack: Option<SurbAck>,
    /// The message for the client. May be empty.
    pub message: Bytes,
}

/// A reply packet that the sender made in advance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SurbAck {
    /// The mix node to which it is sent.
    pub next_hop: SocketAddr,
    /// The Sphinx packet, 386 bytes, to be sent as it is.
    pub packet: Bytes,
}

/// Why a plaintext cannot be delivered. All of it is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// The plaintext is too short to carry a SURB-ack.
    #[error("the final hop's plaintext of {0} bytes carries no SURB-ack, which takes {SURB_ACK_LEN}")]
    NoSurbAck(usize),
    /// The SURB-ack has no valid first hop.
    #[error("the SURB-ack cannot be sent: {0}")]
    BadAckAddress(#[from] RoutingAddressError),
}

/// Splits the plaintext of a packet of this size into SURB-ack and message. Both share the plaintext's memory.
///
/// # Errors
/// [`SplitError`] if the packet should carry a SURB-ack and does not. The real gateways drop such a packet too.
pub fn split(size: PacketSize, plaintext: Bytes) -> Result<FinalHopContent, SplitError> {
    if size == PacketSize::Ack {
        return Ok(FinalHopContent { surb_ack: None, message: plaintext });
    }
    if plaintext.len() < SURB_ACK_LEN {
        return Err(SplitError::NoSurbAck(plaintext.len()));
    }
    let mut message = plaintext;
    let next_hop = routing::decode_padded(&message.split_to(routing::IPV6_LEN))?;
    let packet = message.split_to(PacketSize::Ack.packet_len());
    Ok(FinalHopContent { surb_ack: Some(SurbAck { next_hop, packet }), message })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn bytes(value: &Value) -> Bytes {
        hex::decode(value.as_str().unwrap()).unwrap().into()
    }

    fn size(value: &Value) -> PacketSize {
        let name = value.as_str().unwrap();
        PacketSize::ALL.into_iter().find(|size| format!("{size:?}").to_lowercase() == name).unwrap()
    }

    #[test]
    fn packets_of_today() {
        let vectors: Value = serde_json::from_str(include_str!("../vectors/final_hop.json")).unwrap();
        let cases = vectors["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 14);
        let lengths: Value = serde_json::from_str(include_str!("../vectors/packet_sizes.json")).unwrap();
        for case in cases {
            let (size, plaintext) = (size(&case["size"]), bytes(&case["plaintext_payload"]));
            let expected = &case["expected"];
            let outcome = split(size, plaintext.clone());
            if expected["ok"] == true {
                let content = outcome.unwrap();
                let index = PacketSize::ALL.iter().position(|s| *s == size).unwrap();
                assert_eq!(lengths["cases"][index]["pushed_message_bytes"], content.message.len());
                assert_eq!(content.message, bytes(&expected["message"]));
                let (next_hop, packet) = match content.surb_ack {
                    Some(ack) => (Value::from(ack.next_hop.to_string()), Value::from(hex::encode(ack.packet))),
                    None => (Value::Null, Value::Null),
                };
                assert_eq!(next_hop, expected["forward_ack_next_hop"]);
                assert_eq!(packet, expected["forward_ack_packet"]);
            } else if plaintext.len() < SURB_ACK_LEN {
                assert_eq!(outcome, Err(SplitError::NoSurbAck(8)));
            } else {
                let reason = RoutingAddressError::UnknownType(0);
                assert_eq!(outcome, Err(SplitError::BadAckAddress(reason)));
            }
        }
    }

    #[test]
    fn packets_of_2021() {
        let vectors: Value = serde_json::from_str(include_str!("../vectors/crypto_and_packets_2021.json")).unwrap();
        let cases = vectors["final_hop"].as_array().unwrap();
        assert_eq!(cases.len(), 3);
        for case in cases {
            let code = bytes(&case["framed_header_mix"])[0];
            let content = split(PacketSize::from_code(code).unwrap(), bytes(&case["plaintext"])).unwrap();
            assert_eq!(content.message, bytes(&case["message"]));
            let ack = content
                .surb_ack
                .map_or_else(Vec::new, |ack| [&routing::encode_padded::<19>(ack.next_hop)[..], &ack.packet].concat());
            assert_eq!(ack, bytes(&case["surb_ack"]));
        }
    }

    #[test]
    fn nothing_is_copied_and_an_empty_message_is_one() {
        let mut plaintext = vec![7; SURB_ACK_LEN];
        plaintext[..7].copy_from_slice(&routing::encode("1.2.3.4:5".parse().unwrap()));
        let plaintext = Bytes::from(plaintext);
        let content = split(PacketSize::Regular, plaintext.clone()).unwrap();
        assert_eq!(content.message, Bytes::new());
        let ack = content.surb_ack.unwrap();
        assert_eq!(ack.packet.as_ptr(), plaintext[19..].as_ptr());
        assert_eq!(split(PacketSize::Regular, plaintext.slice(1..)), Err(SplitError::NoSurbAck(404)));
    }

    proptest! {
        #[test]
        fn splitting_never_panics_and_loses_no_byte(
            size in proptest::sample::select(PacketSize::ALL.to_vec()),
            kind in prop_oneof![Just(4), Just(6), any::<u8>()],
            rest in proptest::collection::vec(any::<u8>(), 0..900),
        ) {
            let plaintext = Bytes::from([&[kind][..], &rest].concat());
            if let Ok(content) = split(size, plaintext.clone()) {
                let ack = content.surb_ack.map_or(0, |_| SURB_ACK_LEN);
                prop_assert_eq!(ack == 0, size == PacketSize::Ack);
                prop_assert_eq!(content.message, &plaintext[ack..]);
            }
        }
    }
}
