//! Gives space back: copies what is alive out of the segments in which least is, and makes spares of them, or removes them.
//!
//! *Promises*: the copies are on the medium before the index knows them, the index knows them before the segment goes, and the
//! segment's removal is on the medium before its dead messages count as away. Nothing waits for this but who needs the room.
//!
//! Each segment that is full also gets its index here, away from the commits.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, MutexGuard, PoisonError, TryLockError, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use proto::{address::ClientAddress, counter::count};

use super::{
    Log,
    append::{Appender, Item},
    entry::{Fact, Gone, Put},
    failed,
    frame::{FrameBuffer, FrameHeader, Kind},
    inbox::weight,
    index::{GONE_WEIGHT, Index, Segment, Slot, State},
    millis,
    read::read_body,
    scan,
    segment::{BLOCK, TRAILER, Trailer},
    shelf::{SegmentFile, Shelf},
};
use crate::{clock, mailbox::MailboxError};

/// Bytes of messages that are copied at once, and synced: a large write would slow the commits' syncs.
const PIECE: u64 = 1024 * 1024;
/// Bytes copied in a second at the least, if there are as many.
const RATE: u64 = 4 * 1024 * 1024;
/// A piece gives way to commits, but not for longer than this.
const GIVE_WAY: Duration = Duration::from_millis(50);
/// Without a call, the thread looks for something to do as often.
const LOOK: Duration = Duration::from_secs(1);
/// Files are cleaned when they are larger than what is alive by this, and by a segment.
const DEAD_WEIGHT: (u64, u64) = (31, 20);
/// What was removed leaves the disk in this time.
const STAYS: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Why a segment is cleaned, in order of urgency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// There is no room for another segment.
    Room,
    /// It is not to be relied on, or nothing in it is alive, or too much of all files is dead, or it is old.
    Order,
}

impl<S: Shelf> Log<S> {
    /// What the thread does that cleans.
    pub(super) fn clean_up_for_ever(&self) {
        let mut pace = Pace::new(self.put_bytes.load(Ordering::Relaxed));
        while !self.chores.is_over() {
            self.chores.wait(LOOK);
            while !self.chores.is_over() {
                match self.clean_up(&mut pace) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => {
                        tracing::warn!(%error, "stored mail cannot be put in order now; it is tried again");
                        break;
                    }
                }
            }
        }
    }

    /// Does what is most needed. Says whether there may be more.
    pub(super) fn clean_up(&self, pace: &mut Pace) -> Result<bool, MailboxError> {
        if let Some(slot) = self.next_to_seal() {
            // It is read from head to head then.
            if let Err(error) = self.seal(slot) {
                tracing::warn!(%error, "an index of a segment of mail cannot be written");
            }
            return Ok(true);
        }
        let may_grow = self.may_grow().map_err(failed("ask for free space"))?;
        if self.spares.is_wanting() && may_grow {
            let spare = self.spares.make(&self.shelf, self.settings.segment).map_err(failed("make a segment"))?;
            self.give_up(self.spares.keep(spare))?;
            return Ok(true);
        }
        self.retire_old();
        let need = if self.spares.is_wanting() { Need::Room } else { Need::Order };
        match self.victim(need) {
            Some(slot) => self.clean(slot, need, pace),
            None => Ok(false),
        }
    }

    fn next_to_seal(&self) -> Option<Slot> {
        self.to_seal.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// The segment to be cleaned next.
    pub(super) fn victim(&self, need: Need) -> Option<Slot> {
        let index = self.index();
        let closed = || index.segments().filter(|(_, segment)| segment.state == State::Closed);
        let is_suspect = |segment: &Segment<S::File>| matches!(segment.state, State::Failed | State::Doubtful);
        if let Some((slot, _)) = index.segments().find(|(_, segment)| is_suspect(segment)) {
            return Some(slot);
        }
        let is_done = |segment: &Segment<S::File>| needed_bytes(segment) == 0 && segment.state != State::Open;
        if let Some((slot, _)) = index.segments().find(|(_, segment)| is_done(segment)) {
            return Some(slot);
        }
        let files: u64 = closed().map(|(_, segment)| segment.len).sum();
        let alive: u64 = closed().map(|(_, segment)| needed_bytes(segment)).sum();
        let is_loose = files > alive / DEAD_WEIGHT.1 * DEAD_WEIGHT.0 + self.settings.segment;
        let emptiest = closed().min_by_key(|(_, segment)| (share(segment), segment.number));
        if (need == Need::Room || is_loose)
            && let Some((slot, _)) = emptiest.filter(|(_, segment)| share(segment) < 900)
        {
            return Some(slot);
        }
        if need == Need::Room {
            drop(index);
            return self.outdated();
        }
        let has_dead = |segment: &Segment<S::File>| share_of_written(segment) < 900;
        closed().find(|(_, segment)| is_old(segment) && has_dead(segment)).map(|(slot, _)| slot)
    }

    /// A segment of which most is facts that were needed when it was written, and are not any more.
    fn outdated(&self) -> Option<Slot> {
        let kept: Vec<_> = {
            let index = self.index();
            let kept = index.segments().filter(|(_, segment)| segment.state == State::Closed && segment.kept > 0);
            kept.map(|(slot, segment)| (slot, Arc::clone(&segment.file), segment.seal.clone(), segment.end)).collect()
        };
        kept.into_iter().find_map(|(slot, file, seal, end)| {
            let facts = scan::scan(file.as_ref(), &seal, end).ok()?.facts;
            let mut owners: BTreeMap<_, u32> = BTreeMap::new();
            let mut gone = Vec::new();
            for fact in facts {
                match fact {
                    Fact::Put(put) => *owners.entry(put.inbox).or_default() += 1,
                    Fact::Gone(fact) => gone.push(fact),
                }
            }
            let mut index = self.index_mut();
            let kept = needed(&index, &gone, &owners).len() as u64 * GONE_WEIGHT;
            let segment = index.segment_mut(slot)?;
            segment.kept = segment.kept.min(kept);
            (share(segment) < 900).then_some(slot)
        })
    }

    /// A segment that is open for long is closed, so that what was removed leaves the disk with it.
    fn retire_old(&self) {
        for appender in [&self.writer, &self.copier] {
            // A commit that is under way may be waiting for what is cleaned.
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
        let facts = scan::scan(file.as_ref(), &seal, end).map_err(failed("read a segment"))?.facts;
        let mut alive: Vec<Put> = Vec::new();
        let mut owners: BTreeMap<ClientAddress, u32> = BTreeMap::new();
        let mut gone: Vec<Gone> = Vec::new();
        for facts in facts.chunks(512) {
            let index = self.index();
            for fact in facts {
                match fact {
                    Fact::Put(put) => {
                        *owners.entry(put.inbox).or_default() += 1;
                        if index.lives_at(put, victim) {
                            alive.push(*put);
                        }
                    }
                    Fact::Gone(fact) => gone.push(*fact),
                }
            }
        }
        let now = millis(clock::now());
        let mut rest = alive.as_slice();
        while !rest.is_empty() {
            let mut bytes = 0;
            let fitting = rest.iter().take_while(|put| {
                bytes += weight(put.len);
                bytes <= PIECE
            });
            let (piece, behind) = rest.split_at(fitting.count().max(1));
            rest = behind;
            if self.chores.is_over() || !self.give_way(need, bytes, pace) {
                return Ok(false);
            }
            let piece: Vec<_> = piece.iter().map(|put| (victim, *put)).collect();
            let mut copier = self.lock_copier();
            self.copy(&mut copier, &piece, now).map_err(failed("copy mail"))?;
        }
        if self.index().segment(victim).is_some_and(|segment| segment.messages > 0) {
            tracing::error!("a segment of mail holds messages that cannot be read; it stays until they are set aside");
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

    fn lock_copier(&self) -> MutexGuard<'_, Appender<S>> {
        self.copier.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for commits, and for the pace. Says whether to go on.
    fn give_way(&self, need: Need, bytes: u64, pace: &mut Pace) -> bool {
        const LOOK: Duration = Duration::from_millis(1);
        let begin = Instant::now();
        while self.is_committing.load(Ordering::SeqCst) && begin.elapsed() < GIVE_WAY {
            thread::sleep(LOOK);
        }
        while need == Need::Order && !self.chores.is_over() {
            let wait = pace.wait(self.put_bytes.load(Ordering::Relaxed), bytes);
            if wait.is_zero() || self.spares.is_wanting() {
                break;
            }
            thread::sleep(wait.min(GIVE_WAY));
        }
        !self.chores.is_over()
    }

    /// Copies these messages, as far as they can be read, and has the index look for them there.
    pub(super) fn copy(&self, copier: &mut Appender<S>, puts: &[(Slot, Put)], now: u64) -> io::Result<()> {
        let mut bodies = Vec::with_capacity(puts.len());
        for (slot, put) in puts {
            let file = self.index().segment(*slot).map(|segment| Arc::clone(&segment.file));
            let Some(file) = file else { continue };
            match read_body(file.as_ref(), put) {
                Ok(Some(body)) => bodies.push((*slot, *put, body)),
                Ok(None) => tracing::error!(inbox = %put.inbox, "a stored message is damaged"),
                Err(error) => tracing::error!(%error, inbox = %put.inbox, "a stored message cannot be read"),
            }
        }
        let items: Vec<Item<'_>> = bodies.iter().map(|(_, put, body)| (Fact::Put(*put), body.as_slice())).collect();
        let outcome = copier.append(self, &items, now);
        let done = match &outcome {
            Ok(done) => done,
            Err(failure) => &failure.done,
        };
        let in_vain = done.in_vain.iter().copied().chain(if outcome.is_err() { 0..done.spots.len() } else { 0..0 });
        {
            let mut index = self.index_mut();
            for item in in_vain {
                if let Some((_, put, _)) = bodies.get(item) {
                    index.put_in_vain(&put.inbox, put.number);
                }
            }
        }
        match outcome {
            Ok(done) => {
                self.are_full(done.full);
                let mut index = self.index_mut();
                for ((from, put, _), spot) in bodies.iter().zip(done.spots) {
                    index.copied(put, *from, spot);
                }
                let bytes = bodies.iter().map(|(_, put, _)| weight(put.len)).sum();
                self.counters.mail_bytes_copied.fetch_add(bytes, Ordering::Relaxed);
                Ok(())
            }
            Err(failure) => {
                self.are_full(failure.done.full);
                Err(failure.error)
            }
        }
    }

    /// This a segment says is gone. Where another file holds a message of the same inbox that is dead it is needed still, and is said
    /// anew, and with it all around it that is gone: so facts become fewer, and never more.
    fn keep_gone(&self, gone: &[Gone], owners: &BTreeMap<ClientAddress, u32>, now: u64) -> Result<(), MailboxError> {
        let facts = needed(&self.index(), gone, owners);
        if facts.is_empty() {
            return Ok(());
        }
        let items: Vec<Item<'_>> = facts.iter().map(|fact| (Fact::Gone(*fact), &[][..])).collect();
        let done = self.lock_copier().append(self, &items, now);
        let (done, outcome) = match done {
            Ok(done) => (done, Ok(())),
            Err(failure) => (failure.done, Err(failed("copy what is gone")(failure.error))),
        };
        {
            let mut index = self.index_mut();
            for spot in &done.spots {
                if let Some(segment) = index.segment_mut(spot.slot) {
                    segment.kept += GONE_WEIGHT;
                }
            }
        }
        self.are_full(done.full);
        outcome
    }

    /// Makes a spare of a segment of which nothing is needed, or removes it.
    fn let_go(&self, victim: Slot, owners: BTreeMap<ClientAddress, u32>) -> Result<(), MailboxError> {
        let Some(segment) = self.index_mut().take_segment(victim) else { return Ok(()) };
        // A file that failed once is not trusted with anything else.
        let is_good = matches!(segment.state, State::Closed | State::Doubtful);
        if is_good && self.spares.is_wanting() && segment.len == self.settings.segment {
            let spare = self.spares.make_of(&self.shelf, segment.number, segment.file, segment.len);
            self.give_up(self.spares.keep(spare.map_err(failed("use a segment again"))?))?;
        } else {
            self.shelf.remove(&segment.number.name()).map_err(failed("remove a segment"))?;
            self.shelf.sync_names().map_err(failed("sync"))?;
        }
        for owners in owners.into_iter().collect::<Vec<_>>().chunks(512) {
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

    fn give_up(&self, spare: Option<super::Spare<S::File>>) -> Result<(), MailboxError> {
        let Some(spare) = spare else { return Ok(()) };
        self.shelf.remove(&spare.number.name()).map_err(failed("remove a segment"))
    }

    /// Writes the index of a segment that is full, and its trailer. All in it is proved.
    pub(super) fn seal(&self, slot: Slot) -> io::Result<()> {
        let (file, seal, end, len) = {
            let index = self.index();
            let Some(segment) = index.segment(slot).filter(|segment| segment.state == State::Closed) else {
                return Ok(());
            };
            (Arc::clone(&segment.file), segment.seal.clone(), segment.end, segment.len)
        };
        let found = scan::scan(file.as_ref(), &seal, end)?;
        let (ordinal, written) = (found.ordinal + 1, millis(clock::now()));
        let header = FrameHeader { ordinal, batch: 0, entries: 0, blocks: 0, kind: Kind::Index, written };
        let mut buffer = FrameBuffer::default();
        let header = buffer.index(&seal, header, &found.facts);
        // What is damaged already is to be found at the next start, too.
        let is_whole = found.holes.is_empty() && found.end == end;
        if found.is_sealed || !is_whole || end + header.len() + BLOCK > len {
            return Ok(());
        }
        file.write_at(buffer.bytes(), end)?;
        let trailer = Trailer { index: end, entries: header.entries };
        file.write_at(&trailer.encode(&seal), len - TRAILER as u64)?;
        file.sync()
    }

    /// Nothing is written any more. What was is closed, so that the next start has no doubt of it.
    pub(super) fn close(&self) {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).close();
        let copier = self.lock_copier().close();
        self.are_full(writer.into_iter().chain(copier).collect());
        let full = std::mem::take(&mut *self.to_seal.lock().unwrap_or_else(PoisonError::into_inner));
        for slot in full {
            if let Err(error) = self.seal(slot) {
                tracing::warn!(%error, "an index of a segment of mail cannot be written");
            }
        }
    }
}

/// Of what a segment says is gone, what must be said elsewhere before it goes. `owners` are those of its messages.
fn needed<F>(index: &Index<F>, gone: &[Gone], owners: &BTreeMap<ClientAddress, u32>) -> BTreeSet<Gone> {
    let elsewhere = |gone: &&Gone| index.dead(&gone.inbox) > owners.get(&gone.inbox).copied().unwrap_or(0);
    gone.iter().filter(elsewhere).filter_map(|gone| index.widened(gone)).collect()
}

/// Whether what is dead in a segment has stayed long enough.
fn is_old<F>(segment: &Segment<F>) -> bool {
    segment.made.saturating_add(millis(STAYS)) < millis(clock::now())
}

/// How much of a segment is needed, in thousandths.
fn share<F>(segment: &Segment<F>) -> u64 {
    needed_bytes(segment).saturating_mul(1_000) / segment.len.max(1)
}

/// Bytes of a segment that would be written anew if it was cleaned.
const fn needed_bytes<F>(segment: &Segment<F>) -> u64 {
    segment.alive + segment.kept
}

/// How much of what was written to a segment is alive, in thousandths.
fn share_of_written<F>(segment: &Segment<F>) -> u64 {
    segment.alive.saturating_mul(1_000) / segment.written().max(1)
}

/// How fast is cleaned, when there is time: as fast as [`RATE`], and twice as fast as mail comes.
#[derive(Debug)]
pub(super) struct Pace {
    since: Instant,
    put_bytes: u64,
    /// Bytes that may be copied now.
    allowed: u64,
}

impl Pace {
    pub(super) fn new(put_bytes: u64) -> Self {
        Self { since: Instant::now(), put_bytes, allowed: PIECE }
    }

    /// As fast as it goes.
    #[cfg(test)]
    pub(super) fn unlimited() -> Self {
        Self { allowed: u64::MAX / 4, ..Self::new(0) }
    }

    /// How long to wait until so many bytes may be copied; if that is no time they count as copied.
    fn wait(&mut self, put_bytes: u64, bytes: u64) -> Duration {
        let gained = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(0) * RATE / 1_000;
        let put = 2 * put_bytes.saturating_sub(self.put_bytes);
        if gained + put > 0 {
            (self.since, self.put_bytes) = (Instant::now(), put_bytes);
            self.allowed = (self.allowed + gained + put).min(4 * PIECE + put);
        }
        if self.allowed >= bytes {
            self.allowed -= bytes;
            return Duration::ZERO;
        }
        Duration::from_millis(((bytes - self.allowed) * 1_000 / RATE).max(1))
    }
}
