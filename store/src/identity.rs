//! The gateway's identity: it signs the gateway's half of every registration, and nothing else.

use std::{fs::File, io::Read, os::fd::OwnedFd};

use client_wire::handshake::{EphemeralKeys, Signature};
use ed25519_dalek::{Signer, SigningKey};
use pem::KeyTag;
use sandbox::secret::{LockError, Locked};
use zeroize::Zeroizing;

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
    /// Reads the PEM file and closes it.
    ///
    /// # Errors
    /// If it cannot be read, holds no key, or memory cannot be locked.
    pub fn read(file: OwnedFd) -> Result<Self, IdentityError> {
        let mut text = Zeroizing::new(Vec::with_capacity(4 * 1024));
        File::from(file).take(MAX_KEY_FILE).read_to_end(&mut text)?;
        Ok(Self::from_seed(&*pem::decode(KeyTag::Ed25519Private, &text)?)?)
    }

    pub(crate) fn from_seed(seed: &[u8; 32]) -> Result<Self, LockError> {
        Ok(Self(Locked::new(|| SigningKey::from_bytes(seed))?))
    }

    /// The public key, as clients know it.
    pub fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    /// Signs the gateway's half of one registration.
    pub fn sign(&self, keys: &EphemeralKeys) -> Signature {
        self.0.sign(&keys.signed_by_gateway()).to_bytes()
    }
}
