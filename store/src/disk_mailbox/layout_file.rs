//! The file `conf`, in which sled keeps how a database is laid out.
//!
//! sled writes it in two pieces when it makes a database, and never syncs it. So a loss of power, however much later, may leave the file
//! with one piece, or with zeros. sled takes that for corruption, although nothing of the database is lost: the layout is always ours.
//!
//! *Promises*: a file that is not as sled wrote it is removed before sled reads it, and sled replaces it from the layout. The file of
//! a database that is open is on the medium.

use std::{
    io::{self, Read},
    os::fd::{AsFd, OwnedFd},
};

use nix::{
    fcntl::OFlag,
    unistd::{UnlinkatFlags, unlinkat},
};

use crate::plain_file;

const NAME: &str = "conf";
/// Bytes of the file at the most. sled writes three short lines and four bytes of CRC-32.
const LONGEST: u64 = 1_024;

/// Removes the file if it is not as sled wrote it.
pub(super) fn remove_torn(directory: &OwnedFd) -> io::Result<()> {
    let mut file = match plain_file::open(directory, NAME, OFlag::O_RDONLY) {
        Ok(file) => file.take(LONGEST),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let is_whole =
        |(text, crc): (&[u8], &[u8; 4])| !text.is_empty() && crc32fast::hash(text) == u32::from_le_bytes(*crc);
    if bytes.split_last_chunk().is_some_and(is_whole) {
        return Ok(());
    }
    tracing::warn!(id = "GWD-S023", "the file `conf` of a database is torn, and is replaced");
    Ok(unlinkat(directory.as_fd(), NAME, UnlinkatFlags::NoRemoveDir)?)
}

/// Returns when what sled has written is on the medium. The name is not synced.
pub(super) fn sync(directory: &OwnedFd) -> io::Result<()> {
    plain_file::open(directory, NAME, OFlag::O_RDONLY)?.sync_all()
}
