//! The mail log: messages in append-only segments, and an index of them in memory.
//!
//! *Holds*: the directory of the segments, which is locked.
//!
//! *Promises*: what [`MailLog::commit`] took is on the medium when it returns `Ok`; nothing that was is lost by a process that is
//! killed at any instant, by a failed write or sync, or by cleaning. A batch that was not taken may be on the medium in part.
//!
//! The files hold a **set of facts**, and their order means nothing: "message n of an inbox is this body", "the messages of an
//! inbox from a to b are gone". A message is alive if a fact of the first kind names it and none of the second kind covers it. So a
//! copy of an old message cannot come before a newer one, copies need no order against removals, and a fact that is found twice is
//! harmless. Four rules keep the set true:
//!
//! 1. The numbers of an inbox rise: one below `next` is refused.
//! 2. A number is spent when it is first written, whether the write succeeds or not: otherwise two bodies could have one number.
//! 3. A fact that says "gone" is dropped only when no file holds a message that it covers. Each inbox counts those of its
//!    messages in files that are dead.
//! 4. A file counts as absent only when its directory was synced after its removal; at every open that comes first.
//!
//! Locks, in the order in which they may be taken: first `writer` (by a commit) or `copier` (by the cleaning thread, and at a start),
//! never one while the other is held; then one of `index`, the spares, `to_seal` and the chores. No other lock is taken while one of
//! these four is held. So no thread locks the index twice, not even to read: a writer that waits for it lets no reader pass. No file
//! is read or written while the index is locked. A commit may wait for a spare while it holds `writer`, and only cleaning makes spares:
//! so the cleaning thread only tries to take `writer`, and never waits for it.
//!
//! | file | does |
//! |---|---|
//! | `entry`, `frame`, `segment` | the format: a fact, what one write puts down, a file |
//! | `shelf` | what is asked of the file system |
//! | `message`, `inbox`, `index` | what is known in memory |
//! | `spares`, `append` | writing: the segments to come, the one that is open |
//! | `commit`, `read`, `aside` | what the core asks for |
//! | `export`, `take_over` | mail that leaves in a backup, and mail that comes from elsewhere |
//! | `identify`, `scan`, `findings`, `recover` | what a start finds |
//! | `chores`, `clean`, `victim`, `pace`, `copy`, `seal` | giving space back: when, from which segment, how fast, and what is kept |
//! | `capacity` | how much the log may hold |

mod append;
mod aside;
mod capacity;
mod chores;
mod clean;
mod commit;
mod copy;
mod entry;
mod export;
mod findings;
#[cfg(feature = "found-records")]
pub(crate) mod found;
mod frame;
mod identify;
mod inbox;
mod index;
mod message;
mod pace;
mod read;
mod recover;
mod scan;
mod seal;
mod segment;
pub(crate) mod shelf;
#[cfg(test)]
mod simulated;
mod spares;
mod take_over;
#[cfg(test)]
mod tests;
mod victim;

use std::{
    io,
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use append::Appender;
use chores::Chores;
use index::Index;
use segment::{Slot, Stream};
pub(crate) use shelf::Shelf;
use shelf::directory::Directory;
use spares::{Spare, Spares};

pub(crate) use take_over::TakenOver;

use crate::{counters::StoreCounters, mailbox::MailboxError};

/// Sizes and waits of the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Bytes of a segment.
    pub(crate) segment: u64,
    /// Bytes of all segments at the most.
    pub(crate) most: u64,
    /// Bytes that must stay free on the disk.
    pub(crate) floor: u64,
    /// How long a commit waits for cleaning to make room.
    pub(crate) cleaning_wait: Duration,
}

/// The log, and the thread that cleans it.
#[derive(Debug)]
pub(crate) struct MailLog<S: Shelf = Directory> {
    log: Arc<Log<S>>,
    cleaner: Option<JoinHandle<()>>,
}

/// The log on any shelf.
#[derive(Debug)]
struct Log<S: Shelf> {
    shelf: S,
    settings: Settings,
    index: RwLock<Index<S::File>>,
    writer: Mutex<Appender<S>>,
    /// Writes what cleaning keeps.
    copier: Mutex<Appender<S>>,
    spares: Spares<S>,
    /// Segments that are full and have no index yet.
    to_seal: Mutex<Vec<Slot>>,
    /// A commit is under way, or waits to begin.
    is_committing: AtomicBool,
    /// Bytes of messages put since the start.
    put_bytes: AtomicU64,
    /// Bytes that might be alive, when free space was last asked for.
    capacity: AtomicU64,
    counters: Arc<StoreCounters>,
    chores: Chores,
    /// The last process did not end in order, or something is damaged: there may be more messages than were found.
    was_unclean: bool,
}

impl MailLog {
    /// Opens the log in this directory, and rewrites what may not be on the medium. Nothing is cleaned before
    /// [`begin_cleaning`](Self::begin_cleaning).
    ///
    /// # Errors
    /// If it cannot be read, or what is in doubt cannot be rewritten.
    pub(crate) fn open(
        directory: OwnedFd,
        settings: Settings,
        counters: Arc<StoreCounters>,
        now: Duration,
    ) -> Result<Self, MailboxError> {
        let shelf = Directory::take(directory).map_err(failed("lock it"))?;
        Self::on(shelf, settings, counters, now)
    }

    /// Starts the thread that seals and cleans.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(crate) fn begin_cleaning(&mut self) -> Result<(), MailboxError> {
        let log = Arc::clone(&self.log);
        let thread = std::thread::Builder::new().name("mail-cleaner".to_owned()).spawn(move || log.clean_up_for_ever());
        self.cleaner = Some(thread.map_err(failed("start the thread that cleans it"))?);
        Ok(())
    }
}

impl<S: Shelf> MailLog<S> {
    /// Opens the log on this shelf.
    pub(crate) fn on(
        shelf: S,
        settings: Settings,
        counters: Arc<StoreCounters>,
        now: Duration,
    ) -> Result<Self, MailboxError> {
        Ok(Self { log: Arc::new(Log::open(shelf, settings, counters, millis(now))?), cleaner: None })
    }

    /// As [`Log::leap`].
    pub(crate) fn leap(&self) {
        self.log.leap();
    }
}

impl<S: Shelf> Drop for MailLog<S> {
    fn drop(&mut self) {
        self.log.chores.end();
        if let Some(cleaner) = self.cleaner.take() {
            // The next start finds what the thread did not finish.
            let _ = cleaner.join();
        }
        self.log.close();
    }
}

impl<S: Shelf> Log<S> {
    fn index(&self) -> RwLockReadGuard<'_, Index<S::File>> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn index_mut(&self) -> RwLockWriteGuard<'_, Index<S::File>> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has every inbox go on at a later number, if the last process did not end in order. A message that cannot be seen now may be seen
    /// at a later start, and its number must not have been used again.
    fn leap(&self) {
        if self.was_unclean {
            self.index_mut().leap(recover::LEAP);
        }
    }

    /// A segment for this stream: the spare that is held for it, or a new one, or, for a commit, one that cleaning gives back in time.
    ///
    /// Copies and removals make room, so they get a segment beyond the limit, too: little of it stays.
    fn spare(&self, stream: Stream, makes_room: bool) -> io::Result<Spare<S::File>> {
        if !self.index().has_place() {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "there are too many segments of mail"));
        }
        if let Some(spare) = self.spares.take(stream) {
            self.chores.call();
            return Ok(spare);
        }
        if makes_room || self.files() + self.settings.segment <= self.settings.most {
            match self.spares.make(&self.shelf, self.settings.segment) {
                Err(error) if stream == Stream::Commits && append::is_full(&error) => {}
                outcome => return outcome,
            }
        }
        self.chores.call();
        let full = || io::Error::new(io::ErrorKind::StorageFull, "there is no room for a new segment of mail");
        self.spares.wait_for(stream, self.settings.cleaning_wait).ok_or_else(full)
    }
}

/// The error for a failure of the directory.
fn failed(action: &'static str) -> impl Fn(io::Error) -> MailboxError {
    move |source| MailboxError::File { database: "mail", action, source }
}

/// Unix milliseconds.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Raises the flag until it is dropped.
struct Raised<'a>(&'a AtomicBool);

impl<'a> Raised<'a> {
    fn new(flag: &'a AtomicBool) -> Self {
        flag.store(true, Ordering::SeqCst);
        Self(flag)
    }
}

impl Drop for Raised<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}
