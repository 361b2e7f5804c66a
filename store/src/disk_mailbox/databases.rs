//! One sled database in a directory that the supervisor has opened, and what "committed" means for it.
//!
//! sled's own flush ends in `sync_file_range`, which does not reach the medium. A commit here is: apply, flush, and
//! `fdatasync` of the file `db`. Every message stays in `db`, because the segments are large enough that no leaf full
//! of the largest messages turns into a blob file, which sled never syncs.
//!
//! The directory is named by its descriptor (`/proc/self/fd/N`): the path to it may lead through folders that this
//! process may not enter.

use std::{
    fs::{File, TryLockError},
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    panic::{self, AssertUnwindSafe},
    time::{Duration, Instant},
};

use nix::{
    dir::Dir,
    fcntl::OFlag,
    sys::stat::Mode,
    unistd::{UnlinkatFlags, unlinkat},
};

use super::{layout_file, medium::Medium};
use crate::{mailbox::MailboxError, plain_file};

/// A killed process holds its files until its last write has returned.
const LAST_BREATH: Duration = Duration::from_secs(5);

/// An open database. Its trees must be dropped before it: the last handle of sled writes.
#[derive(Debug)]
pub(super) struct Database {
    name: &'static str,
    db: sled::Db,
    /// Dropped after all other handles.
    _last: LastHandle,
    /// Keeps `/proc/self/fd/N` valid, and outlives sled.
    medium: Medium,
}

/// The last handle of a database. When it goes, sled syncs once more, and panics if that fails; nothing rests on that sync.
#[derive(Debug)]
struct LastHandle(Option<sled::Db>);

impl Drop for LastHandle {
    fn drop(&mut self) {
        let handle = self.0.take();
        if panic::catch_unwind(AssertUnwindSafe(move || drop(handle))).is_err() {
            tracing::debug!("a database could not be synced when it was closed");
        }
    }
}

/// How a database is laid out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// For errors and logs: `ledger` or `inboxes`.
    pub(super) name: &'static str,
    /// Bytes of one segment; fixed when a database is made.
    pub(super) segment_size: usize,
    /// Bytes of memory for pages.
    pub(super) cache: u64,
}

impl Database {
    /// Opens the database, or makes it.
    pub(super) fn open(directory: OwnedFd, layout: Layout) -> Result<Self, MailboxError> {
        let name = layout.name;
        let failed = |action| move |source: io::Error| MailboxError::File { database: name, action, source };
        let file = open_once_free(&directory).map_err(failed("open the file `db`"))?;
        remove_unfinished_snapshots(&directory).map_err(failed("remove an unfinished snapshot"))?;
        layout_file::remove_torn(&directory).map_err(failed("look at the file `conf`"))?;
        let (medium, written) = Medium::take_up(file, directory).map_err(failed("rewrite the file `db`"))?;
        if let Some(bytes) = written {
            tracing::warn!(id = "GWD-S016", database = name, bytes, "rewritten, because a sync had failed");
        }
        let db = sled::Config::new()
            .path(format!("/proc/self/fd/{}", medium.directory().as_raw_fd()))
            .segment_size(layout.segment_size)
            .cache_capacity(layout.cache)
            .mode(sled::Mode::HighThroughput)
            .flush_every_ms(None)
            .open()
            .map_err(|source| MailboxError::of_sled(name, source))?;
        let database = Self { name, _last: LastHandle(Some(db.clone())), db, medium };
        // The files must be found after a crash, too, not only be whole.
        database.commit()?;
        layout_file::sync(database.medium.directory()).map_err(failed("sync the file `conf`"))?;
        nix::unistd::fsync(database.medium.directory()).map_err(io::Error::from).map_err(failed("fsync"))?;
        Ok(database)
    }

    /// Returns when everything applied so far is on the medium.
    pub(super) fn commit(&self) -> Result<(), MailboxError> {
        self.db.flush().map_err(|source| self.error(source))?;
        let synced = self.medium.sync();
        // What sled has replaced it leaves to a collector that takes it from each thread in bags of 64, pages and log buffers
        // of a whole segment alike. This thread may have no more to do for a while, so its bag goes now.
        crossbeam_epoch::pin().flush();
        synced.map_err(|source| MailboxError::File { database: self.name, action: "fdatasync", source })
    }

    /// Bytes of the database's file.
    pub(super) fn len(&self) -> Result<u64, MailboxError> {
        let failed = |source| MailboxError::File { database: self.name, action: "look at the file `db`", source };
        self.medium.len().map_err(failed)
    }

    pub(super) fn error(&self, source: sled::Error) -> MailboxError {
        MailboxError::of_sled(self.name, source)
    }

    pub(super) fn default_tree(&self) -> &sled::Tree {
        &self.db
    }

    pub(super) fn file_error(&self, action: &'static str, source: io::Error) -> MailboxError {
        MailboxError::File { database: self.name, action, source }
    }

    /// The names of all trees, that of the default one too.
    pub(super) fn tree_names(&self) -> Vec<sled::IVec> {
        self.db.tree_names()
    }

    /// The tree of this name, as [`tree_names`](Self::tree_names) has it.
    pub(super) fn tree_of(&self, name: &[u8]) -> Result<sled::Tree, MailboxError> {
        self.db.open_tree(name).map_err(|source| self.error(source))
    }

    pub(super) fn has_tree(&self, name: &str) -> bool {
        self.db.tree_names().iter().any(|tree| tree.as_ref() == name.as_bytes())
    }

    /// Removes a tree and all that is in it.
    pub(super) fn drop_tree(&self, name: &str) -> Result<(), MailboxError> {
        self.db.drop_tree(name).map(drop).map_err(|source| self.error(source))
    }

    pub(super) fn tree(&self, name: &str) -> Result<sled::Tree, MailboxError> {
        self.db.open_tree(name).map_err(|source| self.error(source))
    }
}

/// Waits until no other process has the file locked. sled gives up at once if a killed gateway's store still holds the lock. If the lock
/// is held for longer, sled reports it.
pub(super) fn open_once_free(directory: &OwnedFd) -> io::Result<File> {
    const LOOK: Duration = Duration::from_millis(10);
    let file = plain_file::open(directory, "db", OFlag::O_CREAT | OFlag::O_RDWR)?;
    let end = Instant::now() + LAST_BREATH;
    while matches!(file.try_lock(), Err(TryLockError::WouldBlock)) && Instant::now() < end {
        std::thread::sleep(LOOK);
    }
    file.unlock()?;
    Ok(file)
}

/// sled takes what a crash left of a snapshot for corruption.
fn remove_unfinished_snapshots(directory: &OwnedFd) -> io::Result<()> {
    let mut listing =
        Dir::openat(directory, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    for entry in listing.iter() {
        let entry = entry?;
        if entry.file_name().to_bytes().ends_with(b".generating") {
            unlinkat(directory.as_fd(), entry.file_name(), UnlinkatFlags::NoRemoveDir)?;
        }
    }
    Ok(())
}
