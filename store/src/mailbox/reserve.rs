//! Room on the disk: new mail is refused before the disk is full, and a file held in reserve lets what was stored be fetched
//! and removed even when others have filled it.

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::atomic::{AtomicBool, Ordering},
};

use nix::{
    fcntl::{FallocateFlags, OFlag, fallocate, openat},
    sys::stat::Mode,
    unistd::{UnlinkatFlags, unlinkat},
};

/// Name of the file in the inbox directory. No client's folder can have it: it is no address.
const NAME: &str = "reserve";
/// Bytes held in reserve.
const RESERVE: u64 = 16 * 1024 * 1024;
/// Free bytes below which nothing new is written: more than the largest commit, which holds a whole window of deliveries.
const FLOOR: u64 = 48 * 1024 * 1024;
/// Bytes in the files that hold nothing, from which on these files will not grow: more than the largest commit, by far.
const ENOUGH: u64 = 64 * 1024 * 1024;
/// Free bytes below which nothing new is written, even if the files will not grow: a few segments, should they grow after all.
const LAST: u64 = 8 * 1024 * 1024;

/// The reserve in one directory.
#[derive(Debug, Default)]
pub(super) struct Reserve {
    held: AtomicBool,
}

impl Reserve {
    /// Makes the reserve, unless it is there.
    pub(super) fn keep(&self, directory: &OwnedFd) {
        if self.held.load(Ordering::Relaxed) {
            return;
        }
        let flags = OFlag::O_CREAT | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let made = openat(directory, NAME, flags, Mode::S_IRUSR | Mode::S_IWUSR)
            .and_then(|file| fallocate(file, FallocateFlags::empty(), 0, RESERVE.cast_signed()));
        match made {
            Ok(()) => self.held.store(true, Ordering::Relaxed),
            Err(error) => {
                tracing::warn!(%error, "cannot hold space in reserve; should the disk fill up, stored mail may be out of reach");
            }
        }
    }

    /// Gives the reserve back to the disk.
    pub(super) fn release(&self, directory: &OwnedFd) {
        self.held.store(false, Ordering::Relaxed);
        // If it is not there, there is nothing to give.
        let _ = unlinkat(directory.as_fd(), NAME, UnlinkatFlags::NoRemoveDir);
    }

    /// Free bytes below which nothing new is written: there must be room for the reserve, too.
    pub(super) fn floor(&self) -> u64 {
        if self.held.load(Ordering::Relaxed) { FLOOR } else { FLOOR + RESERVE }
    }
}

/// What decides whether there is room.
#[derive(Clone, Copy, Debug)]
pub(super) struct Space {
    /// Bytes of the databases' files.
    pub(super) used: u64,
    /// What they may have.
    pub(super) limit: u64,
    /// Bytes of these files that will be written anew before the files grow.
    pub(super) spare: u64,
    /// Bytes free on the disk.
    pub(super) free: u64,
    /// What must stay free while the files grow.
    pub(super) floor: u64,
}

/// Whether something new may be written: the files may grow and can, or they will not grow.
pub(super) const fn is_room(space: Space) -> bool {
    (space.used < space.limit && space.free >= space.floor) || (space.spare >= ENOUGH && space.free >= LAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_may_grow_where_there_is_room_and_what_holds_nothing_is_used_again() {
        const MIB: u64 = 1 << 20;
        let is_room = |used, spare, free| {
            let [used, spare, free] = [used, spare, free].map(|mib| mib * MIB);
            is_room(Space { used, limit: 100 * MIB, spare, free, floor: FLOOR })
        };
        assert!(is_room(99, 0, 48));
        assert!(!is_room(100, 0, 1_000), "the limit is reached");
        assert!(!is_room(10, 0, 47), "the disk is nearly full");
        assert!(is_room(100, 64, 1_000), "most of the files holds nothing");
        assert!(is_room(100, 64, 8));
        assert!(!is_room(100, 63, 1_000));
        assert!(!is_room(100, 100, 7), "the disk is full");
    }
}
