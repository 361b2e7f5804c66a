//! The payload of a packet: decrypted with LIONESS, a cipher whose block is the whole payload, and stripped of its padding.
//!
//! LIONESS (Anderson and Biham, "Two Practical and Provably Secure Block Ciphers: BEAR and LION", 1996) with ChaCha20 as its stream
//! cipher and keyed BLAKE2b as its hash. Whatever is changed in a payload, all of it comes out as noise, and the zeros in
//! front of the plaintext are gone.

use blake2b_simd::Params;
use bytes::Bytes;
use chacha20::{
    ChaCha20,
    cipher::{KeyIvInit, StreamCipher},
};
use zeroize::Zeroizing;

use super::secret::PayloadKey;

/// The length of the left half of a block, which is also that of a stream cipher key and of a hash.
const LEFT_LEN: usize = 32;

/// Bytes of a key of the hash.
const HASH_KEY_LEN: usize = 64;

/// Zero bytes before every plaintext. They prove that the payload key was right and that the payload is intact.
const LEADING_ZEROS: usize = 16;

/// The byte behind the plaintext. Everything after it is padding.
const END_OF_PLAINTEXT: u8 = 1;

/// Decrypts a payload and strips its padding. Copies the payload once. None if the payload was altered, or made for another key.
pub(super) fn open(key: &PayloadKey, payload: &[u8]) -> Option<Bytes> {
    let mut block = payload.to_vec();
    decrypt(key, &mut block)?;
    without_padding(block)
}

/// Decrypts a block in place. None if it is too short to have two halves.
fn decrypt(key: &PayloadKey, block: &mut [u8]) -> Option<()> {
    let (left, right) = block.split_at_mut_checked(LEFT_LEN)?;
    let (first_stream, rest) = key.split_at(LEFT_LEN);
    let (first_hash, rest) = rest.split_at(HASH_KEY_LEN);
    let (second_stream, second_hash) = rest.split_at(LEFT_LEN);
    hash_into(left, second_hash, right);
    stream_into(right, second_stream, left);
    hash_into(left, first_hash, right);
    stream_into(right, first_stream, left);
    Some(())
}

/// `left ^= BLAKE2b(key, right)`.
fn hash_into(left: &mut [u8], key: &[u8], right: &[u8]) {
    let hash = Params::new().hash_length(LEFT_LEN).key(key).hash(right);
    xor(left, hash.as_bytes());
}

/// `right ^= ChaCha20(left ^ key)`, from the beginning of the keystream and without a nonce: a key is used once.
fn stream_into(right: &mut [u8], key: &[u8], left: &[u8]) {
    let mut stream_key = Zeroizing::new([0; LEFT_LEN]);
    xor(&mut stream_key[..], key);
    xor(&mut stream_key[..], left);
    ChaCha20::new((&*stream_key).into(), &Default::default()).apply_keystream(right);
}

fn xor(to: &mut [u8], from: &[u8]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to ^= from);
}

/// The plaintext ends before the last byte that equals 1. The bytes after it are not checked, as in every real node.
fn without_padding(payload: Vec<u8>) -> Option<Bytes> {
    let (zeros, rest) = payload.split_at_checked(LEADING_ZEROS)?;
    if zeros.iter().any(|byte| *byte != 0) {
        return None;
    }
    let len = rest.iter().rposition(|byte| *byte == END_OF_PLAINTEXT)?;
    Some(Bytes::from(payload).slice(LEADING_ZEROS..LEADING_ZEROS + len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_ends_the_plaintext() {
        let padded = |rest: &[u8]| without_padding([&[0; 16][..], rest].concat());
        assert_eq!(padded(&[5, 1]), Some(Bytes::from_static(&[5])));
        assert_eq!(padded(&[5, 1, 0, 0]), Some(Bytes::from_static(&[5])));
        assert_eq!(padded(&[5, 1, 1, 7]), Some(Bytes::from_static(&[5, 1])));
        assert_eq!(padded(&[1]), Some(Bytes::new()));
        assert_eq!(padded(&[]), None);
        assert_eq!(padded(&[0, 2, 255]), None);
        assert_eq!(without_padding(vec![0; 15]), None);
        for index in 0..16 {
            let mut payload = vec![0; 20];
            payload[19] = 1;
            payload[index] = 1;
            assert_eq!(without_padding(payload), None);
        }
    }

    #[test]
    fn what_is_too_short_for_two_halves_is_refused() {
        assert_eq!(open(&Zeroizing::new([7; 192]), &[0; 31]), None);
    }
}
