//! Room on the disk: new mail is refused before the disk is full, and a file held in reserve lets what was stored be fetched
//! and removed even when others have filled it.

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::atomic::{AtomicBool, Ordering},
};

use nix::{
    fcntl::{FallocateFlags, OFlag, fallocate},
    unistd::{UnlinkatFlags, unlinkat},
};

use crate::plain_file;

/// Name of the file in the inbox directory. No client's folder can have it: it is no address.
const NAME: &str = "reserve";
/// Bytes held in reserve in the directory of the inboxes, and in that of the ledger.
pub(super) const FOR_INBOXES: u64 = 16 * 1024 * 1024;
pub(super) const FOR_LEDGER: u64 = 8 * 1024 * 1024;
/// Free bytes below which nothing new is written: more than the largest commit, which holds a whole window of deliveries.
pub(super) const FLOOR: u64 = 48 * 1024 * 1024;

/// The reserve in one directory.
#[derive(Debug)]
pub(super) struct Reserve {
    bytes: u64,
    held: AtomicBool,
}

impl Reserve {
    /// So many bytes, which are not held yet.
    pub(super) const fn of(bytes: u64) -> Self {
        Self { bytes, held: AtomicBool::new(false) }
    }

    /// Makes the reserve, unless it is there.
    pub(super) fn keep(&self, directory: &OwnedFd) {
        if self.held.load(Ordering::Relaxed) {
            return;
        }
        // `plain_file` refuses a link, through which another file would grow.
        let made = plain_file::open(directory, NAME, OFlag::O_CREAT | OFlag::O_WRONLY)
            .and_then(|file| Ok(fallocate(file, FallocateFlags::empty(), 0, self.bytes.cast_signed())?));
        match made {
            Ok(()) => self.held.store(true, Ordering::Relaxed),
            Err(error) => {
                tracing::warn!(
                    id = "GWD-S028", %error,
                    "cannot hold space in reserve; should the disk fill up, stored mail may be out of reach"
                );
            }
        }
    }

    /// Gives the reserve back to the disk.
    pub(super) fn release(&self, directory: &OwnedFd) {
        self.held.store(false, Ordering::Relaxed);
        // Without a file there is nothing to give back.
        let _ = unlinkat(directory.as_fd(), NAME, UnlinkatFlags::NoRemoveDir);
    }

    /// Bytes that must stay free for it to be held again.
    pub(super) fn missing(&self) -> u64 {
        if self.held.load(Ordering::Relaxed) { 0 } else { self.bytes }
    }
}
