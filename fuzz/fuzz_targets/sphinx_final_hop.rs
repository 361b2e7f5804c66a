//! Packets behind the check of their header: the input is what a sender that keeps the rules of the format, and no others,
//! could put into one. Ours and the library of the network make the same of it. Input: size, kind of payload and whether the packet is
//! damaged on its way, routing information (as decrypted), payload.
#![no_main]

use std::sync::LazyLock;

use bytes::Bytes;
use fuzz::SPHINX_SECRET;
use libfuzzer_sys::fuzz_target;
use mix_ingress::sphinx::{FinalHop, SphinxKey, open_header};
use wire::{packet::PacketSize, surb_ack::split};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

#[path = "../../mix-ingress/tests/sphinx/peer.rs"]
mod peer;
#[path = "../../mix-ingress/tests/sphinx/sender.rs"]
mod sender;

use sender::{PayloadKind, Sender, kind_of};

const DELIVER: u8 = 2;
/// Bytes of routing information that say anything to the last hop.
const ROUTING_LEN: usize = 52;
/// The bit of the second byte that has the packet damaged.
const DAMAGED: u8 = 4;

static SENDER: LazyLock<(SphinxKey, Sender)> = LazyLock::new(|| {
    let alpha = PublicKey::from(&StaticSecret::from([5; 32])).to_bytes();
    (SphinxKey::new(Zeroizing::new(SPHINX_SECRET)), Sender::new(SPHINX_SECRET, alpha))
});

fuzz_target!(|data: &[u8]| {
    let Some((&[size, kind], rest)) = data.split_first_chunk::<2>() else { return };
    let (key, sender) = &*SENDER;
    let size = PacketSize::ALL[usize::from(size) % PacketSize::ALL.len()];
    let (routing, content) = rest.split_at(rest.len().min(ROUTING_LEN));
    let plaintext = &content[..content.len().min(size.plaintext_len())];
    let len = size.payload_len();
    let is_regular = kind % 4 == 3;
    let payload = match kind % 4 {
        0 => sender.payload(PayloadKind::Raw, content, len),
        1 => sender.payload(PayloadKind::FullKey, content, len),
        2 => sender.payload(PayloadKind::Seed, content, len),
        // As it should be, for the version that the header names.
        _ => {
            let version = [2, 3].map(|at| routing.get(at).copied().unwrap_or_default());
            sender.padded_payload(kind_of(u16::from_be_bytes(version)), plaintext, len)
        }
    };
    let mut packet = sender.packet(routing, &payload);
    let is_damaged = kind & DAMAGED != 0;
    if is_damaged {
        // Where, follows from the input.
        let at = content.iter().fold(usize::from(kind), |sum, byte| sum * 31 % 65_521 + usize::from(*byte));
        let len = packet.len();
        packet[at % len] ^= kind | 1;
    }

    let ours = open_header(key, Bytes::copy_from_slice(&packet)).and_then(|checked| {
        assert!(is_damaged || checked.replay_tag().0 == sender.header_keys);
        checked.unwrap_payload()
    });
    let theirs = peer::unwrap(SPHINX_SECRET, &packet);
    match (ours, theirs) {
        (Ok(FinalHop { destination, plaintext: ours }), Ok(theirs)) => {
            assert!(destination.0 == theirs.0 && ours == theirs.1);
            assert!(is_damaged || !is_regular || ours == plaintext);
            let _ = split(size, ours);
        }
        (Err(ours), Err(theirs)) => {
            assert_eq!(ours, theirs);
            // What keeps every rule is unwrapped.
            assert!(is_damaged || !is_regular || routing.first() != Some(&DELIVER), "{ours}");
        }
        (ours, theirs) => panic!("ours: {:?}; theirs: {:?}", ours.err(), theirs.err()),
    }
});
