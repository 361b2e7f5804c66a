//! What a key may look like in memory: each half as it is, what it is worked with, and as people read it.

use base64::prelude::{BASE64_STANDARD_NO_PAD, Engine};
use client_wire::key::SessionKey;
use ed25519_dalek::SigningKey;
use sha2::{Digest, Sha512};

use crate::process::PrivateMemory;

/// A half of a key: long enough not to be there by chance.
const HALF: usize = 16;
/// What HMAC makes of a key before it hashes it.
const HMAC_PADS: [u8; 2] = [0x36, 0x5c];
/// The name of what HMAC makes of a key.
pub const HMAC_FORM: &str = "as HMAC pads it";
/// Curve25519 changes the first byte of the key that it works with, and the last.
const CHANGED: usize = 1;

/// The forms of a key.
#[derive(Debug, Clone)]
pub struct KeyForms {
    /// Both halves, as they are.
    halves: Vec<Vec<u8>>,
    /// What is computed from the key before it is used, and the key as text.
    others: Vec<(&'static str, Vec<u8>)>,
}

/// Where forms of a key were found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// Whether each half, as it is, is in locked memory.
    pub locked: [bool; 2],
    /// Whether a half, as it is, is in memory that is not locked.
    pub unlocked: bool,
    /// Forms other than the key itself, in memory of any kind.
    pub in_other_forms: Vec<&'static str>,
    /// Of those, the ones in memory that is not locked.
    pub unlocked_in_other_forms: Vec<&'static str>,
}

impl KeyForms {
    /// Of a private key of the gateway: of Ed25519, or of X25519, which is worked with as it is but for its outer bytes.
    pub fn of_private_key(key: &[u8; 32]) -> Self {
        let inner = key.get(CHANGED..key.len() - CHANGED).unwrap_or_default();
        let mut others = printed(key);
        let scalar = SigningKey::from_bytes(key).to_scalar_bytes();
        let inner_scalar = scalar.get(CHANGED..scalar.len() - CHANGED).unwrap_or_default();
        others.extend(inner_scalar.chunks(HALF - CHANGED).map(|half| ("as the scalar of signatures", half.to_vec())));
        let hash: [u8; 64] = Sha512::digest(key).into();
        let prefix = hash.get(key.len()..).unwrap_or_default();
        others.extend(prefix.chunks(HALF).map(|half| ("as the prefix of signatures", half.to_vec())));
        Self { halves: inner.chunks(HALF - CHANGED).map(<[u8]>::to_vec).collect(), others }
    }

    /// Of a session key: AES expands it into bytes that begin with it.
    pub fn of_session_key(key: &SessionKey) -> Self {
        let key = match key {
            SessionKey::CtrHmac(key) => key.to_bytes(),
            SessionKey::GcmSiv(key) => key.to_bytes(),
        };
        let mut others = printed(&key[..]);
        for half in key.chunks(HALF) {
            let padded = HMAC_PADS.map(|pad| half.iter().map(|byte| byte ^ pad).collect());
            others.extend(padded.map(|padded| (HMAC_FORM, padded)));
        }
        Self { halves: key.chunks(HALF).map(<[u8]>::to_vec).collect(), others }
    }

    /// Which of them are in this memory.
    pub fn found_in(&self, memory: &PrivateMemory) -> Found {
        let mut locked = [false; 2];
        locked.iter_mut().zip(&self.halves).for_each(|(locked, half)| *locked = memory.has_locked(half));
        let unlocked = |form: &[u8]| memory.has_unlocked(form);
        let others = |is_there: &dyn Fn(&[u8]) -> bool| -> Vec<&'static str> {
            self.others.iter().filter(|(_, form)| is_there(form)).map(|(name, _)| *name).collect()
        };
        Found {
            locked,
            unlocked: self.halves.iter().any(|half| unlocked(half)),
            in_other_forms: others(&|form| memory.has_locked(form) || unlocked(form)),
            unlocked_in_other_forms: others(&unlocked),
        }
    }
}

/// As people read it: all of it in the form of a PEM file, in halves of text, and in other ways of writing.
fn printed(key: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let base64 = BASE64_STANDARD_NO_PAD.encode(key).into_bytes();
    let hexadecimal: Vec<u8> = key.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect();
    let middle = |text: &[u8]| text.len() / 2;
    let halves = |name, text: &[u8]| {
        let (first, last) = text.split_at(middle(text));
        [(name, first.to_vec()), (name, last.to_vec())]
    };
    let mut forms = vec![("in base58", bs58::encode(key).into_vec())];
    forms.extend(halves("in base64, as in a PEM file", &base64));
    forms.extend(halves("in hexadecimal", &hexadecimal));
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> [u8; 32] {
        std::array::from_fn(|n| (n as u8).wrapping_mul(37) ^ 0x5c)
    }

    fn found(locked: &[u8], other: &[u8]) -> Found {
        KeyForms::of_private_key(&key()).found_in(&PrivateMemory::of(locked, other))
    }

    #[test]
    fn each_form_and_half_of_a_key_is_found() {
        let key = key();
        assert_eq!(found(&key, b"nothing"), Found { locked: [true; 2], ..Found::default() });
        for half in key.chunks(HALF) {
            assert!(found(b"", half).unlocked);
        }
        let expanded: [u8; 64] = Sha512::digest(key).into();
        let text = BASE64_STANDARD_NO_PAD.encode(key);
        let hexadecimal = format!("{:02x?}", &key[HALF..]).replace([',', ' ', '[', ']'], "");
        let forms = [&expanded[..HALF], &expanded[HALF..32], &expanded[32..48], &expanded[48..]];
        for form in forms.into_iter().chain([&text.as_bytes()[..22], &text.as_bytes()[21..], hexadecimal.as_bytes()]) {
            let Found { in_other_forms, unlocked_in_other_forms, .. } = found(b"", form);
            assert_eq!((in_other_forms.len(), unlocked_in_other_forms.len()), (1, 1), "{form:?}");
            assert_eq!(found(form, b"").unlocked_in_other_forms, [""; 0]);
        }
        assert_eq!(found(b"nothing", b"of it"), Found::default());
    }
}
