//! Sealed traffic under a [`CtrHmacKey`], in both directions: one binary websocket frame is
//! `HMAC-BLAKE3 tag over the ciphertext (32) || AES-128-CTR ciphertext, counter from zero`.
//!
//! The keystream is the same for every frame of a key. That is a weakness of the protocol, which an implementation cannot mend.

use bytes::{BufMut, Bytes, BytesMut};
use hmac::Mac;

use super::key::{CtrHmacKey, ZERO_IV};

/// Length of the tag in bytes, which is the least length of a frame.
pub const TAG_LEN: usize = 32;

/// Why a frame was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The frame is shorter than a tag.
    #[error("a binary frame is shorter than its 32-byte tag; the peer must send tag and ciphertext in one frame")]
    TooShort,
    /// The frame was made under another key, or altered on the way.
    #[error("a binary frame was not sealed with this session's key; the client has to register again if this persists")]
    InvalidMac,
}

/// Encrypts and tags `plaintext` into one new buffer.
pub fn seal(key: &CtrHmacKey, plaintext: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(TAG_LEN + plaintext.len());
    frame.put_bytes(0, TAG_LEN);
    frame.extend_from_slice(plaintext);
    let mut ciphertext = frame.split_off(TAG_LEN);
    key.apply_keystream(&ZERO_IV, &mut ciphertext);
    frame.copy_from_slice(&key.hmac().chain_update(&ciphertext).finalize().into_bytes());
    frame.unsplit(ciphertext);
    frame.freeze()
}

/// Checks the tag in constant time, then decrypts in place.
///
/// Copies the ciphertext only if the frame's buffer is shared.
///
/// # Errors
/// [`FrameError`]. In that case nothing has been decrypted.
pub fn open(key: &CtrHmacKey, mut frame: Bytes) -> Result<Bytes, FrameError> {
    if frame.len() < TAG_LEN {
        return Err(FrameError::TooShort);
    }
    let tag = frame.split_to(TAG_LEN);
    key.hmac().chain_update(&frame).verify_slice(&tag).map_err(|_| FrameError::InvalidMac)?;
    drop(tag);
    let mut plaintext = BytesMut::from(frame);
    key.apply_keystream(&ZERO_IV, &mut plaintext);
    Ok(plaintext.freeze())
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::vectors;

    fn vector_key() -> CtrHmacKey {
        CtrHmacKey::from_bytes(vectors::bytes("/sealing/shared_keys"))
    }

    #[test]
    fn seals_and_opens_what_the_real_gateway_pushed() {
        let plaintext = vectors::hex("/sealing/push_plaintext");
        let frame = Bytes::from(vectors::hex("/sealing/push_frame"));
        assert_eq!(seal(&vector_key(), &plaintext), frame);
        assert_eq!(open(&vector_key(), frame).unwrap(), plaintext);
    }

    #[test]
    fn opens_in_place() {
        let frame = seal(&vector_key(), &[7; 2413]);
        let ciphertext = frame[TAG_LEN..].as_ptr();
        assert_eq!(open(&vector_key(), frame).unwrap().as_ptr(), ciphertext);
    }

    #[test]
    fn leaves_a_shared_frame_as_it_was() {
        let frame = seal(&vector_key(), b"message");
        let kept = frame.clone();
        let before = frame.to_vec();
        assert_eq!(open(&vector_key(), frame).unwrap(), &b"message"[..]);
        assert_eq!(kept, before);
    }

    #[test]
    fn an_empty_message_is_a_bare_tag() {
        let frame = seal(&vector_key(), &[]);
        assert_eq!(frame.len(), TAG_LEN);
        assert!(open(&vector_key(), frame).unwrap().is_empty());
    }

    #[test]
    fn less_than_a_tag_is_too_short() {
        for len in 0..TAG_LEN {
            assert_eq!(open(&vector_key(), vec![0; len].into()), Err(FrameError::TooShort), "{len}");
        }
    }

    proptest! {
        #[test]
        fn round_trips(key: [u8; 32], plaintext in vec(any::<u8>(), 0..3000)) {
            let key = CtrHmacKey::from_bytes(key);
            prop_assert_eq!(open(&key, seal(&key, &plaintext)), Ok(plaintext.into()));
        }

        #[test]
        fn any_flipped_bit_is_refused(plaintext in vec(any::<u8>(), 0..200), at: prop::sample::Index) {
            let mut frame = seal(&vector_key(), &plaintext).to_vec();
            let bit = at.index(frame.len() * 8);
            frame[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(open(&vector_key(), frame.into()), Err(FrameError::InvalidMac));
        }

        #[test]
        fn another_key_is_refused(key: [u8; 32], plaintext in vec(any::<u8>(), 0..200)) {
            let frame = seal(&CtrHmacKey::from_bytes(key), &plaintext);
            prop_assert_eq!(open(&vector_key(), frame), Err(FrameError::InvalidMac));
        }

        #[test]
        fn random_bytes_never_open(frame in vec(any::<u8>(), 0..3000)) {
            prop_assert!(open(&vector_key(), frame.into()).is_err());
        }
    }
}
