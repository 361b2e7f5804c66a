//! The public keys, and the check that each belongs to its private key.

use std::path::PathBuf;

use crate::paths::KeyPaths;

/// The two public keys, as the network knows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKeys {
    /// Ed25519: the identity of the gateway.
    pub identity: [u8; 32],
    /// X25519: the key to which Sphinx packets are encrypted.
    pub sphinx: [u8; 32],
}

impl PublicKeys {
    /// The identity in base58.
    pub fn identity_base58(&self) -> String {
        bs58::encode(self.identity).into_string()
    }

    /// The Sphinx key in base58.
    pub fn sphinx_base58(&self) -> String {
        bs58::encode(self.sphinx).into_string()
    }
}

/// A public key file that does not belong to its private key file.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} contains {announced}, but the private key in {} belongs to {derived}: one of the two files is of another gateway; restore both \
     from one backup, and do not bond the gateway before they match", public_file.display(), private_file.display()
)]
pub struct Mismatch {
    /// The file of the public key.
    pub public_file: PathBuf,
    /// The file of the private key.
    pub private_file: PathBuf,
    /// The public key in its file, in base58.
    pub announced: String,
    /// The public key that belongs to the private key, in base58.
    pub derived: String,
}

/// One of the two files with a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublicKeyFile {
    /// Ed25519.
    Identity,
    /// X25519.
    Sphinx,
}

impl PublicKeyFile {
    /// Compares the key in the file with the key that was derived from the private key.
    pub fn check(self, public: &PublicKeys, paths: &KeyPaths, derived: [u8; 32]) -> Result<(), Mismatch> {
        let (announced, public_file, private_file) = match self {
            Self::Identity => (public.identity, &paths.public_identity, &paths.private_identity),
            Self::Sphinx => (public.sphinx, &paths.public_sphinx, &paths.private_sphinx),
        };
        if announced == derived {
            return Ok(());
        }
        Err(Mismatch {
            public_file: public_file.clone(),
            private_file: private_file.clone(),
            announced: bs58::encode(announced).into_string(),
            derived: bs58::encode(derived).into_string(),
        })
    }
}
