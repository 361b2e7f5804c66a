//! Mail on its way to clients: one message at a time for each session in turn, so that a full inbox delays no other session.

mod attachment;
mod budgets;

use std::{collections::VecDeque, time::Instant};

use ipc::{Opaque, control::StoreConfig};
use session_ipc::{SessionAnswer, SessionId, StoreToEdge};
use worker::{budget::BytePermit, counter::count};

pub(super) use self::attachment::{Attachment, Pushed, Start};
use self::{attachment::Step, budgets::Budgets};
use super::{Core, effects::Job, session_ref::SessionRef};
use crate::{
    counters::StoreCounters,
    mailbox::{Mailbox, MailboxError, Page},
};

/// Which sessions may be pushed something, and the memory that all of them share.
///
/// *Promises*: an attached session is in `ready` at most once, and is in it if there is something to push to it that waits neither
/// for credit, nor for memory, nor for a read.
#[derive(Debug)]
pub(super) struct Delivery {
    /// Sessions that may have something to push, in turn.
    ready: VecDeque<SessionId>,
    budgets: Budgets,
}

impl Delivery {
    pub(super) fn new(config: &StoreConfig) -> Self {
        Self { ready: VecDeque::new(), budgets: Budgets::new(config) }
    }

    /// All sessions are gone.
    pub(super) fn clear(&mut self) {
        self.ready.clear();
        self.budgets.clear();
    }

    /// The state of a session that is attached now.
    pub(super) fn begin(&self, start: Start) -> Attachment {
        Attachment::new(start, &self.budgets)
    }

    /// A session was ended that holds this memory until `client-edge` confirms its end.
    pub(super) const fn begin_leaving(&mut self, held: &BytePermit) {
        self.budgets.begin_leaving(held);
    }

    /// `client-edge` has let go of this memory.
    pub(super) fn end_leaving(&mut self, held: BytePermit) {
        self.budgets.end_leaving(held);
    }

    /// When sessions that wait for memory look again.
    pub(super) const fn due(&self) -> Option<Instant> {
        self.budgets.due()
    }

    /// Shows how much memory is in use.
    pub(super) fn show(&self, counters: &StoreCounters) {
        self.budgets.show(counters);
    }

    /// Memory in use for what was pushed and for what was read.
    #[cfg(test)]
    pub(super) fn used(&self) -> [u64; 2] {
        self.budgets.used()
    }

    /// How often a session to end was searched for.
    #[cfg(test)]
    pub(super) const fn searches(&self) -> u32 {
        self.budgets.searches()
    }
}

impl<M: Mailbox> Core<M> {
    /// Whether a session may have something to push.
    pub fn has_pushes(&self) -> bool {
        !self.delivery.ready.is_empty()
    }

    /// The next message to push, if any session has one and credit for it. It counts as pushed. There is none as long as
    /// `client-edge` is to be told something: looking for memory may end a session and attach another, and `client-edge` has to
    /// know that before mail for the other comes.
    pub fn next_push(&mut self, now: Instant) -> Option<StoreToEdge> {
        self.resume_reading();
        while self.effects.to_edge.is_empty()
            && let Some(session) = self.delivery.ready.pop_front()
        {
            let session_ref = self.sessions.reference(session);
            let Some(attachment) = self.sessions.attachment_mut(session) else { continue };
            attachment.leave_queue();
            let client = attachment.client();
            let Some(inbox) = self.inboxes.get(&client) else { continue };
            match attachment.step(inbox, now) {
                Step::Push(sequence, message) => {
                    attachment.enter_queue();
                    self.delivery.ready.push_back(session);
                    count(&self.counters.pushed);
                    return Some(StoreToEdge {
                        session,
                        answer: SessionAnswer::PushMessage { sequence, message: Opaque(message) },
                    });
                }
                Step::Read(from, to, limit) => {
                    self.effects.jobs.push(Job::Peek { session_ref, client, range: (from, to), limit });
                }
                Step::AwaitReading => self.await_reading(session),
                Step::AwaitMemory => self.await_memory(session, now),
                Step::Pause => count(&self.counters.client_buffers_full),
                Step::Wait => {}
            }
        }
        None
    }

    /// The session may have something to push.
    pub(super) fn wake(&mut self, session: SessionId) {
        if let Some(attachment) = self.sessions.attachment_mut(session)
            && attachment.enter_queue()
        {
            self.delivery.ready.push_back(session);
        }
    }

    /// A page of mail was read.
    pub(super) fn peeked(&mut self, session_ref: SessionRef, outcome: Result<Page, MailboxError>, now: Instant) {
        if let Err(error) = &outcome {
            self.note_failure(error, now);
        }
        let Some(session) = self.sessions.session_of(session_ref) else { return };
        let Some(attachment) = self.sessions.attachment_mut(session) else { return };
        let client = attachment.client();
        // After a failure the session is woken when storage works again.
        let Ok(page) = outcome else { return attachment.page_failed() };
        if let Some(inbox) = self.inboxes.get_mut(&client) {
            for (sequence, len) in &page.unreadable {
                if inbox.set_aside(*sequence, *len, page.ack_of(*sequence)) {
                    self.commits.mail_mut().set_aside(client, *sequence);
                }
            }
        }
        attachment.page_arrived(page);
        self.wake(session);
    }
}
