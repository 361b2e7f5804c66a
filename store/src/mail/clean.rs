//! Gives space back: copies what is alive out of the segments in which least is, and makes spares of them, or removes them.
//!
//! *Promises*: the copies are on the medium before the index knows them, the index knows them before the segment goes, and the
//! segment's removal is on the medium before its dead messages count as away. Only a commit that needs the room waits for cleaning.
//!
//! Each segment that is full also gets its index here, away from the commits.

use std::{
    collections::BTreeMap,
    sync::{Arc, TryLockError, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use wire::address::ClientAddress;
use worker::counter::count;

use super::{
    Log,
    copy::{bytes_of, pieces},
    failed,
    index::State,
    millis,
    pace::{PIECE, Pace},
    segment::Slot,
    shelf::Shelf,
    victim::{Need, SegmentFacts, is_old},
};
use crate::{clock, mailbox::MailboxError};

/// Entries of the index that are read or changed before commits and readers have their turn.
const AT_ONCE: usize = 512;
/// A piece gives way to commits, but not for longer than this.
const GIVE_WAY: Duration = Duration::from_millis(50);
/// Without a call, the thread looks for something to do as often.
const LOOK: Duration = Duration::from_secs(1);

impl<S: Shelf> Log<S> {
    /// The work of the cleaning thread.
    pub(super) fn clean_up_for_ever(&self) {
        let mut pace = Pace::new(self.put_bytes.load(Ordering::Relaxed));
        while !self.chores.is_over() {
            self.chores.wait(LOOK);
            while !self.chores.is_over() {
                match self.clean_up(&mut pace) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => {
                        tracing::warn!(
                            id = "GWD-S034", %error,
                            "the mail log cannot be cleaned now; it is tried again"
                        );
                        break;
                    }
                }
            }
        }
    }

    /// Does what is most needed. Says whether there may be more.
    pub(super) fn clean_up(&self, pace: &mut Pace) -> Result<bool, MailboxError> {
        if let Some(slot) = self.next_to_seal() {
            // Without an index a start reads the segment from head to head.
            if let Err(error) = self.seal(slot) {
                tracing::warn!(id = "GWD-S035", %error, "an index of a segment of mail cannot be written");
            }
            return Ok(true);
        }
        let may_grow = self.may_grow().map_err(failed("ask for free space"))?;
        if self.spares.is_wanting() && may_grow {
            let spare = self.spares.make(&self.shelf, self.settings.segment).map_err(failed("make a segment"))?;
            self.spares.keep(spare);
            return Ok(true);
        }
        self.retire_old();
        let need = if self.spares.is_wanting() { Need::Room } else { Need::Order };
        match self.victim(need) {
            Some(slot) => self.clean(slot, need, pace),
            None => Ok(false),
        }
    }

    /// A segment that is open for long is closed, so that what was removed leaves the disk with it.
    fn retire_old(&self) {
        for appender in [&self.writer, &self.copier] {
            // A commit that is under way may be waiting for a segment that this thread has to clean.
            let mut appender = match appender.try_lock() {
                Ok(appender) => appender,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => continue,
            };
            let open = appender.slot();
            if open.is_some_and(|slot| self.index().segment(slot).is_some_and(is_old)) {
                self.are_full(appender.close().into_iter().collect());
            }
        }
    }

    /// Copies what is alive in a segment, and lets it go. Says whether it did.
    pub(super) fn clean(&self, victim: Slot, need: Need, pace: &mut Pace) -> Result<bool, MailboxError> {
        let found = {
            let index = self.index();
            let Some(segment) = index.segment(victim) else { return Ok(true) };
            (Arc::clone(&segment.file), segment.seal.clone(), segment.end)
        };
        let (file, seal, end) = found;
        let SegmentFacts { puts, gone, owners } =
            SegmentFacts::read(file.as_ref(), &seal, end).map_err(failed("read a segment"))?;
        let mut alive = Vec::new();
        for puts in puts.chunks(AT_ONCE) {
            let index = self.index();
            alive.extend(puts.iter().filter(|put| index.lives_at(put, victim)).map(|put| (victim, *put)));
        }
        let now = millis(clock::now());
        for piece in pieces(&alive, PIECE) {
            if !self.give_way(need, bytes_of(piece), pace) {
                return Ok(false);
            }
            self.copy(&mut self.lock_copier(), piece, now).map_err(failed("copy mail"))?;
        }
        if self.index().segment(victim).is_some_and(|segment| segment.messages > 0) {
            tracing::error!(
                id = "GWD-S036",
                "a segment of mail holds messages that cannot be read; it stays until they are set aside"
            );
            if let Some(segment) = self.index_mut().segment_mut(victim) {
                segment.state = State::Unreadable;
            }
            return Ok(true);
        }
        self.keep_gone(&gone, &owners, now)?;
        self.let_go(victim, owners)?;
        count(&self.counters.mail_segments_cleaned);
        Ok(true)
    }

    /// Waits for commits, and for the pace. Says whether to go on.
    pub(super) fn give_way(&self, need: Need, bytes: u64, pace: &mut Pace) -> bool {
        const LOOK: Duration = Duration::from_millis(1);
        let begin = Instant::now();
        while self.is_committing.load(Ordering::SeqCst) && begin.elapsed() < GIVE_WAY {
            thread::sleep(LOOK);
        }
        while need == Need::Order && !self.chores.is_over() {
            let wait = pace.wait(Instant::now(), self.put_bytes.load(Ordering::Relaxed), bytes);
            if wait.is_zero() || self.spares.is_wanting() {
                break;
            }
            thread::sleep(wait.min(GIVE_WAY));
        }
        !self.chores.is_over()
    }

    /// Makes a spare of a segment of which nothing is needed, or removes it.
    fn let_go(&self, victim: Slot, owners: BTreeMap<ClientAddress, u32>) -> Result<(), MailboxError> {
        let Some(segment) = self.index_mut().take_segment(victim) else { return Ok(()) };
        // A file that has failed once is not used again.
        let is_good = matches!(segment.state, State::Closed | State::Doubtful);
        if is_good && self.spares.is_wanting() && segment.len == self.settings.segment {
            let spare = self.spares.make_of(&self.shelf, segment.number, segment.file, segment.len);
            self.spares.keep(spare.map_err(failed("use a segment again"))?);
        } else {
            self.shelf.remove(&segment.number.name()).map_err(failed("remove a segment"))?;
            self.shelf.sync_names().map_err(failed("sync"))?;
        }
        for owners in owners.into_iter().collect::<Vec<_>>().chunks(AT_ONCE) {
            let mut index = self.index_mut();
            for (client, messages) in owners {
                index.dead_are_away(client, *messages);
            }
        }
        let mut index = self.index_mut();
        for client in segment.unproved {
            index.dead_are_away(&client, 1);
        }
        Ok(())
    }
}
