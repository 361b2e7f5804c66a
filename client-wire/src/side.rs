//! The two sides of a session under one [`GcmSivKey`]. Both seal with the same key and without associated data, so only the nonce
//! can tell who sealed a message. The gateway marks every nonce that it draws, and refuses marked nonces in everything that comes in.
//!
//! Without the mark, everything that the gateway seals would be valid when it is sent back. The sender of a message chooses what the
//! gateway seals: 32 bytes make a login of version 3, a JSON text makes an encrypted request, any packet a request to forward.
//!
//! A nonce of the gateway is `random 6 | mark 6`. The mark is the beginning of `BLAKE3 keyed with the mark key (random)`; the
//! mark key is `HMAC-BLAKE3 keyed with the session key (a fixed text)`. Nobody without the session key can tell such a nonce
//! from a random one. A client reads nonces and never looks into them.
//!
//! What this costs:
//!
//! - *False refusals.* A client draws 12 random bytes, which carry the mark with a probability of 2^-48. Its frame is refused
//!   then, and a client of today ends its session after a refused frame and connects again. At 25,000 frames a second, the
//!   full rate of a gateway with all its clients together, that is one session in 357 years.
//! - *Repeated nonces.* With 6 random bytes a repetition becomes likely (4 in 10) after 2^24 = 16.8 million messages under
//!   one key, where 12 bytes take 2^48. AES-GCM-SIV is made for that: a nonce that is used twice reveals whether both
//!   messages are equal, and nothing else. Its tag is the initial counter, so keystream is repeated for equal messages only,
//!   and no authentication key leaks. RFC 8452 allows one nonce 2^8 messages of up to 2^32 blocks; that a nonce is drawn
//!   2^8 times is out of reach.
//!
//! The mark does not cover the following, as README.privsep.md says: frames that an earlier version of the gateway sealed without a mark, and
//! the older kind of key, whose frames have no nonce.
//!
//! *Holds* a copy of the session key, and the mark key, wherever its owner wants them to be; both are wiped when dropped.
//! *Promises*: the gateway's side cannot seal with a nonce that is not marked, nor open with one that is.

use std::{borrow::Borrow, fmt};

use hmac::Mac;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{
    frame_kind::{FrameKind, PushKind, RequestKind},
    hmac_blake3::keyed,
    key::{AEAD_TAG_LEN, CtrHmacKey, GcmSivKey, KeyKind, NONCE_LEN, Nonce, NotAuthentic, SessionKey},
};

/// The random part of a gateway's nonce. The caller draws a fresh one for each nonce.
pub type NonceRandom = [u8; RANDOM_LEN];

const RANDOM_LEN: usize = 6;
const MARK_LEN: usize = NONCE_LEN - RANDOM_LEN;
const MARK_KEY_CONTEXT: &[u8] = b"gatewayd: the mark of a nonce";

/// A nonce that the gateway drew: it carries the mark of one session key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GatewayNonce(Nonce);

impl Borrow<Nonce> for GatewayNonce {
    fn borrow(&self) -> &Nonce {
        &self.0
    }
}

impl GatewayNonce {
    /// One that another gateway drew, in recorded frames.
    #[cfg(test)]
    pub(super) const fn recorded(nonce: Nonce) -> Self {
        Self(nonce)
    }
}

/// A [`GcmSivKey`] as the gateway uses it.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct MarkingKey {
    key: GcmSivKey,
    mark_key: [u8; blake3::KEY_LEN],
}

impl MarkingKey {
    /// The gateway's side of a session with this key. Costs half a microsecond.
    pub fn of(key: &GcmSivKey) -> Self {
        let bytes = key.to_bytes();
        let derived = Zeroizing::new(keyed(&bytes).chain_update(MARK_KEY_CONTEXT).finalize().into_bytes().0);
        Self { key: key.clone(), mark_key: *derived }
    }

    /// Makes a nonce to seal with. `random` must be fresh and random.
    pub fn nonce(&self, random: NonceRandom) -> GatewayNonce {
        let mut nonce = [0; NONCE_LEN];
        for (to, from) in nonce.iter_mut().zip(random.into_iter().chain(self.mark(&random))) {
            *to = from;
        }
        GatewayNonce(nonce)
    }

    /// Whether the gateway drew this nonce.
    fn has_drawn(&self, nonce: &Nonce) -> bool {
        let [r0, r1, r2, r3, r4, r5, mark @ ..] = *nonce;
        self.mark(&[r0, r1, r2, r3, r4, r5]).ct_eq(&mark).into()
    }

    fn mark(&self, random: &NonceRandom) -> [u8; MARK_LEN] {
        let [m0, m1, m2, m3, m4, m5, ..] = *blake3::keyed_hash(&self.mark_key, random).as_bytes();
        [m0, m1, m2, m3, m4, m5]
    }
}

impl fmt::Debug for MarkingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MarkingKey(redacted)")
    }
}

/// A [`SessionKey`] as the gateway uses it. Frames of the older kind of key look the same in both directions.
#[derive(Debug)]
pub enum GatewayKey {
    /// AES-128-CTR and HMAC-BLAKE3.
    CtrHmac(CtrHmacKey),
    /// AES-256-GCM-SIV, with marked nonces.
    GcmSiv(MarkingKey),
}

/// Both kinds of key wipe themselves.
impl ZeroizeOnDrop for GatewayKey {}

impl GatewayKey {
    /// The kind of the key.
    pub const fn kind(&self) -> KeyKind {
        match self {
            Self::CtrHmac(_) => KeyKind::CtrHmac,
            Self::GcmSiv(_) => KeyKind::GcmSiv,
        }
    }

    /// The gateway's side of a session with this key.
    pub fn of(key: &SessionKey) -> Self {
        match key {
            SessionKey::CtrHmac(key) => Self::CtrHmac(key.clone()),
            SessionKey::GcmSiv(key) => Self::GcmSiv(MarkingKey::of(key)),
        }
    }
}

/// Why sealed bytes were not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotOpened {
    /// The gateway sealed the bytes itself, and somebody sends them back.
    #[error("bytes that the gateway sealed itself were sent back; somebody who listens on this connection did that")]
    Reflected,
    /// The bytes were sealed under another key or nonce, or altered on the way.
    #[error(transparent)]
    NotAuthentic(#[from] NotAuthentic),
}

/// One side of a session under a [`GcmSivKey`]: the client's is the key itself, the gateway's a [`MarkingKey`].
pub trait Side: keys::SideKey {
    /// The nonces with which this side may seal.
    type Nonce: Borrow<Nonce>;
    /// The kinds of this side's frames.
    type Sends: FrameKind;
    /// The kinds of the other side's frames.
    type Receives: FrameKind;
}

impl Side for MarkingKey {
    type Nonce = GatewayNonce;
    type Sends = PushKind;
    type Receives = RequestKind;
}

impl Side for GcmSivKey {
    type Nonce = Nonce;
    type Sends = RequestKind;
    type Receives = PushKind;
}

/// Private to this module, since other code could use it to seal with the key itself.
mod keys {
    use super::{GcmSivKey, MarkingKey, Nonce};

    pub trait SideKey {
        fn key(&self) -> &GcmSivKey;
        /// Whether this side drew the nonce itself, as far as it can tell.
        fn has_drawn(&self, nonce: &Nonce) -> bool;
    }

    impl SideKey for MarkingKey {
        fn key(&self) -> &GcmSivKey {
            &self.key
        }

        fn has_drawn(&self, nonce: &Nonce) -> bool {
            self.has_drawn(nonce)
        }
    }

    impl SideKey for GcmSivKey {
        fn key(&self) -> &GcmSivKey {
            self
        }

        fn has_drawn(&self, _: &Nonce) -> bool {
            false
        }
    }
}

/// Encrypts in place and returns the tag that goes behind.
pub(super) fn seal_in_place<S: Side>(side: &S, nonce: &S::Nonce, buffer: &mut [u8]) -> [u8; AEAD_TAG_LEN] {
    side.key().seal_in_place(nonce.borrow(), buffer)
}

/// Checks nonce and tag in constant time and decrypts in place; on an error the buffer is as it was.
pub(super) fn open_in_place(
    side: &impl Side,
    nonce: &Nonce,
    buffer: &mut [u8],
    tag: &[u8; AEAD_TAG_LEN],
) -> Result<(), NotOpened> {
    if side.has_drawn(nonce) {
        return Err(NotOpened::Reflected);
    }
    Ok(side.key().open_in_place(nonce, buffer, tag)?)
}

/// Encrypts; the tag comes last.
pub(super) fn seal<S: Side>(side: &S, nonce: &S::Nonce, mut plaintext: Vec<u8>) -> Vec<u8> {
    let tag = seal_in_place(side, nonce, &mut plaintext);
    plaintext.extend_from_slice(&tag);
    plaintext
}

/// Decrypts what the other side made with [`seal`].
pub(super) fn open(side: &impl Side, nonce: &Nonce, mut sealed: Vec<u8>) -> Result<Vec<u8>, NotOpened> {
    let (ciphertext, tag) = sealed.split_last_chunk_mut().ok_or(NotAuthentic)?;
    open_in_place(side, nonce, ciphertext, tag)?;
    sealed.truncate(sealed.len() - AEAD_TAG_LEN);
    Ok(sealed)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn key() -> GcmSivKey {
        GcmSivKey::from_bytes([5; 32])
    }

    fn gateway() -> MarkingKey {
        MarkingKey::of(&key())
    }

    #[test]
    fn debug_shows_no_key_byte() {
        let key = SessionKey::GcmSiv(GcmSivKey::from_bytes([0xab; 32]));
        assert_eq!(format!("{:?}", GatewayKey::of(&key)), "GcmSiv(MarkingKey(redacted))");
    }

    /// A gateway that is restarted, or upgraded, must know the nonces that it drew before.
    #[test]
    fn the_mark_is_the_same_for_ever() {
        let GatewayNonce(nonce) = gateway().nonce([1, 2, 3, 4, 5, 6]);
        assert_eq!(hex::encode(nonce), "01020304050690cb3cb2f5be");
    }

    #[test]
    fn less_than_a_tag_is_not_authentic() {
        let not_authentic = Err(NotOpened::NotAuthentic(NotAuthentic));
        for len in 0..AEAD_TAG_LEN {
            assert_eq!(open(&gateway(), &[0; 12], vec![0; len]), not_authentic);
            assert_eq!(open(&key(), &[0; 12], vec![0; len]), not_authentic);
        }
        assert_eq!(open(&gateway(), &[0; 12], seal(&key(), &[0; 12], Vec::new())), Ok(Vec::new()));
    }

    #[test]
    fn none_of_many_random_nonces_is_marked() {
        let gateway = gateway();
        let mut drawn = blake3::Hasher::new().update(b"nonces of a client").finalize_xof();
        let mut nonce: Nonce = [0; NONCE_LEN];
        for _ in 0..100_000 {
            drawn.fill(&mut nonce);
            assert!(!gateway.has_drawn(&nonce));
        }
    }

    proptest! {
        #[test]
        fn what_the_gateway_sealed_opens_for_the_client_only(
            key: [u8; 32],
            random: NonceRandom,
            plaintext in vec(any::<u8>(), 0..300),
        ) {
            let key = GcmSivKey::from_bytes(key);
            let gateway = MarkingKey::of(&key);
            let nonce = gateway.nonce(random);
            let sealed = seal(&gateway, &nonce, plaintext.clone());
            prop_assert_eq!(open(&gateway, nonce.borrow(), sealed.clone()), Err(NotOpened::Reflected));
            prop_assert_eq!(open(&key, nonce.borrow(), sealed), Ok(plaintext));
        }

        #[test]
        fn what_the_client_sealed_opens_for_the_gateway(nonce: Nonce, plaintext in vec(any::<u8>(), 0..300)) {
            let sealed = seal(&key(), &nonce, plaintext.clone());
            prop_assert_eq!(open(&gateway(), &nonce, sealed), Ok(plaintext));
        }

        #[test]
        fn a_mark_holds_for_its_key_and_random_part_only(key: [u8; 32], random: NonceRandom, bit in 0..96_usize) {
            let gateway = MarkingKey::of(&GcmSivKey::from_bytes(key));
            let GatewayNonce(nonce) = gateway.nonce(random);
            prop_assert!(gateway.has_drawn(&nonce));
            let mut other = nonce;
            other[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!gateway.has_drawn(&other));
            let mut other_key = key;
            other_key[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!MarkingKey::of(&GcmSivKey::from_bytes(other_key)).has_drawn(&nonce));
        }
    }
}
