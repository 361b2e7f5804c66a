//! X25519 with the gateway's key.
//!
//! There are two implementations, of which one is chosen at the start. The crate `graviola` has that of s2n-bignum, whose assembly is
//! formally verified. `x25519-dalek` is in Rust alone, for processors that lack what `graviola` needs. The first takes less than half
//! the time, and an X25519 is most of the cost of a packet.
//!
//! *Trusts* both to be X25519 as in RFC 7748; tests compare them, and run the cases of Wycheproof. *Holds* the private key.
//! *Promises*: both wipe the key when it is dropped. `graviola` also wipes the copy that it makes for each operation, its
//! result, and the vector registers. Neither wipes what its arithmetic leaves on the stack.

use std::fmt;

use graviola::key_agreement::x25519;
use zeroize::Zeroizing;

/// An implementation of X25519.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Implementation {
    /// The implementation of s2n-bignum, in the crate `graviola`.
    Graviola,
    /// The implementation of the crate `x25519-dalek`.
    Dalek,
}

impl Implementation {
    /// The fastest that this processor can run. Makes no system call.
    pub(super) fn fastest() -> Self {
        if graviola::util::is_cpu_supported() { Self::Graviola } else { Self::Dalek }
    }
}

impl fmt::Display for Implementation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Graviola => "graviola (s2n-bignum)",
            Self::Dalek => "x25519-dalek",
        })
    }
}

/// An X25519 private key. It is clamped when used, as in every era. Both kinds wipe themselves when dropped.
pub(super) enum PrivateKey {
    Graviola(x25519::StaticPrivateKey),
    Dalek(x25519_dalek::StaticSecret),
}

impl PrivateKey {
    /// A key of an implementation that this processor can run.
    pub(super) fn new(implementation: Implementation, secret: &[u8; 32]) -> Self {
        match implementation {
            Implementation::Graviola => Self::Graviola(x25519::StaticPrivateKey::from_array(secret)),
            Implementation::Dalek => Self::Dalek(x25519_dalek::StaticSecret::from(*secret)),
        }
    }

    pub(super) const fn implementation(&self) -> Implementation {
        match self {
            Self::Graviola(_) => Implementation::Graviola,
            Self::Dalek(_) => Implementation::Dalek,
        }
    }

    /// The public key.
    pub(super) fn public(&self) -> [u8; 32] {
        match self {
            Self::Graviola(key) => key.public_key().as_bytes(),
            Self::Dalek(key) => x25519_dalek::PublicKey::from(key).to_bytes(),
        }
    }

    /// The secret that this key shares with a point, whatever the point is: the highest bit is ignored, the rest is taken modulo
    /// the prime. A point of small order shares zeros, as in every real node. Its sender knows the secret then, as every
    /// sender does.
    pub(super) fn agree(&self, point: &[u8; 32]) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(match self {
            // The error of `graviola` means that the shared secret is all zeros.
            Self::Graviola(key) => {
                key.diffie_hellman(&x25519::PublicKey::from_array(point)).map_or([0; 32], |shared| shared.0)
            }
            Self::Dalek(key) => key.diffie_hellman(&(*point).into()).to_bytes(),
        })
    }
}

#[cfg(test)]
mod tests;
