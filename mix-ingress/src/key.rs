//! The Sphinx private key, from the descriptor of its file into locked memory.
//!
//! *Trusts* the supervisor to have opened the right file, but not what an operator wrote into it. *Promises*: the buffers
//! that the key passes through are wiped, and so is the stack; the descriptor is closed, and no error repeats a byte of the file.

use std::{
    fs::File,
    io,
    os::{fd::OwnedFd, unix::fs::FileExt},
};

use pem::{KeyTag, PemError};
use sandbox::secret::{LockError, Locked, with_stack_overwritten};
use zeroize::Zeroizing;

use crate::sphinx::SphinxKey;

/// Why the key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file could not be read.
    #[error("cannot read the file of the Sphinx private key: {0}; check that the file is intact")]
    Unreadable(#[from] io::Error),
    /// The file does not hold an X25519 private key.
    #[error("cannot use the file of the Sphinx private key: {0}; put the right key file back, or a backup of it")]
    NotAKey(#[from] PemError),
    /// The key's memory could not be locked.
    #[error("{0}")]
    NotLocked(#[from] LockError),
}

/// Reads the key file from its beginning, wherever the descriptor stands, and closes the descriptor.
///
/// # Errors
/// If the file cannot be read or holds something else, or the key's memory cannot be locked.
pub fn read(descriptor: OwnedFd) -> Result<Locked<SphinxKey>, KeyError> {
    with_stack_overwritten(|| read_from(&File::from(descriptor)))
}

fn read_from(file: &File) -> Result<Locked<SphinxKey>, KeyError> {
    // One byte more than a key file may have, to notice one that is longer.
    let mut text = Zeroizing::new([0; pem::MAX_FILE_LEN + 1]);
    let mut len = 0;
    while let Some(space) = text.get_mut(len..).filter(|space| !space.is_empty()) {
        match file.read_at(space, len as u64) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    let secret = pem::decode(KeyTag::X25519Private, text.get(..len).unwrap_or_default())?;
    Ok(Locked::new(|| SphinxKey::new(secret))?)
}
