//! Ten thousand packets, valid and invalid: our code and the library of the network come to the same result for each.

use std::collections::BTreeMap;

use bytes::Bytes;
use mix_ingress::sphinx::{FinalHop, SphinxKey, UnwrapError, open_header};
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use wire::packet::{HEADER_LEN, PacketSize};
use zeroize::Zeroizing;

use crate::{
    peer,
    sender::{PayloadKind, Sender, kind_of},
};

const PACKETS: usize = 10_000;

/// Every version that the network's code knows, and some unknown ones.
const VERSIONS: [u16; 10] = [1, 256, 257, 258, 259, 260, 300, 512, 0, u16::MAX];

const FORWARD: u8 = 1;
const DELIVER: u8 = 2;

fn random<const N: usize>(rng: &mut StdRng) -> [u8; N] {
    let mut bytes = [0; N];
    rng.fill_bytes(&mut bytes);
    bytes
}

fn pick<T: Copy>(rng: &mut StdRng, from: &[T]) -> T {
    from[rng.random_range(0..from.len())]
}

fn one_in(rng: &mut StdRng, many: u32) -> bool {
    rng.random_range(0..many) == 0
}

/// A random point, sometimes one of small order, one at the edge of the field, or one with the bit that is ignored.
fn alpha(rng: &mut StdRng) -> [u8; 32] {
    let mut alpha = random::<32>(rng);
    match rng.random_range(0..40) {
        0 => alpha = [0; 32],
        1 => alpha = [0xff; 32],
        2 => {
            alpha = [0; 32];
            alpha[0] = 1;
        }
        3 => {
            alpha = [0xff; 32];
            (alpha[0], alpha[31]) = (0xed, 0x7f);
        }
        _ => {}
    }
    alpha
}

/// A packet for `secret`. Most are valid.
fn packet(rng: &mut StdRng, secret: [u8; 32]) -> Vec<u8> {
    let sender = Sender::new(secret, alpha(rng));
    let size = pick(rng, &PacketSize::ALL);
    let version = if one_in(rng, 10) { rng.random() } else { pick(rng, &VERSIONS) };
    let flag = match rng.random_range(0..30) {
        0 => FORWARD,
        1 => rng.random(),
        _ => DELIVER,
    };
    let [high, low] = version.to_be_bytes();
    let first = if one_in(rng, 20) { rng.random() } else { 0 };
    let mut routing = vec![flag, first, high, low];
    routing.extend(random::<296>(rng));
    let mut plaintext = vec![0; rng.random_range(0..=size.plaintext_len())];
    rng.fill_bytes(&mut plaintext);
    let len = size.payload_len();
    let payload = match rng.random_range(0..20) {
        0 => sender.payload(PayloadKind::Raw, &plaintext, len),
        1 => sender.padded_payload(pick(rng, &[PayloadKind::FullKey, PayloadKind::Seed]), &plaintext, len),
        // Zeros in front, and an end only by chance; below, no zeros in front.
        2 => sender.payload(kind_of(version), &[&[0; 16][..], &plaintext].concat(), len),
        3 => sender.payload(kind_of(version), &plaintext, len),
        // All zeros.
        4 => sender.payload(kind_of(version), &[], len),
        _ => sender.padded_payload(kind_of(version), &plaintext, len),
    };
    let mut packet = sender.packet(&routing, &payload);
    match rng.random_range(0..30) {
        0 => {
            let byte = rng.random_range(0..HEADER_LEN);
            packet[byte] ^= 1 << rng.random_range(0..8);
        }
        1 => {
            let byte = rng.random_range(HEADER_LEN..packet.len());
            packet[byte] ^= 1 << rng.random_range(0..8);
        }
        2 => packet.truncate(rng.random_range(0..packet.len())),
        3 => packet.push(0),
        _ => {}
    }
    packet
}

fn ours(key: &SphinxKey, packet: &[u8]) -> Result<peer::FinalHop, UnwrapError> {
    let FinalHop { destination, plaintext } = open_header(key, Bytes::copy_from_slice(packet))?.unwrap_payload()?;
    Ok((destination.0, plaintext.to_vec()))
}

const fn name(outcome: &Result<peer::FinalHop, UnwrapError>) -> &'static str {
    match outcome {
        Ok(_) => "unwrapped",
        Err(UnwrapError::WrongLength(_)) => "wrong length",
        Err(UnwrapError::BadMac) => "bad mac",
        Err(UnwrapError::UnknownFlag) => "unknown flag",
        Err(UnwrapError::ForwardHop) => "forward hop",
        Err(UnwrapError::BadPadding) => "bad padding",
    }
}

#[test]
fn ten_thousand_packets_come_out_as_with_the_library() {
    let mut rng = StdRng::seed_from_u64(20_210_525);
    let mut outcomes = BTreeMap::new();
    let mut secret = [0; 32];
    for number in 0..PACKETS {
        if number % 1_000 == 0 {
            secret = random(&mut rng);
        }
        let key = SphinxKey::new(Zeroizing::new(secret));
        let packet = packet(&mut rng, secret);
        let (ours, theirs) = (ours(&key, &packet), peer::unwrap(secret, &packet));
        *outcomes.entry(name(&ours)).or_insert(0) += 1;
        assert!(ours == theirs, "packet {number}: {} and {}", name(&ours), name(&theirs));
    }
    // Enough of each outcome that every version and size is among them.
    assert_eq!(outcomes.len(), 6, "{outcomes:?}");
    assert!(outcomes["unwrapped"] > 5_000 && outcomes.values().all(|count| *count >= 100), "{outcomes:?}");
}

/// The replay tag is the first two keys of a packet's secret. Altering the ignored bit of the header changes nothing.
#[test]
fn the_replay_tag_is_the_beginning_of_the_expansion() {
    let mut rng = StdRng::seed_from_u64(1);
    let (secret, mut alpha) = (random(&mut rng), random(&mut rng));
    let key = SphinxKey::new(Zeroizing::new(secret));
    for _ in 0..2 {
        let sender = Sender::new(secret, alpha);
        let packet = sender.packet(&[DELIVER, 0, 1, 0], &vec![0; PacketSize::Ack.payload_len()]);
        let tag = open_header(&key, packet.into()).ok().unwrap().replay_tag();
        assert_eq!(tag.0, sender.header_keys);
        alpha[31] ^= 0x80;
    }
}
