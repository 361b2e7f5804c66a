//! Packets behind the check of their header: the input is what a sender that keeps the rules of the format, and no others,
//! could put into one. Input: size, kind of payload, routing information (as decrypted), payload.
#![no_main]

use std::sync::LazyLock;

use bytes::Bytes;
use fuzz::SPHINX_SECRET;
use hkdf::Hkdf;
use libfuzzer_sys::fuzz_target;
use mix_ingress::sphinx::{SenderAge, SphinxKey, UnwrapError, open_header};
use proto::wire::{
    packet::{HEADER_LEN, PacketSize},
    surb_ack::split,
};
use sha2::Sha256;
use sphinx_packet::{
    constants::{
        EXPANDED_SHARED_SECRET_HKDF_INFO, EXPANDED_SHARED_SECRET_HKDF_SALT, EXPANDED_SHARED_SECRET_LENGTH,
        HEADER_INTEGRITY_MAC_SIZE, PAYLOAD_KEY_SEED_SIZE, PAYLOAD_KEY_SIZE, REPLAY_TAG_SIZE,
    },
    crypto::{STREAM_CIPHER_INIT_VECTOR, compute_keyed_hmac, generate_pseudorandom_bytes},
    payload::{Payload, key::derive_payload_key},
};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

const ROUTING_LEN: usize = HEADER_LEN - 32 - HEADER_INTEGRITY_MAC_SIZE;
const SIZES: [PacketSize; 5] =
    [PacketSize::Ack, PacketSize::Regular, PacketSize::Extended8, PacketSize::Extended16, PacketSize::Extended32];

/// The one sender's secrets.
struct Sender {
    key: SphinxKey,
    alpha: [u8; 32],
    keystream: Vec<u8>,
    mac_key: [u8; 16],
    payload_key: [u8; PAYLOAD_KEY_SIZE],
    replay_tag: [u8; REPLAY_TAG_SIZE],
}

static SENDER: LazyLock<Sender> = LazyLock::new(|| {
    let ephemeral = StaticSecret::from([5; 32]);
    let gateway = PublicKey::from(&StaticSecret::from(SPHINX_SECRET));
    let shared = ephemeral.diffie_hellman(&gateway);
    let mut expanded = [0; EXPANDED_SHARED_SECRET_LENGTH];
    Hkdf::<Sha256>::new(Some(EXPANDED_SHARED_SECRET_HKDF_SALT), shared.as_bytes())
        .expand(EXPANDED_SHARED_SECRET_HKDF_INFO, &mut expanded)
        .unwrap();
    // In this order: key of the stream cipher, of the MAC, of the payload, blinding factor, replay tag.
    let (cipher_key, rest) = expanded.split_first_chunk().unwrap();
    let (mac_key, rest) = rest.split_first_chunk().unwrap();
    let (payload_key, _) = rest.split_first_chunk().unwrap();
    Sender {
        key: SphinxKey::new(Zeroizing::new(SPHINX_SECRET)),
        alpha: PublicKey::from(&ephemeral).to_bytes(),
        keystream: generate_pseudorandom_bytes(cipher_key, &STREAM_CIPHER_INIT_VECTOR, ROUTING_LEN),
        mac_key: *mac_key,
        payload_key: *payload_key,
        replay_tag: *expanded.last_chunk().unwrap(),
    }
});

fuzz_target!(|data: &[u8]| {
    let Some((&[size, kind], rest)) = data.split_first_chunk::<2>() else { return };
    let sender = &*SENDER;
    let size = SIZES[usize::from(size) % SIZES.len()];
    let (routing, content) = rest.split_at(rest.len().min(52));
    let mut encrypted = sender.keystream.clone();
    for (to, from) in encrypted.iter_mut().zip(routing) {
        *to ^= from;
    }
    let mac = compute_keyed_hmac::<Sha256>(&sender.mac_key, &encrypted).unwrap().into_bytes();
    let payload_len = size.payload_len();
    let content = &content[..content.len().min(payload_len)];
    let payload = match kind % 4 {
        // Bytes that nobody has encrypted.
        0 => [content, &vec![0; payload_len - content.len()]].concat(),
        // Encrypted in either way, without the zeros in front.
        1 | 2 => {
            let padded = [content, &vec![0; payload_len - content.len()]].concat();
            let payload = Payload::from_bytes(&padded).unwrap();
            if kind % 4 == 1 {
                payload.add_encryption_layer(&sender.payload_key)
            } else {
                payload.add_encryption_layer(&derive_payload_key(
                    sender.payload_key.first_chunk::<PAYLOAD_KEY_SEED_SIZE>().unwrap(),
                ))
            }
            .unwrap()
            .into_bytes()
        }
        // As it should be, for the version that the header names.
        _ => {
            let plaintext = &content[..content.len().min(size.plaintext_len())];
            let version = [routing.get(2), routing.get(3)].map(|byte| byte.copied().unwrap_or_default());
            let is_legacy = [1, 256, 257, 258, 512].contains(&u16::from_be_bytes(version));
            let key = if is_legacy {
                sender.payload_key
            } else {
                derive_payload_key(sender.payload_key.first_chunk::<PAYLOAD_KEY_SEED_SIZE>().unwrap())
            };
            Payload::encapsulate_message(plaintext, &[key], payload_len).unwrap().into_bytes()
        }
    };
    let packet = [&sender.alpha, &mac[..HEADER_INTEGRITY_MAC_SIZE], &encrypted, &payload].concat();
    let checked = open_header(&sender.key, Bytes::from(packet)).expect("the header is authentic");
    assert_eq!(checked.replay_tag().0, sender.replay_tag);
    let probably = if kind & 4 == 0 { SenderAge::Of2021 } else { SenderAge::Later };
    match checked.unwrap_payload(probably) {
        Ok(final_hop) => {
            assert!(routing.first() == Some(&2) && final_hop.plaintext.len() <= size.plaintext_len());
            if kind % 4 == 3 {
                let plaintext = &content[..content.len().min(size.plaintext_len())];
                assert_eq!(final_hop.plaintext, plaintext);
            }
            let _ = split(size, final_hop.plaintext);
        }
        Err(UnwrapError::WrongLength(_) | UnwrapError::BadMac) => panic!("the header was authentic a moment ago"),
        Err(error) => {
            // What keeps every rule is unwrapped.
            assert!(kind % 4 != 3 || routing.first() != Some(&2), "{error}");
        }
    }
});
