//! What is kept for too long goes: messages older than `message_age`, and clients not seen for `client_idle`, with their mail.
//!
//! Once in a while everything is gone through: first the ledger, then the inboxes, a page at a time, and only while little
//! waits for the disk, so that nobody is held up. A client that is attached is being seen, and its mail is on its way to it.
//! One who is not seen for too long is forgotten like one who asks for it: mail refused, entry removed, mail removed.

use std::{
    mem,
    time::{Duration, Instant},
};

use proto::{address::ClientAddress, counter::count, ipc::store_edge::Sequence};

use super::{Job, Office, Rules, storage::Storage};
use crate::mailbox::{LedgerEntry, Mailbox, MailboxError, OldMail, Position, SeenClients};

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
    /// Of the ledger: clients behind this one.
    Clients(Option<ClientAddress>),
    /// Of the inboxes: messages older than this, from here on.
    Mail(Position, Duration),
}

/// A page that was read.
#[derive(Debug)]
pub enum Swept {
    /// Clients, and the time at which they were read, in seconds since 1970.
    Clients(SeenClients, u64),
    /// Messages that are too old.
    Mail(OldMail),
}

/// How far the sweep has come.
#[derive(Debug)]
pub(super) struct Retention {
    /// When to read the next page; nothing while one is being read.
    pub(super) due: Option<Instant>,
    next: SweepPage,
    /// What the sweep under way has removed.
    messages: u64,
    clients: u64,
}

impl Retention {
    pub(super) fn new(rules: &Rules, now: Instant) -> Self {
        Self { due: Some(now + period(rules)), next: SweepPage::Clients(None), messages: 0, clients: 0 }
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
        let busy = self.batch.len() > WAITING_CHANGES || self.entries.len() > WAITING_CHANGES;
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
            Ok(Swept::Clients(page, wall_clock)) => {
                self.look_at_clients(&page, wall_clock, now);
                Some(match page.next {
                    Some(last) => SweepPage::Clients(Some(last)),
                    None => SweepPage::Mail(Position::default(), self.rules.message_age),
                })
            }
            Ok(Swept::Mail(page)) => {
                self.remove_old(&page, now);
                page.next.map(|from| SweepPage::Mail(from, self.rules.message_age))
            }
            Err(error) => {
                self.trouble(&error, now);
                None
            }
        };
        if let Some(next) = next {
            self.retention.next = next;
            self.retention.due = Some(now + PAUSE);
            return;
        }
        let done = mem::replace(&mut self.retention, Retention::new(&self.rules, now));
        if done.messages > 0 || done.clients > 0 {
            tracing::info!(
                messages = done.messages,
                clients = done.clients,
                "removed old messages, and clients that were not seen for long"
            );
        }
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
        self.entries.push((LedgerEntry::Seen { client, at }, None));
    }

    fn forget_idle(&mut self, client: ClientAddress) {
        count(&self.counters.clients_expired);
        self.retention.clients += 1;
        self.abandon(&client);
        self.forgetting.insert(client, None);
        self.entries.push((LedgerEntry::Forget { client }, None));
    }

    fn remove_old(&mut self, page: &OldMail, now: Instant) {
        for (client, sequence, len) in &page.messages {
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
            if inbox.attached.is_some() || *sequence < inbox.gone_end || !newest {
                continue;
            }
            count(&self.counters.messages_expired);
            self.retention.messages += 1;
            inbox.gone_end = Sequence(sequence.0 + 1);
            inbox.stored.sub(*len);
            self.batch.remove(*client, *sequence);
            self.batch.summarize(*client, inbox.summary());
        }
    }
}
