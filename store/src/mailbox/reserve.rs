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

use super::{Lack, plain_file};

/// Name of the file in the inbox directory. No client's folder can have it: it is no address.
const NAME: &str = "reserve";
/// Bytes held in reserve in the directory of the inboxes, and in that of the ledger.
pub(super) const FOR_INBOXES: u64 = 16 * 1024 * 1024;
pub(super) const FOR_LEDGER: u64 = 8 * 1024 * 1024;
/// Free bytes below which nothing new is written: more than the largest commit, which holds a whole window of deliveries.
pub(super) const FLOOR: u64 = 48 * 1024 * 1024;
/// Bytes in the files that hold nothing, from which on new mail is written there: more than the largest commit, by far.
const ENOUGH: u64 = 64 * 1024 * 1024;
/// Bytes of the files that one live byte takes, as a fraction: sled writes a segment anew when half of it is dead, and part of
/// what it calls alive are removed records in pages that it has not yet written anew.
const BYTES_TAKEN: (u64, u64) = (5, 2);
/// The part of the limit up to which the files grow for every new message. Behind it they take no more mail than fits below it,
/// and may grow nevertheless: clients that fetch and clients that do not leave holes of all sizes. Measured over 120 rounds of
/// that, files that are full at 200 MiB end up at 316 (commits of 600 messages of 32 KB) to 492 MiB (commits of 8).
const GROWTH: (u64, u64) = (2, 5);
/// Free bytes below which nothing new is written, even if the files will not grow: a few segments, should they grow after all.
const LAST: u64 = 8 * 1024 * 1024;

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
        // A link of that name would have another file grow.
        let made = plain_file::open(directory, NAME, OFlag::O_CREAT | OFlag::O_WRONLY)
            .and_then(|file| Ok(fallocate(file, FallocateFlags::empty(), 0, self.bytes.cast_signed())?));
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

    /// Bytes that must stay free for it to be held again.
    pub(super) fn missing(&self) -> u64 {
        if self.held.load(Ordering::Relaxed) { 0 } else { self.bytes }
    }
}

/// What decides whether there is room.
#[derive(Clone, Copy, Debug)]
pub(super) struct Space {
    /// Bytes of the databases' files.
    pub(super) used: u64,
    /// What they may have.
    pub(super) limit: u64,
    /// Bytes of them that hold mail.
    pub(super) live: u64,
    /// Bytes free on the disk.
    pub(super) free: u64,
    /// What must stay free while the files grow.
    pub(super) floor: u64,
}

/// What keeps something new from being written. It may be if the files may grow and can, or there is enough in them that holds
/// nothing.
///
/// What they have grown to beyond their part of the limit does not count as such: more mail would make them grow more.
pub(super) const fn lack(space: Space) -> Option<Lack> {
    let growth = space.limit / GROWTH.1 * GROWTH.0;
    let filled = if space.used < growth { space.used } else { growth };
    let spare = filled.saturating_sub(space.live.saturating_mul(BYTES_TAKEN.0) / BYTES_TAKEN.1);
    let enough = if growth / 2 < ENOUGH { growth / 2 } else { ENOUGH };
    let (may_grow, has_spare) = (space.used < growth, spare > enough);
    if (may_grow && space.free >= space.floor) || (has_spare && space.free >= LAST) {
        None
    } else if may_grow || has_spare {
        Some(Lack::Disk { free: space.free, floor: if has_spare { LAST } else { space.floor } })
    } else {
        Some(Lack::Mail { used: space.used, most: growth })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_may_grow_where_there_is_room_and_what_holds_nothing_is_used_again() {
        const MIB: u64 = 1 << 20;
        let is_room = |used, live, free| {
            let [used, live, free] = [used, live, free].map(|mib| mib * MIB);
            lack(Space { used, limit: 500 * MIB, live, free, floor: FLOOR }).is_none()
        };
        assert!(is_room(199, 199, 48));
        assert!(!is_room(200, 199, 1_000), "their part of the limit is reached");
        assert!(!is_room(10, 9, 47), "the disk is nearly full");
        assert!(is_room(200, 54, 1_000), "most of the files holds nothing");
        assert!(is_room(200, 54, 8));
        assert!(!is_room(200, 55, 1_000));
        assert!(is_room(400, 54, 1_000));
        assert!(!is_room(400, 55, 1_000), "files that have grown for nothing do not make room");
        assert!(!is_room(200, 0, 7), "the disk is full");
    }

    #[test]
    fn a_small_limit_lets_mail_in_again_too() {
        let is_room = |used, live| lack(Space { used, limit: 100, live, free: u64::MAX, floor: 0 }).is_none();
        assert!(is_room(39, 39));
        assert!(!is_room(40, 8));
        assert!(is_room(40, 7));
    }

    #[test]
    fn what_is_full_is_named_with_numbers() {
        const MIB: u64 = 1 << 20;
        let said = |used, live, free| {
            let [used, live, free] = [used, live, free].map(|mib| mib * MIB);
            lack(Space { used, limit: 500 * MIB, live, free, floor: FLOOR }).unwrap().to_string()
        };
        let text = said(10, 9, 47);
        assert!(text.contains("47 MiB are free") && text.contains("below 48 MiB"), "{text}");
        let text = said(201, 200, 1_000);
        assert!(text.contains("take 201 MiB") && text.contains("200 MiB of `data_bytes`"), "{text}");
        assert!(said(200, 0, 7).contains("below 8 MiB"));
    }
}
