//! One attached session: what was pushed to it and is not yet proved, and how far it has come through its inbox.

use std::{collections::VecDeque, mem};

use bytes::Bytes;
use proto::{
    address::ClientAddress,
    ipc::store_edge::{Sequence, SessionId},
    link::{Credit, Window},
};

use super::inbox::Inbox;
use crate::mailbox::Page;

/// A message that was pushed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pushed {
    pub(super) sequence: Sequence,
    pub(super) len: usize,
}

/// A read from disk under way.
#[derive(Clone, Copy, Debug)]
struct Read {
    end: Sequence,
    /// Something before `end` was stored after the read began: it may or may not be in the page.
    stale: bool,
}

/// What to do next for a session.
#[derive(Debug)]
pub(super) enum Step {
    /// Push this message.
    Push(Sequence, Bytes),
    /// Read mail from here, and before there.
    Read(Sequence, Sequence),
    /// Nothing, until something happens.
    Wait,
    /// Nothing, until the client proves something: from now on its credit is used up.
    Pause,
}

/// An attached session.
#[derive(Debug)]
pub(super) struct Attachment {
    pub(super) client: ClientAddress,
    /// Another connection that claims to be the same client and waits for the probe.
    pub(super) newcomer: Option<SessionId>,
    /// Waits for its turn in the office's `ready` queue.
    pub(super) queued: bool,
    credit: Credit,
    /// Something waits for credit.
    paused: bool,
    unproved: VecDeque<Pushed>,
    last_pushed: Option<Sequence>,
    /// Everything before this has been pushed in this session.
    cursor: Sequence,
    /// The disk has been read up to here; what was found and is not yet pushed is in `page`.
    scanned: Sequence,
    page: VecDeque<(Sequence, Bytes)>,
    read: Option<Read>,
}

impl Attachment {
    /// Starts at the oldest message that is not proved received, with this much credit.
    pub(super) fn new(client: ClientAddress, oldest: Sequence, credit: Window) -> Self {
        Self {
            client,
            newcomer: None,
            queued: false,
            credit: Credit::new(credit),
            paused: false,
            unproved: VecDeque::new(),
            last_pushed: None,
            cursor: oldest,
            scanned: oldest,
            page: VecDeque::new(),
            read: None,
        }
    }

    fn disk_may_hold_more(&self, inbox: &Inbox) -> bool {
        inbox.stored.messages > 0 && self.scanned.max(self.cursor) < inbox.stored_end
    }

    /// Whether a message that arrives now is worth keeping in memory: all stored mail has been pushed or is about to be, and the
    /// client keeps up.
    pub(super) fn takes_live_mail(&self, inbox: &Inbox, len: usize) -> bool {
        self.page.is_empty() && !self.disk_may_hold_more(inbox) && self.credit.has_room(len)
    }

    /// Decides what comes next, and counts it as pushed if it is a message.
    pub(super) fn step(&mut self, inbox: &Inbox) -> Step {
        let held = inbox.custody.range(self.cursor..).next();
        let may_read = self.page.is_empty() && self.disk_may_hold_more(inbox);
        // The disk may hold something older than what is in custody, unless that is the very next message.
        if may_read && held.is_none_or(|(sequence, _)| *sequence != self.cursor) {
            if self.read.is_some() {
                return Step::Wait;
            }
            if !self.credit.has_room(0) {
                return self.pause();
            }
            self.read = Some(Read { end: inbox.stored_end, stale: false });
            return Step::Read(self.scanned.max(self.cursor), inbox.stored_end);
        }
        let on_page = self.page.front();
        let (sequence, message) = match (held, on_page) {
            (Some((sequence, held)), Some((paged, _))) if sequence <= paged => (*sequence, held.message.clone()),
            (_, Some((paged, message))) => (*paged, message.clone()),
            (Some((sequence, held)), None) => (*sequence, held.message.clone()),
            (None, None) => return Step::Wait,
        };
        if !self.credit.take(message.len()) {
            return self.pause();
        }
        self.paused = false;
        self.page.pop_front_if(|(paged, _)| *paged == sequence);
        self.cursor = Sequence(sequence.0 + 1);
        self.last_pushed = Some(sequence);
        self.unproved.push_back(Pushed { sequence, len: message.len() });
        Step::Push(sequence, message)
    }

    const fn pause(&mut self) -> Step {
        if mem::replace(&mut self.paused, true) { Step::Wait } else { Step::Pause }
    }

    /// A page came from disk.
    pub(super) fn page_arrived(&mut self, page: Page) {
        // A stale page is thrown away and read again.
        if let Some(Read { stale: false, .. }) = self.read.take() {
            self.scanned = page.end;
            self.page = page.messages.into();
        }
    }

    /// A page could not be read.
    pub(super) const fn page_failed(&mut self) {
        self.read = None;
    }

    /// A message has gone from custody to disk. If the session has read past its place without having pushed it, it reads again.
    pub(super) fn stored(&mut self, sequence: Sequence) {
        if sequence < self.cursor {
            return;
        }
        if sequence < self.scanned {
            self.page.clear();
            self.scanned = self.cursor;
        }
        if let Some(read) = &mut self.read
            && sequence < read.end
        {
            read.stale = true;
        }
    }

    /// Whether the session was ever pushed this message or a later one.
    pub(super) fn was_pushed(&self, sequence: Sequence) -> bool {
        self.last_pushed.is_some_and(|last| sequence <= last)
    }

    /// The oldest pushed message up to `up_to`, which is proved now; gives back its credit.
    pub(super) fn prove_next(&mut self, up_to: Sequence) -> Option<Pushed> {
        let proved = self.unproved.pop_front_if(|pushed| pushed.sequence <= up_to)?;
        self.credit.give_back(proved.len);
        Some(proved)
    }
}
