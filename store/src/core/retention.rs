//! What is kept for too long goes: messages older than `message_age`, and clients not seen for `client_idle`, with their mail.
//!
//! A sweep goes through everything: first the ledger, then the inboxes, a page at a time, and only while little waits for the disk,
//! so that it delays nobody. A client that is attached is being seen, and its mail is on its way to it. A client that is not seen for
//! too long is forgotten like one that asks for it: mail refused, entry removed, mail removed.
//!
//! One clock reading per sweep; no sweep while the clock is in doubt. What was removed is counted, and logged, when that is
//! committed.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use ipc::{control::StoreConfig, operator::StoreAnswer};
use session_ipc::{SessionAnswer, StoreToEdge};
use wire::address::ClientAddress;
use worker::counter::count;

use super::{
    Core,
    effects::Job,
    question::QuestionId,
    session_ref::SessionRef,
    sweep::{SweepPage, Swept},
};
use crate::mailbox::{Committed, LedgerEntry, Mailbox, MailboxError, OldMail, Position, SeenClients};

/// The longest time between two sweeps.
const LONGEST_PERIOD: Duration = Duration::from_secs(3_600);
/// Between two pages of one sweep.
const PAUSE: Duration = Duration::from_millis(10);
/// While a client is attached, the time at which it was last seen is rewritten after this.
const SEEN_AGAIN: Duration = Duration::from_secs(86_400);
/// Changes that wait for the disk, beyond which the sweep waits, too.
const WAITING_CHANGES: usize = 2_048;
/// Clients forgotten for one page of the ledger; the others are found by the next sweep.
const FORGOTTEN_AT_ONCE: usize = 16;

/// What is to be removed, and how far the sweep has come.
///
/// *Promises*: a client is in `forgetting` from the moment on at which its mail is refused until nothing of it is on disk, or until
/// its entry could not be removed. At most one page is being read.
#[derive(Debug)]
pub(super) struct Retention {
    /// When to read the next page; nothing while one is being read.
    due: Option<Instant>,
    next: SweepPage,
    /// Before this only the clock is read.
    begins: Instant,
    period: Duration,
    /// Clients that are being forgotten, and for whom. For everything else such a client is gone.
    forgetting: HashMap<ClientAddress, ForgottenFor>,
    /// What has been removed, and is not logged yet.
    messages: u64,
    clients: u64,
}

/// For whom a client is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ForgottenFor {
    /// It was not seen for too long.
    Age,
    /// The client itself, whose session waits.
    Client(SessionRef),
    /// The operator, whose question waits.
    Operator(QuestionId),
}

impl Retention {
    pub(super) fn new(config: &StoreConfig, now: Instant) -> Self {
        // Often enough that nothing stays for much longer than it may.
        let period = (config.message_age.min(config.client_idle) / 4).min(LONGEST_PERIOD);
        Self {
            due: Some(now),
            next: SweepPage::Clock,
            begins: now + period,
            period,
            forgetting: HashMap::new(),
            messages: 0,
            clients: 0,
        }
    }

    /// When to read the next page.
    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether the client is to be forgotten.
    pub(super) fn is_forgetting(&self, client: &ClientAddress) -> bool {
        self.forgetting.contains_key(client)
    }

    /// The client's entry could not be removed: it stays a client. Returns for whom it was to be forgotten.
    pub(super) fn keep_client(&mut self, client: &ClientAddress) -> Option<ForgottenFor> {
        self.forgetting.remove(client)
    }

    /// Clients that are being forgotten.
    #[cfg(test)]
    pub(super) fn forgetting(&self) -> usize {
        self.forgetting.len()
    }

    fn rest_until(&mut self, begins: Instant) {
        (self.next, self.begins, self.due) = (SweepPage::Clock, begins, Some(begins));
    }
}

impl<M: Mailbox> Core<M> {
    /// Has the next page read if it is time.
    pub(super) fn sweep(&mut self, now: Instant) {
        if self.retention.due.is_none_or(|due| due > now) {
            return;
        }
        let is_busy = self.commits.mail().len() > WAITING_CHANGES || self.commits.ledger().len() > WAITING_CHANGES;
        if self.health.is_broken() || is_busy {
            self.retention.due = Some(now + PAUSE);
            return;
        }
        self.retention.due = None;
        self.effects.jobs.push(Job::Sweep(self.retention.next.clone()));
    }

    /// A page was read.
    pub(super) fn swept(&mut self, outcome: Result<Swept, MailboxError>, now: Instant) {
        let next = match outcome {
            Ok(Swept::Clock(_)) if now < self.retention.begins => {
                return self.retention.rest_until(self.retention.begins);
            }
            Ok(Swept::Clock(clock)) => clock.map(|now| SweepPage::Clients { after: None, now }),
            Ok(Swept::Clients(page, clock)) => {
                self.scan_clients(&page, clock.as_secs(), now);
                let before = clock.saturating_sub(self.config.message_age);
                Some(match page.next {
                    Some(last) => SweepPage::Clients { after: Some(last), now: clock },
                    None => SweepPage::Mail { from: Position::default(), before },
                })
            }
            Ok(Swept::Mail(page, before)) => {
                self.remove_old(&page, now);
                page.next.map(|from| SweepPage::Mail { from, before })
            }
            Err(error) => {
                self.note_failure(&error, now);
                None
            }
        };
        match next {
            Some(next) => (self.retention.next, self.retention.due) = (next, Some(now + PAUSE)),
            None => {
                self.retention.rest_until(now + self.retention.period);
                self.log_removals();
            }
        }
    }

    /// Counts what a commit has removed because it was too old, and confirms to a client that wanted to be forgotten that it is.
    pub(super) fn removed(&mut self, committed: &Committed) {
        for _ in committed.batch().expirations() {
            count(&self.counters.messages_expired);
            self.retention.messages += 1;
        }
        for client in committed.batch().erased() {
            match self.retention.forgetting.remove(client) {
                Some(ForgottenFor::Client(waiting)) => {
                    if let Some(session) = self.sessions.session_of(waiting) {
                        self.effects.to_edge.push(StoreToEdge { session, answer: SessionAnswer::ConfirmForgotten });
                    }
                }
                Some(ForgottenFor::Operator(question)) => {
                    tracing::info!("a client was forgotten by order of the operator");
                    self.effects.to_operator.push((question, StoreAnswer::Forgotten));
                }
                Some(ForgottenFor::Age) => {
                    count(&self.counters.clients_expired);
                    self.retention.clients += 1;
                }
                None => {}
            }
        }
        self.log_removals();
    }

    /// Logs what was removed, once for each sweep, when all of it is committed.
    fn log_removals(&mut self) {
        let Retention { messages, clients, next, forgetting, .. } = &self.retention;
        let is_nothing = *messages == 0 && *clients == 0;
        if is_nothing || !matches!(next, SweepPage::Clock) || self.commits.is_committing_mail() {
            return;
        }
        if self.commits.mail().expirations().next().is_some()
            || forgetting.values().any(|whom| *whom == ForgottenFor::Age)
        {
            return;
        }
        tracing::info!(messages, clients, "removed old messages, and clients that were not seen for long");
        (self.retention.messages, self.retention.clients) = (0, 0);
    }

    /// Forgets clients that were not seen for too long, and marks attached ones as seen.
    fn scan_clients(&mut self, page: &SeenClients, wall_clock: u64, now: Instant) {
        let mut forgotten = 0;
        for (client, seen) in &page.clients {
            if self.is_contested(client) {
                continue;
            }
            let unseen = seen.map(|seen| Duration::from_secs(wall_clock.saturating_sub(seen)));
            let is_attached = self.inboxes.get(client).is_some_and(|inbox| inbox.attached().is_some());
            match unseen {
                // Taken over from nym-gateway 0.10, which kept no such time.
                None => self.mark_seen(*client, wall_clock),
                Some(unseen) if is_attached && unseen >= SEEN_AGAIN.min(self.config.client_idle / 4) => {
                    self.mark_seen(*client, wall_clock);
                }
                Some(unseen) if !is_attached && unseen >= self.config.client_idle && forgotten < FORGOTTEN_AT_ONCE => {
                    // It may have come and gone since the page was read.
                    match self.mailbox.last_seen(client) {
                        Ok(latest) if latest == *seen => {
                            forgotten += 1;
                            self.forget_client(*client, ForgottenFor::Age);
                        }
                        Ok(_) => {}
                        Err(error) => return self.note_failure(&error, now),
                    }
                }
                Some(_) => {}
            }
        }
    }

    fn mark_seen(&mut self, client: ClientAddress, at: u64) {
        self.commits.ledger_mut().push(LedgerEntry::Seen { client, at }, None);
    }

    /// Refuses the client's mail from now on and has its ledger entry removed; the mail goes when that is committed.
    pub(super) fn forget_client(&mut self, client: ClientAddress, whom: ForgottenFor) {
        self.abandon(&client);
        self.retention.forgetting.insert(client, whom);
        let waiting = match whom {
            ForgottenFor::Client(session) => Some(session),
            ForgottenFor::Age | ForgottenFor::Operator(_) => None,
        };
        self.commits.ledger_mut().push(LedgerEntry::Forget { client }, waiting);
    }

    fn remove_old(&mut self, page: &OldMail, now: Instant) {
        for (client, sequence, len, ack) in &page.messages {
            if self.retention.is_forgetting(client) {
                continue;
            }
            match self.inboxes.open(self.mailbox.as_ref(), client, self.commits.mail()) {
                Ok(Some(inbox)) => {
                    if inbox.expire(*sequence, *len, *ack) {
                        self.commits.mail_mut().expire(*client, *sequence);
                    }
                }
                Ok(None) => {}
                Err(error) => self.note_failure(&error, now),
            }
        }
    }
}
