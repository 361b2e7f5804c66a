//! The one place where messages between processes become bytes and bytes become messages.
//!
//! Encoding: bincode 2 `standard` (little-endian varints), each message bounded by [`MESSAGE_LIMIT`]. A frame is a
//! 4-byte big-endian length and that many bytes of messages, back to back; a frame whose bytes do not end exactly at
//! the end of a message is refused. bincode is unmaintained; therefore only this module encodes and decodes with it, and never for
//! a network or a disk.

use bincode::{Decode, Encode, config};

/// Longest encoding of a message, in bytes. The longest legitimate message carries a Sphinx packet of 33,133 bytes.
pub const MESSAGE_LIMIT: usize = 128 * 1024;
/// Longest body of a frame, in bytes.
pub const FRAME_LIMIT: usize = 512 * 1024;
/// Length of the frame's length field, in bytes.
pub const FRAME_HEADER_LEN: usize = 4;
/// A frame that holds this many bytes takes no more messages, so that answers never wait long behind mail.
pub const FRAME_TARGET: usize = 256 * 1024;

/// Why bytes were refused, or could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// A frame announced more than [`FRAME_LIMIT`] bytes.
    #[error("a frame of {0} bytes is over the limit of {FRAME_LIMIT}")]
    FrameTooLarge(usize),
    /// The bytes are not a message of this link, or one is over [`MESSAGE_LIMIT`].
    #[error("bytes that are not a message of this link")]
    Malformed,
}

type Limited = config::Configuration<config::LittleEndian, config::Varint, config::Limit<MESSAGE_LIMIT>>;

const fn bincode_config() -> Limited {
    config::standard().with_limit::<MESSAGE_LIMIT>()
}

/// Appends one message to a frame's body.
///
/// # Errors
/// [`CodecError::Malformed`] if the message cannot be encoded.
pub fn append<M: Encode>(body: &mut Vec<u8>, message: &M) -> Result<(), CodecError> {
    bincode::encode_into_std_write(message, body, bincode_config()).map_err(|_| CodecError::Malformed)?;
    Ok(())
}

/// Decodes every message of a frame's body.
///
/// # Errors
/// [`CodecError::Malformed`] if any byte is left over or any message does not decode.
pub fn decode_body<M: Decode<()>>(mut body: &[u8]) -> Result<Vec<M>, CodecError> {
    let mut messages = Vec::new();
    while !body.is_empty() {
        let (message, used) = bincode::decode_from_slice(body, bincode_config()).map_err(|_| CodecError::Malformed)?;
        messages.push(message);
        // No message of ours is empty, and an empty one would make this loop endless.
        match body.get(used..) {
            Some(rest) if used > 0 => body = rest,
            _ => return Err(CodecError::Malformed),
        }
    }
    Ok(messages)
}

/// Encodes one message without a frame, as on the control link, where the socket keeps messages apart.
///
/// # Errors
/// [`CodecError::Malformed`] if the message cannot be encoded.
pub fn encode_one<M: Encode>(message: &M) -> Result<Vec<u8>, CodecError> {
    let mut bytes = Vec::new();
    append(&mut bytes, message)?;
    Ok(bytes)
}

/// Encodes one message into `bytes`, without taking memory; returns its length.
///
/// # Errors
/// [`CodecError::Malformed`] if it does not fit.
pub fn encode_into<M: Encode>(bytes: &mut [u8], message: &M) -> Result<usize, CodecError> {
    bincode::encode_into_slice(message, bytes, bincode_config()).map_err(|_| CodecError::Malformed)
}

/// Decodes exactly one message.
///
/// # Errors
/// [`CodecError::Malformed`] if it does not decode or bytes are left over.
pub fn decode_one<M: Decode<()>>(bytes: &[u8]) -> Result<M, CodecError> {
    match bincode::decode_from_slice(bytes, bincode_config()) {
        Ok((message, used)) if used == bytes.len() => Ok(message),
        _ => Err(CodecError::Malformed),
    }
}

/// Reads a frame's length field.
///
/// # Errors
/// [`CodecError::FrameTooLarge`] if it announces more than [`FRAME_LIMIT`].
pub const fn body_len(header: [u8; FRAME_HEADER_LEN]) -> Result<usize, CodecError> {
    let len = u32::from_be_bytes(header) as usize;
    if len > FRAME_LIMIT { Err(CodecError::FrameTooLarge(len)) } else { Ok(len) }
}

#[cfg(test)]
pub(crate) mod golden {
    use super::*;

    /// Asserts the pinned bytes of a message in both directions, and that a byte more or less is refused.
    pub(crate) fn pin<M: Encode + Decode<()> + PartialEq + std::fmt::Debug>(message: M, golden: &str) {
        let bytes = encode_one(&message).unwrap();
        assert_eq!(hex::encode(&bytes), golden, "{message:?}");
        assert_eq!(decode_one::<M>(&bytes).unwrap(), message);
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(decode_one::<M>(&longer).is_err(), "trailing byte accepted: {message:?}");
        assert!(decode_one::<M>(&bytes[..bytes.len() - 1]).is_err(), "cut accepted: {message:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Opaque;
    use proptest::prelude::*;

    #[test]
    fn several_messages_in_a_body_round_trip_and_a_tail_is_refused() {
        let mut body = Vec::new();
        for n in 0u32..3 {
            append(&mut body, &(n, Opaque(vec![1, 2, 3].into()))).unwrap();
        }
        let decoded: Vec<(u32, Opaque)> = decode_body(&body).unwrap();
        assert_eq!(decoded.len(), 3);
        body.push(9);
        assert_eq!(decode_body::<(u32, Opaque)>(&body), Err(CodecError::Malformed));
    }

    #[test]
    fn a_message_of_no_bytes_is_refused_and_ends_the_body() {
        assert_eq!(decode_body::<()>(&[1]), Err(CodecError::Malformed));
    }

    #[test]
    fn a_message_at_its_limit_passes_and_a_longer_one_does_not() {
        // bincode counts a length as eight bytes.
        let bytes = |len: usize| encode_one(&Opaque(vec![7; len - 8].into())).unwrap();
        assert!(decode_one::<Opaque>(&bytes(MESSAGE_LIMIT)).is_ok());
        assert_eq!(decode_one::<Opaque>(&bytes(MESSAGE_LIMIT + 1)), Err(CodecError::Malformed));
    }

    #[test]
    fn a_frame_at_its_limit_passes_and_a_longer_one_does_not() {
        let announced = |len: usize| body_len(u32::try_from(len).unwrap().to_be_bytes());
        assert_eq!(announced(FRAME_LIMIT), Ok(FRAME_LIMIT));
        assert_eq!(announced(FRAME_LIMIT + 1), Err(CodecError::FrameTooLarge(FRAME_LIMIT + 1)));
        // A frame takes a message as long as it is below its target.
        const { assert!(FRAME_TARGET + MESSAGE_LIMIT <= FRAME_LIMIT && FRAME_TARGET >= MESSAGE_LIMIT) };
    }

    #[test]
    fn a_length_that_lies_allocates_nothing_and_is_refused() {
        // A varint length of 2^63: bincode must refuse it by the limit before it allocates.
        let mut bytes = vec![253];
        bytes.extend_from_slice(&(1u64 << 63).to_le_bytes());
        assert_eq!(decode_one::<Opaque>(&bytes), Err(CodecError::Malformed));
        assert!(body_len(u32::MAX.to_be_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = decode_body::<crate::ingress_store::IngressToStore>(&bytes);
            let _ = decode_body::<crate::ingress_store::StoreToIngress>(&bytes);
            let _ = decode_body::<crate::egress::ToEgress>(&bytes);
            let _ = decode_one::<crate::control::WorkerReport>(&bytes);
            let _ = decode_one::<crate::control::WorkerCommand>(&bytes);
        }
    }
}
