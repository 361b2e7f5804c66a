//! One attached session: what was pushed to it and is not yet proved, and how far it has come through its inbox.
//!
//! *Promises*: what is pushed and what is read ahead is taken from the budgets of all sessions first; nothing is read
//! for a session that may not be pushed anything, and what was read for it before is let go of.

use std::{collections::VecDeque, mem, time::Instant};

use bytes::Bytes;
use ipc::{
    credit::{Credit, Window},
    ingress_store::Ack,
};
use session_ipc::{MESSAGE_OVERHEAD, Sequence, SessionId, message_cost};
use wire::address::ClientAddress;
use worker::budget::BytePermit;

use super::budgets::{Budgets, PAGE};
use crate::{
    core::inbox::Inbox,
    mailbox::{Page, PageLimit},
};

/// A message that was pushed.
#[derive(Clone, Copy, Debug)]
pub(in crate::core) struct Pushed {
    pub(in crate::core) sequence: Sequence,
    pub(in crate::core) len: usize,
    pub(in crate::core) ack: Ack,
    at: Instant,
}

/// A message that was read from disk.
#[derive(Debug)]
struct Paged {
    sequence: Sequence,
    ack: Ack,
    message: Bytes,
}

/// What to do next for a session.
#[derive(Debug)]
pub(super) enum Step {
    /// Push this message.
    Push(Sequence, Bytes),
    /// Read mail from here, and before there, but no more than this.
    Read(Sequence, Sequence, PageLimit),
    /// Nothing, until there is memory to read more mail into.
    AwaitReading,
    /// Nothing, until there is memory for what is pushed.
    AwaitMemory,
    /// Nothing, until something happens.
    Wait,
    /// Nothing, until the client proves something: from now on its credit is used up.
    Pause,
}

/// An attached session.
///
/// *Promises*: everything before `cursor` has been pushed in this session or has given way; what was read and is not pushed lies on
/// `page`, in order, from `cursor` on; `held` is the memory of exactly what is in `unproved`.
#[derive(Debug)]
pub(in crate::core) struct Attachment {
    client: ClientAddress,
    is_by_token: bool,
    /// Another session that claims to be the same client and waits for the probe.
    challenger: Option<SessionId>,
    /// Is in the queue of sessions that may have something to push.
    is_queued: bool,
    /// Is in the queue of sessions that wait for memory to read into.
    awaits_reading: bool,
    /// Is in the queue of sessions that wait for memory for what is pushed.
    awaits_memory: bool,
    credit: Credit,
    /// What the credit may grow to.
    all_credit: Window,
    /// Something has waited for credit, and nothing was pushed since.
    paused: bool,
    /// As long as nothing is proved, nothing can be pushed.
    stuck: bool,
    unproved: VecDeque<Pushed>,
    /// What is unproved takes this much memory.
    held: BytePermit,
    last_pushed: Option<Sequence>,
    /// Everything before this has been pushed in this session.
    cursor: Sequence,
    /// The disk has been read up to here; what was found and is not yet pushed is in `page`.
    scanned: Sequence,
    page: VecDeque<Paged>,
    /// The page, or the one that is being read, takes this much memory.
    page_held: BytePermit,
    is_reading: bool,
}

/// How a session begins.
#[derive(Clone, Copy, Debug)]
pub(in crate::core) struct Start {
    pub(in crate::core) client: ClientAddress,
    /// The client has not proved its identity key, but only that of a session, which a listener may have made use of.
    pub(in crate::core) is_by_token: bool,
    /// The oldest message that is not proved received.
    pub(in crate::core) oldest: Sequence,
    /// What the session's credit may grow to.
    pub(in crate::core) credit: Window,
}

impl Attachment {
    pub(super) fn new(start: Start, budgets: &Budgets) -> Self {
        let Start { client, is_by_token, oldest, credit } = start;
        Self {
            client,
            is_by_token,
            challenger: None,
            is_queued: false,
            awaits_reading: false,
            awaits_memory: false,
            credit: Credit::unearned(credit),
            all_credit: credit,
            paused: false,
            stuck: false,
            unproved: VecDeque::new(),
            held: budgets.pushed_permit(),
            last_pushed: None,
            cursor: oldest,
            scanned: oldest,
            page: VecDeque::new(),
            page_held: budgets.read_ahead_permit(),
            is_reading: false,
        }
    }

    pub(in crate::core) const fn client(&self) -> ClientAddress {
        self.client
    }

    /// The client has not proved its identity key, but only that of a session.
    pub(in crate::core) const fn is_by_token(&self) -> bool {
        self.is_by_token
    }

    /// The session that claims to be the same client and waits for the probe.
    pub(in crate::core) const fn challenger(&self) -> Option<SessionId> {
        self.challenger
    }

    /// Another session claims to be the same client.
    pub(in crate::core) const fn challenge(&mut self, challenger: SessionId) {
        self.challenger = Some(challenger);
    }

    /// Ends the claim of another session, if there is one.
    pub(in crate::core) const fn take_challenger(&mut self) -> Option<SessionId> {
        self.challenger.take()
    }

    /// The session enters the queue of those that may be pushed something. Says whether it was not in it.
    pub(super) const fn enter_queue(&mut self) -> bool {
        !mem::replace(&mut self.is_queued, true)
    }

    /// The session has left that queue.
    pub(super) fn leave_queue(&mut self) {
        debug_assert!(self.is_queued, "a session leaves the queue that is not in it");
        self.is_queued = false;
    }

    /// Whether the session waits for memory to read into from now on. Says whether it waited before.
    pub(super) const fn set_awaits_reading(&mut self, awaits: bool) -> bool {
        mem::replace(&mut self.awaits_reading, awaits)
    }

    /// Whether the session waits for memory for what is pushed from now on. Says whether it waited before.
    pub(super) const fn set_awaits_memory(&mut self, awaits: bool) -> bool {
        mem::replace(&mut self.awaits_memory, awaits)
    }

    fn disk_may_hold_more(&self, inbox: &Inbox) -> bool {
        !inbox.stored().is_empty() && self.scanned.max(self.cursor) < inbox.stored_end()
    }

    /// Whether a message that arrives now is worth keeping in memory: all stored mail has been pushed or is about to be, and the
    /// client keeps up.
    pub(in crate::core) fn takes_live_mail(&self, inbox: &Inbox, len: usize) -> bool {
        let waits = self.stuck || self.awaits_memory || !self.page.is_empty() || self.disk_may_hold_more(inbox);
        !waits && self.credit.has_room(len)
    }

    /// Decides what comes next, and counts it as pushed if it is a message.
    pub(super) fn step(&mut self, inbox: &Inbox, now: Instant) -> Step {
        if self.stuck {
            return Step::Wait;
        }
        self.leave_out_displaced(inbox);
        let pending = inbox.pending().next_from(self.cursor);
        let may_read = self.page.is_empty() && self.disk_may_hold_more(inbox);
        // The disk may hold something older than what is pending, unless that is the very next message.
        if may_read && pending.is_none_or(|(sequence, _)| sequence != self.cursor) {
            return self.read(inbox.stored_end());
        }
        let on_page = self.page.front();
        let (sequence, ack, message) = match (pending, on_page) {
            (Some((sequence, pending)), paged) if paged.is_none_or(|paged| sequence <= paged.sequence) => {
                (sequence, pending.ack, pending.message.clone())
            }
            (_, Some(paged)) => (paged.sequence, paged.ack, paged.message.clone()),
            (_, None) => return Step::Wait,
        };
        if !self.credit.has_room(message.len()) {
            return self.pause();
        }
        debug_assert!(sequence >= self.cursor, "a session is pushed its inbox in order");
        if !Budgets::hold(&mut self.held, message_cost(message.len()), self.unproved.is_empty()) {
            self.let_go_of_page();
            return Step::AwaitMemory;
        }
        self.credit.take(message.len());
        self.paused = false;
        if let Some(paged) = self.page.pop_front_if(|paged| paged.sequence == sequence) {
            self.page_held.shrink(message_cost(paged.message.len()));
        }
        self.cursor = Sequence(sequence.0 + 1);
        self.last_pushed = Some(sequence);
        self.unproved.push_back(Pushed { sequence, len: message.len(), ack, at: now });
        Step::Push(sequence, message)
    }

    /// Leaves out what has given way since it was read.
    fn leave_out_displaced(&mut self, inbox: &Inbox) {
        let has_given_way = |paged: &mut Paged| inbox.has_given_way(paged.sequence, paged.ack);
        while let Some(paged) = self.page.pop_front_if(has_given_way) {
            self.page_held.shrink(message_cost(paged.message.len()));
        }
    }

    /// Reads no more than may be pushed at once, so that nothing that was read has to wait for a proof.
    fn read(&mut self, end: Sequence) -> Step {
        if self.is_reading {
            return Step::Wait;
        }
        let left = self.credit.left();
        if !self.credit.has_room(1) {
            return self.pause();
        }
        let limit = PageLimit {
            messages: PAGE.messages.min(left.messages as usize).max(1),
            bytes: PAGE.bytes.min(usize::try_from(left.bytes).unwrap_or(usize::MAX)).max(1),
        };
        if !self.page_held.grow(limit.bytes as u64 + limit.messages as u64 * MESSAGE_OVERHEAD, 0) {
            return Step::AwaitReading;
        }
        self.is_reading = true;
        Step::Read(self.scanned.max(self.cursor), end, limit)
    }

    fn pause(&mut self) -> Step {
        self.stuck = true;
        self.let_go_of_page();
        if mem::replace(&mut self.paused, true) { Step::Wait } else { Step::Pause }
    }

    /// Drops the page. It is read again when it can be pushed.
    fn let_go_of_page(&mut self) {
        if !self.page.is_empty() {
            self.page.clear();
            self.scanned = self.cursor;
        }
        if !self.is_reading {
            self.page_held.shrink(u64::MAX);
        }
    }

    /// A page came from disk.
    pub(super) fn page_arrived(&mut self, mut page: Page) {
        self.is_reading = false;
        self.scanned = page.end;
        let messages = mem::take(&mut page.messages).into_iter();
        self.page =
            messages.map(|(sequence, message)| Paged { sequence, ack: page.ack_of(sequence), message }).collect();
        if self.stuck {
            return self.let_go_of_page();
        }
        let takes: u64 = self.page.iter().map(|paged| message_cost(paged.message.len())).sum();
        self.page_held.shrink(self.page_held.bytes().saturating_sub(takes));
    }

    /// A page could not be read.
    pub(super) fn page_failed(&mut self) {
        self.is_reading = false;
        self.page_held.shrink(u64::MAX);
    }

    /// Whether the session was ever pushed this message or a later one.
    pub(in crate::core) fn was_pushed(&self, sequence: Sequence) -> bool {
        self.last_pushed.is_some_and(|last| sequence <= last)
    }

    /// The oldest pushed message up to `up_to`, which is proved now; gives back its credit.
    pub(in crate::core) fn prove_next(&mut self, up_to: Sequence) -> Option<Pushed> {
        let proved = self.unproved.pop_front_if(|pushed| pushed.sequence <= up_to)?;
        self.credit.give_back(proved.len);
        self.held.shrink(message_cost(proved.len));
        debug_assert!(!self.unproved.is_empty() || self.held.bytes() == 0, "nothing unproved takes no memory");
        self.stuck = false;
        Some(proved)
    }

    /// The client has proved something: it may be pushed more at once from now on.
    pub(in crate::core) const fn earn(&mut self) {
        self.credit.earn(self.all_credit);
    }

    /// Since when it has proved nothing that it was pushed.
    pub(super) fn unproved_since(&self) -> Option<Instant> {
        self.unproved.front().map(|pushed| pushed.at)
    }

    /// Memory that what it has not proved takes.
    pub(super) const fn holds(&self) -> u64 {
        self.held.bytes()
    }

    /// The memory that `client-edge` holds for the session until `client-edge` confirms the session's end.
    pub(in crate::core) fn into_held(self) -> BytePermit {
        self.held
    }
}
