//! What is kept for too long goes: messages older than `message_age`, and clients not seen for `client_idle`, with their mail.
//!
//! Once in a while everything is gone through: first the ledger, then the inboxes, a page at a time, and only while little
//! waits for the disk, so that nobody is held up. A client that is attached is being seen, and its mail is on its way to it.
//! One who is not seen for too long is forgotten like one who asks for it: mail refused, entry removed, mail removed.
//!
//! What time it is, is asked once for each sweep; while the clock is in doubt there is none. What was removed is counted, and
//! said, when that is committed.

use std::time::{Duration, Instant};

use session_ipc::{Sequence, StoreToEdge};
use wire::address::ClientAddress;
use worker::counter::count;

use super::{Job, Office, Rules, storage::Storage};
use crate::mailbox::{Committed, LedgerEntry, Mailbox, MailboxError, OldMail, Position, SeenClients};

/// The longest time between two sweeps.
const LONGEST_PERIOD: Duration = Duration::from_secs(3_600);
/// Between two pages of one sweep.
const PAUSE: Duration = Duration::from_millis(10);
/// An attached client's entry says at least this exactly when it was last seen.
const SEEN_AGAIN: Duration = Duration::from_secs(86_400);
/// Changes that wait for the disk, beyond which the sweep waits, too.
const WAITING_CHANGES: usize = 2_048;
/// Clients forgotten for one page of the ledger; the others are found by the next sweep.
const FORGOTTEN_AT_ONCE: usize = 16;

/// A page to be read.
#[derive(Clone, Debug)]
pub enum SweepPage {
    /// The clock.
    Clock,
    /// Of the ledger: clients behind this one.
    Clients {
        /// Behind whom, if not from the beginning.
        after: Option<ClientAddress>,
        /// When the sweep began, since 1970.
        now: Duration,
    },
    /// Of the inboxes: messages that arrived before this time.
    Mail {
        /// From here on.
        from: Position,
        /// Before then, since 1970.
        before: Duration,
    },
}

impl SweepPage {
    /// Reads the page; the clock says `now`, since 1970.
    ///
    /// # Errors
    /// If ledger or inboxes cannot be read.
    pub fn read(&self, mailbox: &impl Mailbox, now: Duration) -> Result<Swept, MailboxError> {
        match self {
            Self::Clock => Ok(Swept::Clock(mailbox.look_at_clock(now.as_secs())?.then_some(now))),
            Self::Clients { after, now } => Ok(Swept::Clients(mailbox.clients_after(*after)?, *now)),
            Self::Mail { from, before } => {
                let time = u64::try_from(before.as_millis()).unwrap_or(u64::MAX);
                Ok(Swept::Mail(mailbox.mail_before(time, from)?, *before))
            }
        }
    }
}

/// A page that was read.
#[derive(Debug)]
pub enum Swept {
    /// What time it is, since 1970, if that is not in doubt.
    Clock(Option<Duration>),
    /// Clients, and when the sweep began, since 1970.
    Clients(SeenClients, Duration),
    /// Messages that are too old, because they arrived before this time.
    Mail(OldMail, Duration),
}

/// How far the sweep has come.
#[derive(Debug)]
pub(super) struct Retention {
    /// When to read the next page; nothing while one is being read.
    pub(super) due: Option<Instant>,
    next: SweepPage,
    /// Before this the clock is looked at, and no more.
    begins: Instant,
    /// What has been removed, and not been spoken of.
    messages: u64,
    clients: u64,
}

impl Retention {
    pub(super) fn new(rules: &Rules, now: Instant) -> Self {
        Self { due: Some(now), next: SweepPage::Clock, begins: now + period(rules), messages: 0, clients: 0 }
    }

    fn rest_until(&mut self, begins: Instant) {
        (self.next, self.begins, self.due) = (SweepPage::Clock, begins, Some(begins));
    }
}

/// Often enough that nothing stays for much longer than it may.
fn period(rules: &Rules) -> Duration {
    (rules.message_age.min(rules.client_idle) / 4).min(LONGEST_PERIOD)
}

impl<M: Mailbox> Office<M> {
    /// Has the next page read if it is time.
    pub(super) fn sweep(&mut self, now: Instant) {
        if self.retention.due.is_none_or(|due| due > now) {
            return;
        }
        let busy = self.batch.len() > WAITING_CHANGES || self.ledger.len() > WAITING_CHANGES;
        if self.outlook.storage == Storage::Broken || busy {
            self.retention.due = Some(now + PAUSE);
            return;
        }
        self.retention.due = None;
        self.orders.jobs.push(Job::Sweep(self.retention.next.clone()));
    }

    /// A page was read.
    pub fn swept(&mut self, outcome: Result<Swept, MailboxError>, now: Instant) {
        let next = match outcome {
            Ok(Swept::Clock(_)) if now < self.retention.begins => {
                return self.retention.rest_until(self.retention.begins);
            }
            Ok(Swept::Clock(clock)) => clock.map(|now| SweepPage::Clients { after: None, now }),
            Ok(Swept::Clients(page, clock)) => {
                self.look_at_clients(&page, clock.as_secs(), now);
                let before = clock.saturating_sub(self.rules.message_age);
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
                self.trouble(&error, now);
                None
            }
        };
        match next {
            Some(next) => (self.retention.next, self.retention.due) = (next, Some(now + PAUSE)),
            None => {
                self.retention.rest_until(now + period(&self.rules));
                self.speak_of_removals();
            }
        }
    }

    /// Counts what a commit has removed because it was too old, and confirms to whoever wanted to be forgotten that it is.
    pub(super) fn removed(&mut self, committed: &Committed) {
        for _ in committed.batch().expirations() {
            count(&self.counters.messages_expired);
            self.retention.messages += 1;
        }
        for client in committed.batch().erased() {
            match self.forgetting.remove(client) {
                Some(Some(visit)) if visit.edge == self.edge => {
                    self.orders.to_edge.push(StoreToEdge::ConfirmForgotten { session: visit.session });
                }
                Some(None) => {
                    count(&self.counters.clients_expired);
                    self.retention.clients += 1;
                }
                Some(Some(_)) | None => {}
            }
        }
        self.speak_of_removals();
    }

    /// Says what was removed, once for each sweep, when all of it is committed.
    fn speak_of_removals(&mut self) {
        let Retention { messages, clients, next, .. } = &self.retention;
        let nothing = *messages == 0 && *clients == 0;
        if nothing || !matches!(next, SweepPage::Clock) || self.committing_mail {
            return;
        }
        if self.batch.expirations().next().is_some() || self.forgetting.values().any(Option::is_none) {
            return;
        }
        tracing::info!(messages, clients, "removed old messages, and clients that were not seen for long");
        (self.retention.messages, self.retention.clients) = (0, 0);
    }

    fn look_at_clients(&mut self, page: &SeenClients, wall_clock: u64, now: Instant) {
        let mut forgotten = 0;
        for (client, seen) in &page.clients {
            if self.is_contested(client) {
                continue;
            }
            let unseen = seen.map(|seen| Duration::from_secs(wall_clock.saturating_sub(seen)));
            let is_attached = self.inboxes.get(client).is_some_and(|inbox| inbox.attached.is_some());
            match unseen {
                // Taken over from nym-gateway 0.10, which kept no such time.
                None => self.saw(*client, wall_clock),
                Some(unseen) if is_attached && unseen >= SEEN_AGAIN.min(self.rules.client_idle / 4) => {
                    self.saw(*client, wall_clock);
                }
                Some(unseen) if !is_attached && unseen >= self.rules.client_idle && forgotten < FORGOTTEN_AT_ONCE => {
                    // It may have come and gone since the page was read.
                    match self.mailbox.last_seen(client) {
                        Ok(latest) if latest == *seen => {
                            forgotten += 1;
                            self.forget_idle(*client);
                        }
                        Ok(_) => {}
                        Err(error) => return self.trouble(&error, now),
                    }
                }
                Some(_) => {}
            }
        }
    }

    fn saw(&mut self, client: ClientAddress, at: u64) {
        self.ledger.push(LedgerEntry::Seen { client, at }, None);
    }

    fn forget_idle(&mut self, client: ClientAddress) {
        self.abandon(&client);
        self.forgetting.insert(client, None);
        self.ledger.push(LedgerEntry::Forget { client }, None);
    }

    fn remove_old(&mut self, page: &OldMail, now: Instant) {
        for (client, sequence, len, ack) in &page.messages {
            if self.forgetting.contains_key(client) {
                continue;
            }
            let inbox = match self.inboxes.open(self.mailbox.as_ref(), client, &self.batch) {
                Ok(Some(inbox)) => inbox,
                Ok(None) => continue,
                Err(error) => {
                    self.trouble(&error, now);
                    continue;
                }
            };
            // Whatever is before a message that goes must be gone, or go, too.
            let newest = inbox.custody.keys().next().is_none_or(|held| sequence < held);
            let is_gone = *sequence < inbox.gone_end || inbox.has_given_way(*sequence, *ack);
            if inbox.attached.is_some() || is_gone || !newest {
                continue;
            }
            inbox.gone_end = Sequence(sequence.0 + 1);
            inbox.stored.sub(*len, *ack);
            self.batch.expire(*client, *sequence);
        }
    }
}
