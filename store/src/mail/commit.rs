//! Commits of the core's batches.

use std::{
    collections::BTreeMap,
    sync::{PoisonError, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use wire::address::ClientAddress;
use worker::counter::count;

use super::{
    Log, MailLog, Raised,
    append::{Appended, Appender, Item},
    entry::{Fact, Gone, Put},
    failed,
    index::{Index, State},
    message::weight,
    millis,
    segment::Slot,
    shelf::Shelf,
};
use crate::mailbox::{Change, MailBatch, MailboxError};

/// Changes to the index before readers have their turn.
const CHANGES_AT_ONCE: usize = 512;

impl<S: Shelf> MailLog<S> {
    /// Applies a batch, dating its messages `now`, and returns when it is on the medium.
    ///
    /// # Errors
    /// If that cannot be promised. Then any part of it may be there.
    pub(crate) fn commit(&self, batch: &MailBatch, now: Duration) -> Result<(), MailboxError> {
        self.log.commit(batch, millis(now))
    }

    /// Finds out whether the log can be written.
    ///
    /// # Errors
    /// If it cannot.
    pub(crate) fn try_out(&self, now: Duration) -> Result<(), MailboxError> {
        let mut writer = self.log.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.try_out(&self.log, millis(now)).map_err(failed("write to a segment"))
    }
}

impl<S: Shelf> Log<S> {
    pub(super) fn commit(&self, batch: &MailBatch, now: u64) -> Result<(), MailboxError> {
        let raised = Raised::new(&self.is_committing);
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let (puts, mut removed) = sort(batch, now);
        for (client, numbers) in &mut removed {
            numbers.dedup();
            self.set_aside(client, numbers, batch);
        }
        let facts = {
            let index = self.index();
            let mut facts = Vec::with_capacity(puts.len() + removed.len());
            for (put, body) in &puts {
                if !index.takes(&put.inbox, put.number) {
                    return Err(MailboxError::OutOfOrder { client: put.inbox, number: put.number });
                }
                facts.push((Fact::Put(*put), body.as_ref()));
            }
            facts.extend(gone(&index, &removed, batch).map(|gone| (Fact::Gone(gone), &[][..])));
            facts
        };
        let more: u64 = puts.iter().map(|(put, _)| weight(put.len)).sum();
        if more > 0
            && let Some(lack) = self.lack(more).map_err(failed("ask for free space"))?
        {
            return Err(MailboxError::NoRoom(lack));
        }
        self.write(&mut writer, &facts, now)?;
        drop(raised);
        self.put_bytes.fetch_add(more, Ordering::Relaxed);
        for client in batch.erased() {
            self.remove_set_aside(client);
        }
        Ok(())
    }

    /// Writes these facts, and has the index know them when they are on the medium.
    pub(super) fn write(&self, writer: &mut Appender<S>, facts: &[Item<'_>], now: u64) -> Result<(), MailboxError> {
        let (done, outcome) = match writer.append(self, facts, now) {
            Ok(done) => {
                self.apply(facts, &done);
                (done, Ok(()))
            }
            Err(failure) => {
                self.apply_failure(facts, &failure.done);
                (failure.done, Err(failed("write to a segment")(failure.error)))
            }
        };
        self.are_full(done.full);
        outcome
    }

    /// Nothing more is written to these segments, and the index knows all that is in them: they may be sealed and cleaned.
    pub(super) fn are_full(&self, slots: Vec<Slot>) {
        if !slots.is_empty() {
            let mut index = self.index_mut();
            for slot in &slots {
                if let Some(segment) = index.segment_mut(*slot).filter(|segment| segment.state == State::Open) {
                    segment.state = State::Closed;
                }
            }
            drop(index);
            self.to_seal.lock().unwrap_or_else(PoisonError::into_inner).extend(slots);
            self.chores.call();
        }
    }

    /// The facts are on the medium.
    fn apply(&self, facts: &[Item<'_>], done: &Appended) {
        self.bury(facts, done.in_vain.iter().copied());
        for (facts, spots) in facts.chunks(CHANGES_AT_ONCE).zip(done.spots.chunks(CHANGES_AT_ONCE)) {
            let mut index = self.index_mut();
            for ((fact, _), spot) in facts.iter().zip(spots) {
                match fact {
                    Fact::Put(put) => index.put(&Put { place: spot.place, ..*put }, spot.slot),
                    Fact::Gone(gone) => index.gone(&gone.inbox, gone.first..gone.end),
                }
            }
        }
    }

    /// Some of the facts may be on the medium. Facts that say "gone" were true anyway; messages are dead, and their numbers spent.
    pub(super) fn apply_failure(&self, facts: &[Item<'_>], done: &Appended) {
        self.bury(facts, done.in_vain.iter().copied().chain(0..done.spots.len()));
    }

    /// These messages were written in vain.
    pub(super) fn bury(&self, facts: &[Item<'_>], places: impl Iterator<Item = usize>) {
        let mut index = self.index_mut();
        for place in places {
            if let Some((Fact::Put(put), _)) = facts.get(place) {
                index.put_in_vain(&put.inbox, put.number);
            }
        }
    }

    /// Keeps messages that cannot be read for the operator, before they are removed.
    fn set_aside(&self, client: &ClientAddress, numbers: &[u64], batch: &MailBatch) {
        for number in numbers {
            if batch.is_set_aside(client, *number) {
                count(&self.counters.mail_unreadable);
                self.leave_aside(client, *number);
            }
        }
    }
}

/// Numbers of each inbox, rising.
type Numbers = BTreeMap<ClientAddress, Vec<u64>>;

/// The messages of a batch, and the numbers that it removes from each inbox, rising.
fn sort(batch: &MailBatch, now: u64) -> (Vec<(Put, Bytes)>, Numbers) {
    let mut puts = Vec::new();
    let mut removed: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for ((client, number), change) in batch.changes() {
        match change {
            Change::Put(body, ack) => puts.push((Put::new(client, number, now, *ack, body), body.clone())),
            Change::Remove | Change::Expire | Change::SetAside => removed.entry(client).or_default().push(number.0),
        }
    }
    (puts, removed)
}

/// The facts that say what is gone. No file holds anything of an inbox that the index does not know.
fn gone<'a, F>(index: &'a Index<F>, removed: &'a Numbers, batch: &'a MailBatch) -> impl Iterator<Item = Gone> {
    let erased = batch.erased().filter_map(|client| {
        let end = index.inbox(client)?.next();
        (end > 0).then_some(Gone { inbox: *client, first: 0, end })
    });
    let removed = removed.iter().filter(|(client, _)| !batch.is_erased(client)).flat_map(|(client, numbers)| {
        let ranges = index.inbox(client).map(|inbox| inbox.ranges_without(numbers)).unwrap_or_default();
        ranges.into_iter().map(|range| Gone { inbox: *client, first: range.start, end: range.end })
    });
    erased.chain(removed)
}
