//! Room on the disk: new mail is refused before the disk is full, and a file held in reserve lets what was stored be fetched
//! and removed even when others have filled it.

use std::os::fd::{AsFd, OwnedFd};

use nix::{
    fcntl::{FallocateFlags, OFlag, fallocate, openat},
    sys::{stat::Mode, statvfs::fstatvfs},
    unistd::{UnlinkatFlags, unlinkat},
};

use super::MailboxError;

/// Name of the file in the inbox directory. No client's folder can have it: it is no address.
const NAME: &str = "reserve";
/// Bytes held in reserve.
const RESERVE: i64 = 16 * 1024 * 1024;
/// Free bytes below which nothing new is written: more than the largest commit, which holds a whole window of deliveries.
const FLOOR: u64 = 48 * 1024 * 1024;

/// Makes the reserve, unless the disk is short already.
pub(super) fn keep(directory: &OwnedFd) {
    let flags = OFlag::O_CREAT | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    let made = openat(directory, NAME, flags, Mode::S_IRUSR | Mode::S_IWUSR)
        .and_then(|file| fallocate(file, FallocateFlags::empty(), 0, RESERVE));
    if let Err(error) = made {
        tracing::warn!(%error, "cannot hold space in reserve; should the disk fill up, stored mail may be out of reach");
    }
}

/// Gives the reserve back to the disk.
pub(super) fn release(directory: &OwnedFd) {
    // If it is not there, there is nothing to give.
    let _ = unlinkat(directory.as_fd(), NAME, UnlinkatFlags::NoRemoveDir);
}

/// Whether the disk has room for the largest commit.
pub(super) fn is_disk_roomy(directory: &OwnedFd) -> Result<bool, MailboxError> {
    let disk = fstatvfs(directory).map_err(|error| MailboxError::File {
        database: "inboxes",
        action: "ask for free space",
        source: error.into(),
    })?;
    Ok(disk.blocks_available().saturating_mul(disk.fragment_size()) >= FLOOR)
}
