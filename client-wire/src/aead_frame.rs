//! Sealed traffic under a [`GcmSivKey`](super::key::GcmSivKey), in both directions: one binary websocket frame is
//! `kind 1 | 01 | nonce 12 | AES-256-GCM-SIV ciphertext and tag`. The kind is not covered by the tag, and is the same number
//! in both directions: a [`Side`] opens what the other one sealed, and no frame of its own.
//!
//! The second byte says that the rest is encrypted. nym-node takes 00 for "not encrypted" and then reads the frame without
//! the key. Here nothing unsealed is ever read, so 00 is refused like any other value.

use std::borrow::Borrow;

use bytes::{BufMut, Bytes, BytesMut};

pub use super::frame_kind::{FrameKind, PushKind, RequestKind};
use super::{
    key::{AEAD_TAG_LEN, NONCE_LEN, Nonce},
    side::{self, NotOpened, Side},
};

const ENCRYPTED: u8 = 1;
const HEAD_LEN: usize = 2 + NONCE_LEN;

/// Why a frame was not opened, in the order of the checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AeadFrameError {
    /// The frame is shorter than its fixed parts.
    #[error("a binary frame is shorter than its 14-byte head; the peer must send kind, flag, nonce and ciphertext")]
    TooShort,
    /// The flag does not say "encrypted".
    #[error("a binary frame has the encryption flag {0}; the peer must encrypt it and say so with 1")]
    Flag(u8),
    /// This direction has no such kind.
    #[error("a binary frame is of unknown kind {0}")]
    UnknownKind(u8),
    /// The frame was made under another key, or altered on the way.
    #[error("a binary frame was not sealed with this session's key; the client has to register again if this persists")]
    NotAuthentic,
    /// The frame was made by the side that is to open it.
    #[error("a binary frame was sealed by the gateway itself; somebody who listens on this connection sent it back")]
    Reflected,
}

impl From<NotOpened> for AeadFrameError {
    fn from(why: NotOpened) -> Self {
        match why {
            NotOpened::NotAuthentic(_) => Self::NotAuthentic,
            NotOpened::Reflected => Self::Reflected,
        }
    }
}

/// Encrypts `plaintext` into one new buffer. A client's `nonce` must be fresh and random.
pub fn seal<S: Side>(side: &S, kind: S::Sends, nonce: &S::Nonce, plaintext: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(HEAD_LEN + plaintext.len() + AEAD_TAG_LEN);
    frame.put_u8(kind.code());
    frame.put_u8(ENCRYPTED);
    frame.extend_from_slice(nonce.borrow());
    frame.extend_from_slice(plaintext);
    let mut ciphertext = frame.split_off(HEAD_LEN);
    let tag = side::seal_in_place(side, nonce, &mut ciphertext);
    ciphertext.extend_from_slice(&tag);
    frame.unsplit(ciphertext);
    frame.freeze()
}

/// Checks nonce and tag in constant time and decrypts in place.
///
/// Copies the ciphertext only if the frame's buffer is shared.
///
/// # Errors
/// The first [`AeadFrameError`].
pub fn open<S: Side>(side: &S, mut frame: Bytes) -> Result<(S::Receives, Bytes), AeadFrameError> {
    let [kind, flag] = *frame.first_chunk().ok_or(AeadFrameError::TooShort)?;
    if flag != ENCRYPTED {
        return Err(AeadFrameError::Flag(flag));
    }
    let (_, sealed) = frame.split_first_chunk::<2>().ok_or(AeadFrameError::TooShort)?;
    let nonce: Nonce = *sealed.first_chunk().ok_or(AeadFrameError::TooShort)?;
    let kind = S::Receives::from_code(kind).ok_or(AeadFrameError::UnknownKind(kind))?;
    let sealed = frame.split_off(HEAD_LEN);
    // A shared buffer cannot be decrypted in place.
    drop(frame);
    let mut plaintext = BytesMut::from(sealed);
    let (ciphertext, tag) = plaintext.split_last_chunk_mut().ok_or(AeadFrameError::NotAuthentic)?;
    side::open_in_place(side, &nonce, ciphertext, tag)?;
    plaintext.truncate(plaintext.len() - AEAD_TAG_LEN);
    Ok((kind, plaintext.freeze()))
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{
        key::GcmSivKey,
        side::{GatewayNonce, MarkingKey},
        vectors::{file, hex_of},
    };

    fn key() -> GcmSivKey {
        GcmSivKey::from_bytes([5; 32])
    }

    fn open_request(frame: impl Into<Bytes>) -> Result<(RequestKind, Bytes), AeadFrameError> {
        open(&gateway(), frame.into())
    }

    fn gateway() -> MarkingKey {
        MarkingKey::of(&key())
    }

    /// Opens and seals again every frame of one direction of the vectors.
    fn check<S: Side, R: Side<Receives = S::Sends>>(
        direction: &str,
        sender: impl Fn(&GcmSivKey) -> S,
        receiver: impl Fn(&GcmSivKey) -> R,
        nonce: impl Fn(Nonce) -> S::Nonce,
    ) -> usize {
        let vectors = file("binary_frames.json");
        let key = GcmSivKey::from_bytes(hex_of(&vectors["shared_key"]).try_into().unwrap());
        let (sender, receiver) = (sender(&key), receiver(&key));
        let cases = vectors[direction].as_array().unwrap();
        for case in cases {
            let (frame, plaintext) = (hex_of(&case["ws_binary"]), hex_of(&case["plaintext"]));
            let (kind, opened) = open(&receiver, frame.clone().into()).unwrap();
            assert_eq!(case["kind"], kind.code());
            assert_eq!(opened, plaintext);
            assert_eq!(seal(&sender, kind, &nonce(frame[2..14].try_into().unwrap()), &plaintext), frame);
        }
        cases.len()
    }

    #[test]
    fn opens_and_seals_what_real_clients_and_gateways_exchange() {
        assert_eq!(check("requests", GcmSivKey::clone, MarkingKey::of, |nonce| nonce), 16);
        assert_eq!(check("responses", MarkingKey::of, GcmSivKey::clone, GatewayNonce::recorded), 3);
    }

    #[test]
    fn a_push_sent_back_is_refused_and_opens_for_the_client() {
        let push = seal(&gateway(), PushKind::Message, &gateway().nonce([3; 6]), b"chosen by its sender");
        assert_eq!(open_request(push.clone()), Err(AeadFrameError::Reflected));
        assert_eq!(open(&key(), push), Ok((PushKind::Message, Bytes::from_static(b"chosen by its sender"))));
    }

    #[test]
    fn is_judged_in_the_order_of_the_real_gateway() {
        for short in [&[][..], &[9], &[1, 1], &[1; 13], &[9, 1, 0]] {
            assert_eq!(open_request(short.to_vec()), Err(AeadFrameError::TooShort));
        }
        assert_eq!(open_request(vec![9, 2]), Err(AeadFrameError::Flag(2)));
        assert_eq!(open_request(vec![9; 14]), Err(AeadFrameError::Flag(9)));
        let with_kind = |kind| [&[kind, 1][..], &[0; 12]].concat();
        assert_eq!(open_request(with_kind(9)), Err(AeadFrameError::UnknownKind(9)));
        assert_eq!(open_request(with_kind(2)), Err(AeadFrameError::NotAuthentic));
        assert_eq!(open(&key(), with_kind(2).into()), Err(AeadFrameError::UnknownKind(2)));
    }

    #[test]
    fn a_frame_that_says_it_is_not_encrypted_is_refused() {
        let unsealed = [&[1, 0][..], &[0; 12], b"plaintext"].concat();
        assert_eq!(open_request(unsealed), Err(AeadFrameError::Flag(0)));
    }

    #[test]
    fn opens_in_place_and_leaves_a_shared_frame_as_it_was() {
        let frame = seal(&key(), RequestKind::Forward, &[3; 12], &[7; 2413]);
        let ciphertext = frame[HEAD_LEN..].as_ptr();
        let (kept, before) = (frame.clone(), frame.to_vec());
        assert_ne!(open_request(frame).unwrap().1.as_ptr(), ciphertext);
        assert_eq!(kept, before);
        assert_eq!(open_request(kept).unwrap().1.as_ptr(), ciphertext);
    }

    proptest! {
        #[test]
        fn round_trips(key: [u8; 32], nonce: [u8; 12], plaintext in vec(any::<u8>(), 0..3000)) {
            let key = GcmSivKey::from_bytes(key);
            for kind in [RequestKind::Forward, RequestKind::ForwardMarked] {
                let frame = seal(&key, kind, &nonce, &plaintext);
                prop_assert_eq!(frame.len(), 30 + plaintext.len());
                prop_assert_eq!(open(&MarkingKey::of(&key), frame), Ok((kind, plaintext.clone().into())));
            }
        }

        #[test]
        fn any_flipped_bit_behind_the_kind_is_refused(plaintext in vec(any::<u8>(), 0..200), at: prop::sample::Index) {
            let mut frame = seal(&key(), RequestKind::Forward, &[3; 12], &plaintext).to_vec();
            let bit = 8 + at.index(frame.len() * 8 - 8);
            frame[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(open_request(frame).is_err());
        }

        #[test]
        fn random_bytes_never_open(frame in vec(any::<u8>(), 0..300), kind in 0..4_u8, flag in 0..3_u8) {
            prop_assert!(open_request(frame.clone()).is_err());
            prop_assert!(open_request([&[kind, flag][..], &frame].concat()).is_err());
        }
    }
}
