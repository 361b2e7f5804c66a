//! One sled database in a directory that was opened for us, and what "committed" means for it.
//!
//! sled's own flush ends in `sync_file_range`, which does not reach the medium. A commit here is: apply, flush, and
//! `fdatasync` of the file `db`. Every message stays in `db`, because the segments are large enough that no leaf full
//! of the largest messages turns into a blob file, which sled never syncs.
//!
//! The directory is named by its descriptor (`/proc/self/fd/N`): the path to it may lead through folders that this
//! process may not enter.

use std::{
    fs::{File, TryLockError},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    time::{Duration, Instant},
};

use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::{OFlag, openat},
    sys::stat::Mode,
    unistd::{UnlinkatFlags, unlinkat},
};

use super::MailboxError;

/// A process that was killed lets go of its files when its last write has returned.
const LAST_BREATH: Duration = Duration::from_secs(5);

/// An open database.
#[derive(Debug)]
pub(super) struct Database {
    name: &'static str,
    db: sled::Db,
    file: File,
    /// Keeps `/proc/self/fd/N` valid.
    _directory: OwnedFd,
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
        let file_error =
            |action| move |error: nix::Error| MailboxError::File { database: name, action, source: error.into() };
        wait_for_predecessor(&directory).map_err(file_error("open the file `db`"))?;
        remove_unfinished_snapshots(&directory).map_err(file_error("remove an unfinished snapshot"))?;
        let db = sled::Config::new()
            .path(format!("/proc/self/fd/{}", directory.as_raw_fd()))
            .segment_size(layout.segment_size)
            .cache_capacity(layout.cache)
            .mode(sled::Mode::HighThroughput)
            .flush_every_ms(None)
            .open()
            .map_err(|source| MailboxError::of_sled(name, source))?;
        let file = openat(&directory, "db", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(file_error("open the file `db`"))?;
        let database = Self { name, db, file: File::from(file), _directory: directory };
        // The file must be found after a crash, too, not only be whole.
        database.commit()?;
        nix::unistd::fsync(&database._directory).map_err(file_error("fsync"))?;
        Ok(database)
    }

    /// Returns when everything applied so far is on the medium.
    pub(super) fn commit(&self) -> Result<(), MailboxError> {
        self.db.flush().map_err(|source| self.error(source))?;
        let synced = self.file.sync_data();
        // What sled has replaced it leaves to a collector that takes it from each thread in bags of 64, pages and log buffers
        // of a whole segment alike. This thread may have no more to do for a while, so its bag goes now.
        crossbeam_epoch::pin().flush();
        synced.map_err(|source| MailboxError::File { database: self.name, action: "fdatasync", source })
    }

    /// Bytes of the database's file.
    pub(super) fn len(&self) -> Result<u64, MailboxError> {
        let metadata = self.file.metadata();
        let failed = |source| MailboxError::File { database: self.name, action: "look at the file `db`", source };
        Ok(metadata.map_err(failed)?.len())
    }

    pub(super) fn error(&self, source: sled::Error) -> MailboxError {
        MailboxError::of_sled(self.name, source)
    }

    pub(super) fn default_tree(&self) -> &sled::Tree {
        &self.db
    }

    pub(super) fn tree(&self, name: &str) -> Result<sled::Tree, MailboxError> {
        self.db.open_tree(name).map_err(|source| self.error(source))
    }
}

/// sled locks its file, and gives up at once if somebody else has: a killed gateway's store, which is not quite dead. One that
/// lives on is left to sled, which says so.
fn wait_for_predecessor(directory: &OwnedFd) -> nix::Result<()> {
    const LOOK: Duration = Duration::from_millis(10);
    let file = match openat(directory, "db", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::ENOENT) => return Ok(()),
        Err(error) => return Err(error),
    };
    let end = Instant::now() + LAST_BREATH;
    while matches!(file.try_lock(), Err(TryLockError::WouldBlock)) && Instant::now() < end {
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// sled takes what a crash left of a snapshot for corruption.
fn remove_unfinished_snapshots(directory: &OwnedFd) -> nix::Result<()> {
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
