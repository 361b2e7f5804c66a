//! Pushing mail: one message at a time for each session in turn, so that one full inbox delays nobody.

use std::time::Instant;

use ipc::Opaque;
use session_ipc::{SessionId, StoreToEdge};
use worker::counter::count;

use super::{Job, Office, attachment::Step, desk::Session};
use crate::mailbox::{Mailbox, Page};

impl<M: Mailbox> Office<M> {
    /// Whether a session may have something to push.
    pub fn has_pushes(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The next message to push, if any session has one and credit for it. It counts as pushed. There is none as long as
    /// `client-edge` is to be told something: looking for memory may end a session and attach another, of which it has to know
    /// before mail for that comes.
    pub fn next_push(&mut self, now: Instant) -> Option<StoreToEdge> {
        self.let_read();
        while self.orders.to_edge.is_empty()
            && let Some(session) = self.ready.pop_front()
        {
            let visit = self.visit(session);
            let Some(Session::Attached(attachment)) = self.sessions.get_mut(&session) else { continue };
            attachment.queued = false;
            let client = attachment.client;
            let Some(inbox) = self.inboxes.get(&client) else { continue };
            match attachment.step(inbox, now) {
                Step::Push(sequence, message) => {
                    attachment.queued = true;
                    self.ready.push_back(session);
                    count(&self.counters.pushed);
                    return Some(StoreToEdge::PushMessage { session, sequence, message: Opaque(message) });
                }
                Step::Read(from, to, limit) => {
                    self.orders.jobs.push(Job::Peek { visit, client, range: (from, to), limit });
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
        if let Some(Session::Attached(attachment)) = self.sessions.get_mut(&session)
            && !attachment.queued
        {
            attachment.queued = true;
            self.ready.push_back(session);
        }
    }

    pub(super) fn page_arrived(&mut self, session: SessionId, page: Option<Page>) {
        let Some(Session::Attached(attachment)) = self.sessions.get_mut(&session) else { return };
        let client = attachment.client;
        // After a failure the session is woken when storage works again.
        let Some(page) = page else { return attachment.page_failed() };
        if let Some(inbox) = self.inboxes.get_mut(&client) {
            for (sequence, len) in &page.unreadable {
                let ack = page.ack_of(*sequence);
                if !inbox.has_given_way(*sequence, ack) && inbox.set_aside.insert(*sequence) {
                    inbox.stored.sub(*len, ack);
                    self.batch.set_aside(client, *sequence);
                }
            }
        }
        attachment.page_arrived(page);
        self.wake(session);
    }
}
