//! The memory of all sessions together, and who gives way when it is short.
//!
//! *Holds* two budgets: for what was pushed and is not proved received, wherever it is by now (`client-edge` counts the
//! same), and for mail that was read from disk and is not pushed yet. *Promises*:
//!
//! - Neither is ever exceeded, whatever the clients do. What a session has been pushed counts until `client-edge` confirms
//!   its end.
//! - A session to which nothing is unproved can be pushed its next message out of a reserve that nobody else may use.
//! - When memory is short, the sessions with the most unproved bytes, for the longest time, are ended. Their mail is on disk
//!   or goes there; nothing is lost. Who came first makes no difference.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use session_ipc::{EndReason, MESSAGE_OVERHEAD, SessionId, StoreToEdge};
use wire::address::ClientAddress;
use worker::{
    budget::{ByteBudget, BytePermit},
    counter::count,
};

use super::{Office, Rules, desk::Session};
use crate::mailbox::{Mailbox, PageLimit};

/// What one read brings at the most.
pub(super) const PAGE: PageLimit = PageLimit { messages: 128, bytes: 256 * 1024 };
/// Memory that is free before a session that waits for it may read.
const PAGE_COST: u64 = PAGE.bytes as u64 + PAGE.messages as u64 * MESSAGE_OVERHEAD;
/// One part in so many is kept for sessions to which nothing is unproved.
const RESERVE: u64 = 4;
/// When memory is short, one part in so many is made free at once, so that not each message has to look for some.
const FREED_AT_ONCE: u64 = 16;
/// Whoever has proved everything older than this is never ended: it takes its mail, however much that is.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long sessions wait for memory until they look again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Sessions that look again at once.
const AT_ONCE: usize = 32;

/// The budgets, and who waits for them.
#[derive(Debug)]
pub(super) struct Budgets {
    pub(super) pushed: ByteBudget,
    pub(super) read_ahead: ByteBudget,
    await_memory: VecDeque<SessionId>,
    await_reading: VecDeque<SessionId>,
    /// Memory of sessions that were ended, until `client-edge` confirms it.
    leaving: u64,
    /// When those who wait for memory look again.
    pub(super) look_again: Option<Instant>,
    /// Nobody could be ended when it was looked for somebody last; until then it is not looked again.
    nobody_until: Option<Instant>,
    #[cfg(test)]
    pub(super) looked: u32,
}

impl Budgets {
    pub(super) fn new(rules: &Rules) -> Self {
        Self {
            pushed: ByteBudget::new(rules.pushed_bytes),
            read_ahead: ByteBudget::new(rules.read_ahead_bytes),
            await_memory: VecDeque::new(),
            await_reading: VecDeque::new(),
            leaving: 0,
            look_again: None,
            nobody_until: None,
            #[cfg(test)]
            looked: 0,
        }
    }

    /// Takes memory for a message that is pushed. `first`: nothing else is unproved in its session.
    pub(super) fn hold(held: &mut BytePermit, bytes: u64, first: bool) -> bool {
        let reserve = if first { 0 } else { held.budget().most() / RESERVE };
        held.grow(bytes, reserve)
    }

    /// All sessions are gone.
    pub(super) fn clear(&mut self) {
        self.await_memory.clear();
        self.await_reading.clear();
        self.leaving = 0;
        self.look_again = None;
        self.nobody_until = None;
    }
}

impl<M: Mailbox> Office<M> {
    /// The session has something to push, and there is no memory for it.
    pub(super) fn await_memory(&mut self, session: SessionId, now: Instant) {
        count(&self.counters.memory_short);
        if let Some(Session::Attached(attachment)) = self.sessions.get_mut(&session)
            && !std::mem::replace(&mut attachment.awaits_memory, true)
        {
            self.budgets.await_memory.push_back(session);
        }
        self.budgets.look_again.get_or_insert(now + LOOK_AGAIN);
        self.make_room(now);
    }

    /// The session has something to read, and there is no memory for it.
    pub(super) fn await_reading(&mut self, session: SessionId) {
        if let Some(Session::Attached(attachment)) = self.sessions.get_mut(&session)
            && !std::mem::replace(&mut attachment.awaits_reading, true)
        {
            self.budgets.await_reading.push_back(session);
        }
    }

    /// Lets those read who wait for it, as far as there is memory.
    pub(super) fn let_read(&mut self) {
        // What is free is taken when they have their turn, so one at a time.
        if self.budgets.read_ahead.free() >= PAGE_COST.min(self.budgets.read_ahead.most())
            && let Some(session) = self.budgets.await_reading.pop_front()
        {
            if let Some(Session::Attached(attachment)) = self.sessions.get_mut(&session) {
                attachment.awaits_reading = false;
            }
            self.wake(session);
        }
    }

    /// Some memory is free again: those who wait for it look.
    pub(super) fn memory_came_back(&mut self) {
        for _ in 0..AT_ONCE {
            let Some(session) = self.budgets.await_memory.pop_front() else { break };
            if let Some(Session::Attached(attachment)) = self.sessions.get_mut(&session) {
                attachment.awaits_memory = false;
            }
            self.wake(session);
        }
    }

    /// Those who wait for memory look again, if it is time.
    pub(super) fn look_again(&mut self, now: Instant) {
        if self.budgets.look_again.is_some_and(|at| at <= now) {
            self.memory_came_back();
            let more = !self.budgets.await_memory.is_empty();
            self.budgets.look_again = more.then(|| now + LOOK_AGAIN);
        }
    }

    /// Ends the sessions that hold the most for the longest, unless as much as is wanted is on its way back already. All sessions
    /// are looked at, so it is not done for each message while there is nobody to end.
    fn make_room(&mut self, now: Instant) {
        let wanted = self.budgets.pushed.most() / FREED_AT_ONCE;
        if self.budgets.leaving >= wanted || self.budgets.nobody_until.is_some_and(|until| now < until) {
            return;
        }
        #[cfg(test)]
        {
            self.budgets.looked += 1;
        }
        let mut by_weight: Vec<(u128, SessionId)> = self
            .sessions
            .iter()
            .filter_map(|(session, state)| {
                let Session::Attached(attachment) = state else { return None };
                let age = now.saturating_duration_since(attachment.unproved_since()?);
                (age >= PATIENCE).then(|| (u128::from(attachment.holds()) * age.as_millis(), *session))
            })
            .collect();
        by_weight.sort_unstable();
        self.budgets.nobody_until = by_weight.is_empty().then_some(now + LOOK_AGAIN);
        while self.budgets.leaving < wanted
            && let Some((_, session)) = by_weight.pop()
        {
            count(&self.counters.ended_for_memory);
            self.orders.to_edge.push(StoreToEdge::EndSession { session, reason: EndReason::MemoryNeeded });
            let newcomer = self.detach(session).and_then(|detached| {
                self.spill_all(&detached.client);
                detached.newcomer
            });
            if let Some(newcomer) = newcomer {
                self.contest(newcomer, now);
            }
        }
    }

    /// Ends an attached session; its memory comes back when `client-edge` confirms that.
    pub(super) fn detach(&mut self, session: SessionId) -> Option<Detached> {
        let Some(Session::Attached(attachment)) = self.sessions.remove(&session) else { return None };
        let detached = Detached { client: attachment.client, newcomer: attachment.newcomer };
        let held = attachment.into_held();
        self.budgets.leaving += held.bytes();
        self.sessions.insert(session, Session::Detached(held));
        Some(detached)
    }

    /// `client-edge` has let go of what a session held that was ended before.
    pub(super) fn left(&mut self, held: BytePermit) {
        self.budgets.leaving = self.budgets.leaving.saturating_sub(held.bytes());
        drop(held);
        self.memory_came_back();
    }
}

/// Of a session that was just ended.
#[derive(Debug)]
pub(super) struct Detached {
    pub(super) client: ClientAddress,
    pub(super) newcomer: Option<SessionId>,
}
