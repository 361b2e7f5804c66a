//! Packets of every era, and altered packets.

use proptest::prelude::*;
use serde_json::Value;
use sphinx_packet::{
    SphinxPacketBuilder,
    constants::HeaderIntegrityHmacAlgorithm,
    crypto::compute_keyed_hmac,
    header::delays::Delay,
    route::{Destination, DestinationAddressBytes, Node, NodeAddressBytes},
    version::Version,
};
use wire::{
    routing::RoutingAddressError,
    surb_ack::{self, SplitError},
};
use x25519_dalek::StaticSecret;

use super::*;

const OF_2021: &str = include_str!("../../../wire/vectors/crypto_and_packets_2021.json");
const OF_TODAY: &str = include_str!("../../../wire/vectors/final_hop.json");
const OF_EVERY_VERSION: &str = include_str!("../../../wire/vectors/final_hop_sphinx_versions.json");
const TAKEN_APART: &str = include_str!("../../../wire/vectors/sphinx_internals.json");

fn parse(vectors: &str) -> Value {
    serde_json::from_str(vectors).unwrap()
}

fn bytes(value: &Value) -> Bytes {
    hex::decode(value.as_str().unwrap()).unwrap().into()
}

fn address(value: &Value) -> ClientAddress {
    ClientAddress(bytes(value)[..].try_into().unwrap())
}

fn key(value: &Value) -> SphinxKey {
    SphinxKey::new(Zeroizing::new(bytes(value)[..].try_into().unwrap()))
}

fn unwrap(key: &SphinxKey, packet: Bytes) -> Result<([u8; 32], FinalHop), UnwrapError> {
    let checked = open_header(key, packet)?;
    Ok((checked.replay_tag().0, checked.unwrap_payload()?))
}

fn size(packet: &Bytes) -> PacketSize {
    PacketSize::from_packet_len(packet.len()).unwrap()
}

/// The regular packet of 2021 (version 256, full payload key), its gateway's key and its plaintext.
struct Known {
    key: SphinxKey,
    packet: Bytes,
    plaintext: Bytes,
    header_mac_key: Bytes,
}

fn known() -> Known {
    let case = &parse(OF_2021)["final_hop"][0];
    assert_eq!(case["name"], "regular");
    Known {
        key: key(&case["gateway_sphinx_private_key"]),
        packet: bytes(&case["packet"]),
        plaintext: bytes(&case["plaintext"]),
        header_mac_key: bytes(&case["header_hmac_key"]),
    }
}

impl Known {
    /// The packet with some bytes of its decrypted routing information changed, and a MAC that fits again.
    ///
    /// The routing information is the XOR of a plaintext and a keystream, so no key is needed to change it.
    fn with_routing(&self, changes: &[(usize, u8, u8)]) -> Bytes {
        let mut packet = self.packet.to_vec();
        let (_, rest) = packet.split_at_mut(32);
        let (mac, rest) = rest.split_at_mut(16);
        let (routing, _) = rest.split_at_mut(300);
        for (index, from, to) in changes {
            routing[*index] ^= from ^ to;
        }
        let new_mac = compute_keyed_hmac::<HeaderIntegrityHmacAlgorithm>(&self.header_mac_key, routing).unwrap();
        mac.copy_from_slice(&new_mac.into_bytes()[..16]);
        packet.into()
    }

    fn with_version(&self, version: u16) -> Bytes {
        let [high, low] = version.to_be_bytes();
        self.with_routing(&[(2, 1, high), (3, 0, low)])
    }
}

#[test]
fn packets_of_2021() {
    let vectors = parse(OF_2021);
    let cases = vectors["final_hop"].as_array().unwrap();
    assert_eq!(cases.len(), 3);
    for case in cases {
        let packet = bytes(&case["packet"]);
        let size = size(&packet);
        let (_, hop) = unwrap(&key(&case["gateway_sphinx_private_key"]), packet).unwrap();
        assert_eq!(hop.destination, address(&case["destination"]));
        assert_eq!(hop.plaintext, bytes(&case["plaintext"]));
        let content = surb_ack::split(size, hop.plaintext).unwrap();
        assert_eq!(content.message, bytes(&case["message"]));
    }
}

#[test]
fn packets_of_today() {
    let vectors = parse(OF_TODAY);
    let key = key(&vectors["gateway_sphinx"]["secret"]);
    let cases = vectors["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 14);
    let mut errors = Vec::new();
    for case in cases {
        let packet = bytes(&case["packet"]);
        let size = size(&packet);
        let (_, hop) = unwrap(&key, packet).unwrap();
        assert_eq!(hop.plaintext, bytes(&case["plaintext_payload"]));
        let expected = &case["expected"];
        let outcome = surb_ack::split(size, hop.plaintext);
        assert_eq!(expected["ok"], outcome.is_ok());
        match outcome {
            Ok(content) => {
                assert_eq!(hop.destination, address(&expected["destination"]));
                assert_eq!(content.message, bytes(&expected["message"]));
                let ack = content.surb_ack.map(|ack| hex::encode(ack.packet));
                assert_eq!(expected["forward_ack_packet"], Value::from(ack));
            }
            Err(error) => errors.push(error),
        }
    }
    let bad_address = SplitError::BadAckAddress(RoutingAddressError::UnknownType(0));
    assert_eq!(errors[..4], [bad_address; 4]);
    assert_eq!(errors[4..], [SplitError::NoSurbAck(8)]);
}

#[test]
fn packets_of_every_sphinx_library() {
    let vectors = parse(OF_EVERY_VERSION);
    let key = key(&vectors["gateway_sphinx"]["secret"]);
    let cases = vectors["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 18);
    let mut tags = std::collections::HashSet::new();
    for case in cases {
        let (tag, hop) = unwrap(&key, bytes(&case["packet"])).unwrap();
        assert_eq!(hop.destination, address(&case["expected_destination"]));
        assert_eq!(hop.plaintext, bytes(&case["expected_plaintext"]));
        assert!(tags.insert(tag), "two packets share a tag");
    }
}

#[test]
fn every_key_is_that_of_the_packet_taken_apart() {
    let vectors = parse(TAKEN_APART);
    let packet = bytes(&vectors["packet"]);
    let header = Header::parse(&packet[..HEADER_LEN]).unwrap();
    assert_eq!(header.point[..], bytes(&vectors["alpha"])[..]);
    let key = key(&vectors["gateway_secret"]);
    let dh = key.0.agree(header.point);
    assert_eq!(dh[..], bytes(&vectors["dh"])[..]);
    let secret = SharedSecret::expand(&dh);
    assert!(header.check(&secret).is_ok());
    for (version, name) in [([0, 1, 3], "payload_key_derived_from_seed_v259"), ([0, 1, 0], "payload_key_full_legacy")] {
        let key = secret.payload_key(version::Version::from_bytes(version));
        assert_eq!(key[..], bytes(&vectors[name])[..], "{name}");
    }
    let (_, hop) = unwrap(&key, packet).unwrap();
    assert_eq!(hop.plaintext, bytes(&vectors["expected_plaintext"]));
}

#[test]
fn a_packet_for_a_mix_node_is_refused_after_its_tag_is_known() {
    let case = &parse(OF_2021)["forward_hop"];
    let checked = open_header(&key(&case["mix_sphinx_private_key"]), bytes(&case["packet"])).ok().unwrap();
    assert_eq!(checked.unwrap_payload().err(), Some(UnwrapError::ForwardHop));
}

#[test]
fn a_packet_for_another_gateway_is_refused() {
    let known = known();
    let other = SphinxKey::new(Zeroizing::new([9; 32]));
    assert_eq!(unwrap(&other, known.packet).err(), Some(UnwrapError::BadMac));
}

#[test]
fn a_hostile_first_version_byte_changes_nothing() {
    let known = known();
    for byte in [1, 0x7f, 0xff] {
        let (_, hop) = unwrap(&known.key, known.with_routing(&[(1, 0, byte)])).unwrap();
        assert_eq!(hop.plaintext, known.plaintext);
    }
}

#[test]
fn every_unknown_flag_is_refused() {
    let known = known();
    for flag in 0..=u8::MAX {
        let error = unwrap(&known.key, known.with_routing(&[(0, 2, flag)])).err();
        let expected = match flag {
            1 => Some(UnwrapError::ForwardHop),
            2 => None,
            _ => Some(UnwrapError::UnknownFlag),
        };
        assert_eq!(error, expected, "flag {flag}");
    }
}

#[test]
fn five_versions_use_the_full_payload_key() {
    let known = known();
    for version in 0..=600 {
        let outcome = unwrap(&known.key, known.with_version(version));
        if [1, 256, 257, 258, 512].contains(&version) {
            assert_eq!(outcome.unwrap().1.plaintext, known.plaintext, "{version}");
        } else {
            assert_eq!(outcome.err(), Some(UnwrapError::BadPadding), "{version}");
        }
    }
}

#[test]
fn no_other_length_is_a_packet() {
    let known = known();
    for len in [0, 1, 31, 348, 380, 381, 385, 387, 2412] {
        let packet = known.packet.slice(..len);
        let error = Some(UnwrapError::WrongLength(len));
        assert_eq!(unwrap(&known.key, packet).err(), error);
    }
}

#[test]
fn a_replay_with_the_ignored_bit_flipped_keeps_its_tag() {
    let known = known();
    let (tag, _) = unwrap(&known.key, known.packet.clone()).unwrap();
    let mut packet = known.packet.to_vec();
    packet[31] ^= 0x80;
    let (same, hop) = unwrap(&known.key, packet.into()).unwrap();
    assert_eq!(same, tag);
    assert_eq!(hop.plaintext, known.plaintext);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_flipped_bit_is_noticed(byte in 0..2413_usize, bit in 0..8_u32) {
        prop_assume!((byte, bit) != (31, 7));
        let known = known();
        let mut packet = known.packet.to_vec();
        packet[byte] ^= 1 << bit;
        let expected = if byte < HEADER_LEN { UnwrapError::BadMac } else { UnwrapError::BadPadding };
        prop_assert_eq!(unwrap(&known.key, packet.into()).err(), Some(expected));
    }

    #[test]
    fn random_packets_never_panic(
        header in any::<[u8; 32]>(),
        fill: u8,
        size in proptest::sample::select(PacketSize::ALL.to_vec()),
    ) {
        let mut packet = vec![fill; size.packet_len()];
        packet[..32].copy_from_slice(&header);
        prop_assert_eq!(unwrap(&known().key, packet.into()).err(), Some(UnwrapError::BadMac));
    }

    #[test]
    fn authentic_but_random_routing_never_panics(
        changes in proptest::collection::vec((0..300_usize, any::<u8>()), 0..60),
    ) {
        let known = known();
        let changes: Vec<_> = changes.into_iter().map(|(index, to)| (index, 0, to)).collect();
        let _ = unwrap(&known.key, known.with_routing(&changes));
    }

    #[test]
    fn packets_of_later_versions_unwrap(
        version in 259..=u16::MAX,
        message in proptest::collection::vec(any::<u8>(), 0..2048),
    ) {
        prop_assume!(version != 512);
        let secret = [42; 32];
        let gateway = Node::new(
            NodeAddressBytes::from_bytes([0; 32]),
            (&StaticSecret::from(secret)).into(),
        );
        let destination = Destination::new(DestinationAddressBytes::from_bytes([8; 32]), [0; 16]);
        let packet = SphinxPacketBuilder::new()
            .with_version(Version::new(version))
            .with_payload_size(PacketSize::Regular.payload_len())
            .build_packet(&message, &[gateway], &destination, &[Delay::new_from_nanos(0)])
            .unwrap();
        let key = SphinxKey::new(Zeroizing::new(secret));
        let (_, hop) = unwrap(&key, packet.to_bytes().into()).unwrap();
        prop_assert_eq!(hop.plaintext, message);
        prop_assert_eq!(hop.destination, ClientAddress([8; 32]));
    }
}
