//! What the file system says about the disk.

use std::{io, os::fd::OwnedFd};

use nix::sys::statvfs::fstatvfs;

/// Bytes free on the disk of a directory, without those that are kept for root.
pub(crate) fn free(directory: &OwnedFd) -> io::Result<u64> {
    let disk = fstatvfs(directory)?;
    Ok(disk.blocks_available().saturating_mul(disk.fragment_size()))
}
