//! Segments that are ready to be written: made, allocated and synced before a commit waits for them.
//!
//! One is held for commits and one for copies, and neither takes the other's: commits cannot use up what cleaning needs to make
//! room for them. What is cleaned becomes a spare, so that this goes on while others have filled the disk.

use std::{
    io,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{
    segment::{BLOCK, SegmentNumber, Stream},
    shelf::{SegmentFile, Shelf},
};

/// A file of zeros, or of what is not valid under its name.
#[derive(Debug)]
pub(super) struct Spare<F> {
    pub(super) number: SegmentNumber,
    pub(super) file: F,
    /// Bytes of the file.
    pub(super) len: u64,
}

/// The spares, and the numbers of segments to come.
#[derive(Debug)]
pub(super) struct Spares<S: Shelf> {
    held: Mutex<Held<S::File>>,
    /// A spare was put in, or is missing.
    changed: Condvar,
}

#[derive(Debug)]
struct Held<F> {
    commits: Option<Spare<F>>,
    copies: Option<Spare<F>>,
    next_number: u64,
}

/// Extension of a file that is on its way to be a spare. At a start it is removed.
pub(super) const UNREADY: &str = ".spare";

impl<S: Shelf> Spares<S> {
    /// None is held; later segments have numbers from `next_number` on.
    pub(super) const fn beginning_at(next_number: u64) -> Self {
        Self { held: Mutex::new(Held { commits: None, copies: None, next_number }), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Held<S::File>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The spare for this stream, if there is one.
    pub(super) fn take(&self, stream: Stream) -> Option<Spare<S::File>> {
        let mut held = self.lock();
        match stream {
            Stream::Commits => held.commits.take(),
            Stream::Copies => held.copies.take(),
        }
    }

    /// The same, after a time if need be.
    pub(super) fn wait_for(&self, stream: Stream, limit: Duration) -> Option<Spare<S::File>> {
        let end = Instant::now() + limit;
        let mut held = self.lock();
        loop {
            let spare = match stream {
                Stream::Commits => held.commits.take(),
                Stream::Copies => held.copies.take(),
            };
            let left = end.saturating_duration_since(Instant::now());
            if spare.is_some() || left.is_zero() {
                return spare;
            }
            held = self.changed.wait_timeout(held, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whether there is a spare for this stream.
    pub(super) fn has(&self, stream: Stream) -> bool {
        let held = self.lock();
        match stream {
            Stream::Commits => held.commits.is_some(),
            Stream::Copies => held.copies.is_some(),
        }
    }

    /// How many are held, from 0 to 2.
    pub(super) fn count(&self) -> u64 {
        let held = self.lock();
        u64::from(held.commits.is_some()) + u64::from(held.copies.is_some())
    }

    /// Whether one more is wanted.
    pub(super) fn is_wanting(&self) -> bool {
        self.count() < 2
    }

    /// Keeps a spare, for copies first, because copies make room for everything else. One must be wanted: only a start and, after it, the
    /// thread that cleans call this, so none comes in between.
    pub(super) fn keep(&self, spare: Spare<S::File>) {
        let mut held = self.lock();
        let place = if held.copies.is_none() { &mut held.copies } else { &mut held.commits };
        *place = Some(spare);
        self.changed.notify_all();
    }

    fn next_number(&self) -> SegmentNumber {
        let mut held = self.lock();
        held.next_number += 1;
        SegmentNumber(held.next_number - 1)
    }

    /// Makes a file. Its name is on the medium, too, when this returns.
    pub(super) fn make(&self, shelf: &S, len: u64) -> io::Result<Spare<S::File>> {
        let number = self.next_number();
        let file = shelf.make(&number.name(), len)?;
        shelf.sync_names().inspect_err(|_| {
            // The file would lie unused until the next start.
            let _ = shelf.remove(&number.name());
        })?;
        Ok(Spare { number, file, len })
    }

    /// Makes a spare of a segment of which nothing is needed. From the first step on its facts count as absent, and by the last it
    /// is what [`make`](Self::make) makes.
    pub(super) fn make_of(&self, shelf: &S, old: SegmentNumber, file: F<S>, len: u64) -> io::Result<Spare<S::File>> {
        let number = self.next_number();
        let unready = format!("{:016x}{UNREADY}", number.0);
        shelf.rename(&old.name(), &unready)?;
        shelf.sync_names()?;
        drop(file);
        let file = shelf.open(&unready)?;
        file.write_at(&[0; BLOCK as usize], 0)?;
        file.sync()?;
        shelf.rename(&unready, &number.name())?;
        shelf.sync_names()?;
        Ok(Spare { number, file, len })
    }
}

/// A handle of the file that becomes a spare; readers may have others.
type F<S> = std::sync::Arc<<S as Shelf>::File>;
