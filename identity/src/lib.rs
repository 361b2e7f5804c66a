//! The gateway's identity key, and everything that it signs. Each kind of signature has a type of its own here, which composes or checks
//! the signed bytes; there is no way to have chosen bytes signed.
//!
//! | what is signed | by | why no other kind passes for it |
//! |---|---|---|
//! | the gateway's half of a registration ([`Identity::sign_registration`]) | `store` | 64 bytes, of which `store` draws 32 |
//! | the host information of the network ([`host_information`]) | `store` | JSON that begins with `ip_address`, composed here from facts |
//! | a contract message (`contract_message`) | `signer` | JSON with `message_type`, of one known purpose |
//! | a text of the operator (`plain_text`) | `signer` | none of the above, which is checked |

#[cfg(feature = "operator")]
pub mod contract_message;
pub mod host_information;
#[cfg(feature = "operator")]
pub mod plain_text;
#[cfg(feature = "operator")]
pub mod terminal;

use std::{fs::File, io::Read, os::fd::OwnedFd};

use client_wire::handshake::{EphemeralKeys, Signature};
use ed25519_dalek::{Signer, SigningKey};
use pem::KeyTag;
use sandbox::secret::{LockError, Locked, with_stack_overwritten};
use zeroize::Zeroizing;

/// The longest text that an operator has signed, in bytes. It is shown whole before, and this is as much as somebody reads.
#[cfg(feature = "operator")]
pub const MAX_TEXT: usize = 8 * 1024;

/// No key file is longer.
const MAX_KEY_FILE: u64 = 4 * 1024;

/// The identity key could not be taken from its file.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file could not be read.
    #[error("cannot read the identity key: {0}; check the file named by `private_identity_key_file`")]
    Read(#[from] std::io::Error),
    /// The file holds no key.
    #[error("the file named by `private_identity_key_file` holds no identity key: {0}; restore it from a backup")]
    Form(#[from] pem::PemError),
    /// There is no locked memory for it.
    #[error(transparent)]
    Memory(#[from] LockError),
}

/// The Ed25519 identity key, in locked memory.
#[derive(Debug)]
pub struct Identity(Locked<SigningKey>);

impl Identity {
    /// Reads the PEM file and closes it. Nothing of the key stays on the stack.
    ///
    /// # Errors
    /// If it cannot be read, holds no key, or memory cannot be locked.
    pub fn read(file: OwnedFd) -> Result<Self, IdentityError> {
        with_stack_overwritten(|| {
            let mut text = Zeroizing::new(Vec::with_capacity(4 * 1024));
            File::from(file).take(MAX_KEY_FILE).read_to_end(&mut text)?;
            Ok(Self::from_seed(&*pem::decode(KeyTag::Ed25519Private, &text)?)?)
        })
    }

    /// Of a key that is in memory already.
    ///
    /// # Errors
    /// If memory cannot be locked.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, LockError> {
        Ok(Self(Locked::new(|| SigningKey::from_bytes(seed))?))
    }

    /// The public key, as clients know it.
    pub fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    /// Signs the gateway's half of one registration.
    pub fn sign_registration(&self, keys: &EphemeralKeys) -> Signature {
        self.sign(&keys.signed_by_gateway())
    }

    /// Who may call this decides what the key signs: this crate alone.
    fn sign(&self, bytes: &[u8]) -> Signature {
        self.0.sign(bytes).to_bytes()
    }
}
