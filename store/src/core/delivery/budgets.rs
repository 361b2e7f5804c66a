//! The memory of all sessions together, and which sessions are ended when it is short.
//!
//! *Holds* two budgets: for what was pushed and is not proved received, wherever it is by now (`client-edge` counts the
//! same), and for mail that was read from disk and is not pushed yet. *Promises*:
//!
//! - Neither is ever exceeded, whatever the clients do. What a session has been pushed counts until `client-edge` confirms
//!   its end.
//! - A session to which nothing is unproved can be pushed its next message out of a reserve that no other session may use.
//! - When memory is short, the sessions with the most unproved bytes, for the longest time, are ended. Their mail is on disk
//!   or goes there; nothing is lost. The order in which sessions began makes no difference.

use std::{
    collections::VecDeque,
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use ipc::control::StoreConfig;
use session_ipc::{EndReason, MESSAGE_OVERHEAD, SessionId};
use worker::{
    budget::{ByteBudget, BytePermit},
    counter::count,
};

use crate::{
    core::Core,
    counters::StoreCounters,
    mailbox::{Mailbox, PageLimit},
};

/// What one read brings at the most.
pub(super) const PAGE: PageLimit = PageLimit { messages: 128, bytes: 256 * 1024 };
/// Memory that is free before a session that waits for it may read.
const PAGE_COST: u64 = PAGE.bytes as u64 + PAGE.messages as u64 * MESSAGE_OVERHEAD;
/// One part in so many is kept for sessions to which nothing is unproved.
const RESERVE: u64 = 4;
/// When memory is short, one part in so many is made free at once, so that not each message has to look for some.
const FREED_AT_ONCE: u64 = 16;
/// A session that has proved everything older than this is never ended: its client takes its mail, however much that is.
const GRACE: Duration = Duration::from_secs(1);
/// How long sessions wait for memory until they look again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Sessions that look again at once.
const AT_ONCE: usize = 32;

/// The budgets, and the sessions that wait for memory.
///
/// *Promises*: `leaving` is the memory of all sessions that were ended and that `client-edge` has not closed. While sessions wait for
/// memory, `look_again` says when they look for it.
#[derive(Debug)]
pub(super) struct Budgets {
    pushed: ByteBudget,
    read_ahead: ByteBudget,
    await_memory: VecDeque<SessionId>,
    await_reading: VecDeque<SessionId>,
    /// Memory of sessions that were ended, until `client-edge` confirms their end.
    leaving: u64,
    /// When the sessions that wait for memory look again.
    look_again: Option<Instant>,
    /// The last search found no session to end; there is no other before this time.
    no_search_before: Option<Instant>,
    #[cfg(test)]
    searches: u32,
}

impl Budgets {
    pub(super) fn new(config: &StoreConfig) -> Self {
        Self {
            pushed: ByteBudget::new(config.pushed_bytes),
            read_ahead: ByteBudget::new(config.read_ahead_bytes),
            await_memory: VecDeque::new(),
            await_reading: VecDeque::new(),
            leaving: 0,
            look_again: None,
            no_search_before: None,
            #[cfg(test)]
            searches: 0,
        }
    }

    /// A permit for what a session is pushed, for no bytes yet.
    pub(super) fn pushed_permit(&self) -> BytePermit {
        self.pushed.permit()
    }

    /// A permit for what is read for a session, for no bytes yet.
    pub(super) fn read_ahead_permit(&self) -> BytePermit {
        self.read_ahead.permit()
    }

    /// Takes memory for a message that is pushed. `first`: nothing else is unproved in its session.
    pub(super) fn hold(held: &mut BytePermit, bytes: u64, first: bool) -> bool {
        let reserve = if first { 0 } else { held.budget().most() / RESERVE };
        held.grow(bytes, reserve)
    }

    /// Shows how much memory is in use.
    pub(super) fn show(&self, counters: &StoreCounters) {
        counters.pushed_memory.store(self.pushed.used(), Relaxed);
        counters.read_ahead_memory.store(self.read_ahead.used(), Relaxed);
    }

    /// When the sessions that wait for memory look again.
    pub(super) const fn due(&self) -> Option<Instant> {
        self.look_again
    }

    /// All sessions are gone.
    pub(super) fn clear(&mut self) {
        self.await_memory.clear();
        self.await_reading.clear();
        self.leaving = 0;
        self.look_again = None;
        self.no_search_before = None;
    }

    /// A session was ended that holds this memory until `client-edge` confirms its end.
    pub(super) const fn begin_leaving(&mut self, held: &BytePermit) {
        self.leaving += held.bytes();
    }

    /// `client-edge` has let go of this memory.
    pub(super) fn end_leaving(&mut self, held: BytePermit) {
        debug_assert!(held.bytes() <= self.leaving, "memory comes back that was not lent");
        self.leaving = self.leaving.saturating_sub(held.bytes());
    }

    #[cfg(test)]
    pub(super) fn used(&self) -> [u64; 2] {
        [self.pushed.used(), self.read_ahead.used()]
    }

    /// How often a session to end was searched for.
    #[cfg(test)]
    pub(super) const fn searches(&self) -> u32 {
        self.searches
    }
}

impl<M: Mailbox> Core<M> {
    /// The session has something to push, and there is no memory for it.
    pub(super) fn await_memory(&mut self, session: SessionId, now: Instant) {
        count(&self.counters.memory_short);
        let budgets = &mut self.delivery.budgets;
        if let Some(attachment) = self.sessions.attachment_mut(session)
            && !attachment.set_awaits_memory(true)
        {
            budgets.await_memory.push_back(session);
        }
        budgets.look_again.get_or_insert(now + LOOK_AGAIN);
        self.end_heaviest(now);
    }

    /// The session has something to read, and there is no memory for it.
    pub(super) fn await_reading(&mut self, session: SessionId) {
        if let Some(attachment) = self.sessions.attachment_mut(session)
            && !attachment.set_awaits_reading(true)
        {
            self.delivery.budgets.await_reading.push_back(session);
        }
    }

    /// Wakes a session that waits for memory to read into, if there is some.
    pub(super) fn resume_reading(&mut self) {
        // The session takes the memory when it has its turn, so one at a time.
        let budgets = &mut self.delivery.budgets;
        if budgets.read_ahead.free() >= PAGE_COST.min(budgets.read_ahead.most())
            && let Some(session) = budgets.await_reading.pop_front()
        {
            if let Some(attachment) = self.sessions.attachment_mut(session) {
                attachment.set_awaits_reading(false);
            }
            self.wake(session);
        }
    }

    /// Some memory is free again: wakes sessions that wait for it.
    pub(in crate::core) fn resume_pushing(&mut self) {
        for _ in 0..AT_ONCE {
            let Some(session) = self.delivery.budgets.await_memory.pop_front() else { break };
            if let Some(attachment) = self.sessions.attachment_mut(session) {
                attachment.set_awaits_memory(false);
            }
            self.wake(session);
        }
    }

    /// Wakes sessions that wait for memory, if it is time.
    pub(in crate::core) fn look_again(&mut self, now: Instant) {
        if self.delivery.budgets.look_again.is_some_and(|at| at <= now) {
            self.resume_pushing();
            let budgets = &mut self.delivery.budgets;
            let more = !budgets.await_memory.is_empty();
            budgets.look_again = more.then(|| now + LOOK_AGAIN);
        }
    }

    /// Ends the sessions that hold the most for the longest, unless as much as is wanted is on its way back already. A search visits
    /// all sessions, so there is not one for each message while no session can be ended.
    fn end_heaviest(&mut self, now: Instant) {
        let budgets = &mut self.delivery.budgets;
        let wanted = budgets.pushed.most() / FREED_AT_ONCE;
        if budgets.leaving >= wanted || budgets.no_search_before.is_some_and(|at| now < at) {
            return;
        }
        #[cfg(test)]
        {
            budgets.searches += 1;
        }
        let mut by_weight: Vec<(u128, SessionId)> = self
            .sessions
            .attachments()
            .filter_map(|(session, attachment)| {
                let age = now.saturating_duration_since(attachment.unproved_since()?);
                (age >= GRACE).then(|| (u128::from(attachment.holds()) * age.as_millis(), session))
            })
            .collect();
        by_weight.sort_unstable();
        budgets.no_search_before = by_weight.is_empty().then_some(now + LOOK_AGAIN);
        while self.delivery.budgets.leaving < wanted
            && let Some((_, session)) = by_weight.pop()
        {
            count(&self.counters.ended_for_memory);
            self.end_session(session, EndReason::MemoryNeeded, now);
        }
    }
}
