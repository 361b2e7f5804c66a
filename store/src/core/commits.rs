//! What is on its way to the disk: mail for the next commit, ledger entries, and when live mail has to join them.
//!
//! At most one commit of mail and one of the ledger are under way. Whatever comes during a commit goes into the next.

pub(super) mod ledger;

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    time::Instant,
};

use ipc::{ingress_store::DeliveryRefusal, operator::StoreAnswer};
use session_ipc::{EndReason, Sequence, SessionAnswer, StoreToEdge};
use wire::address::ClientAddress;
use worker::counter::count;

use self::ledger::{LedgerChange, LedgerCommits};
use super::{Core, effects::Job, ingress::Proof, retention::ForgottenFor, sessions::Denial};
use crate::mailbox::{Committed, LedgerRoom, MailBatch, Mailbox, MailboxError, PageLimit, Uncommitted};

/// Messages in one commit at the most: more than come during one, unless the disk is slow.
const COMMIT: PageLimit = PageLimit { messages: 1_024, bytes: 2 << 20 };

/// What is on its way to the disk.
///
/// *Promises*: while a commit is under way no other of its kind begins, and deadlines of live mail are in order of time, because all
/// of it may wait equally long.
#[derive(Debug, Default)]
pub(super) struct Commits {
    /// Goes to disk with the next commits of mail.
    mail: MailBatch,
    /// The inbox whose changes the last commit took last.
    last_client: Option<ClientAddress>,
    is_committing_mail: bool,
    ledger: LedgerCommits,
    /// When live mail is to be written.
    spills: VecDeque<(Instant, ClientAddress, Sequence)>,
}

impl Commits {
    /// Changes to inboxes that wait for the next commit.
    pub(super) const fn mail(&self) -> &MailBatch {
        &self.mail
    }

    /// Changes to inboxes that wait for the next commit.
    pub(super) const fn mail_mut(&mut self) -> &mut MailBatch {
        &mut self.mail
    }

    /// Takes out all changes to inboxes that wait.
    pub(super) fn take_mail(&mut self) -> MailBatch {
        mem::take(&mut self.mail)
    }

    /// Entries on their way to the ledger.
    pub(super) const fn ledger(&self) -> &LedgerCommits {
        &self.ledger
    }

    /// Entries on their way to the ledger.
    pub(super) const fn ledger_mut(&mut self) -> &mut LedgerCommits {
        &mut self.ledger
    }

    /// Whether a commit of mail is under way.
    pub(super) const fn is_committing_mail(&self) -> bool {
        self.is_committing_mail
    }

    /// Whether anything waits for a commit.
    pub(super) fn is_waiting(&self) -> bool {
        !self.mail.is_empty() || !self.ledger.is_empty()
    }

    /// Whether a commit is under way.
    pub(super) const fn is_committing(&self) -> bool {
        self.is_committing_mail || self.ledger.is_committing()
    }

    /// Has a live message written at this time, unless it is gone by then.
    pub(super) fn spill_at(&mut self, at: Instant, client: ClientAddress, sequence: Sequence) {
        self.spills.push_back((at, client, sequence));
    }

    /// When the next live message is to be written.
    pub(super) fn spill_due(&self) -> Option<Instant> {
        self.spills.front().map(|(at, ..)| *at)
    }

    /// The next live message that is to be written by now.
    pub(super) fn next_spill(&mut self, now: Instant) -> Option<(ClientAddress, Sequence)> {
        let (_, client, sequence) = self.spills.pop_front_if(|(at, ..)| *at <= now)?;
        Some((client, sequence))
    }

    /// Has the commit of mail that is under way never end, and another begin.
    #[cfg(test)]
    pub(super) const fn lose_commit(&mut self) {
        self.is_committing_mail = false;
    }

    /// What mail to commit now, unless a commit is under way.
    fn begin_mail(&mut self) -> Option<MailBatch> {
        if self.is_committing_mail || self.mail.is_empty() {
            return None;
        }
        self.is_committing_mail = true;
        Some(self.mail.take_part(COMMIT, &mut self.last_client))
    }
}

impl<M: Mailbox> Core<M> {
    /// Starts a commit of each kind that has something to commit.
    pub(super) fn begin_commits(&mut self) {
        if let Some(batch) = self.commits.begin_mail() {
            self.inboxes.commit_begins(&batch);
            self.effects.jobs.push(Job::CommitMail(batch));
        }
        if let Some(entries) = self.commits.ledger.begin() {
            self.effects.jobs.push(Job::CommitLedger(entries));
        }
    }

    /// The mail commit under way is over.
    pub(super) fn mail_committed(&mut self, outcome: Result<Committed, Box<Uncommitted>>, now: Instant) {
        self.commits.is_committing_mail = false;
        self.health.set_filling(self.mailbox.filling());
        match outcome {
            Ok(committed) => {
                count(&self.counters.mail_commits);
                self.removed(&committed);
                self.accept_committed(&committed);
                self.inboxes.commit_ends(committed.batch());
            }
            Err(uncommitted) => {
                self.commit_failed(&uncommitted.error, now);
                self.requeue_failed_commit(&uncommitted.batch);
                self.inboxes.commit_ends(&uncommitted.batch);
            }
        }
    }

    /// Accepts what a commit has made durable, and logs what it has set aside.
    fn accept_committed(&mut self, committed: &Committed) {
        let mut set_aside: BTreeMap<ClientAddress, u64> = BTreeMap::new();
        for (client, _) in committed.batch().set_asides() {
            count(&self.counters.set_aside);
            *set_aside.entry(client).or_default() += 1;
        }
        for (inbox, records) in set_aside {
            tracing::error!(
                id = "GWD-S002", %inbox, records,
                "stored messages have an unknown form and are set aside; the disk may be damaged"
            );
        }
        for (client, sequence) in committed.batch().puts() {
            let Some(inbox) = self.inboxes.get_mut(&client) else { continue };
            // Otherwise it was received, or has given way, while it was being written, and its removal is under way.
            let Some(pending) = inbox.commit(sequence) else { continue };
            let session = inbox.attached();
            self.accept(pending.reply_to, pending.message.len(), &Proof::of_commit(committed));
            if let Some(session) = session {
                self.wake(session);
            }
        }
    }

    /// Refuses the messages of a failed commit, and puts every other change back to be tried again. A refused message is to be removed
    /// as well: part of a failed batch may be on disk all the same.
    pub(super) fn requeue_failed_commit(&mut self, batch: &MailBatch) {
        for (client, sequence) in batch.puts() {
            self.give_up(&client, sequence, DeliveryRefusal::StorageFailed);
            self.commits.mail.remove(client, sequence);
        }
        for (client, sequence) in batch.removals() {
            self.commits.mail.remove(client, sequence);
        }
        for (client, sequence) in batch.expirations() {
            self.commits.mail.expire(client, sequence);
        }
        for (client, sequence) in batch.set_asides() {
            self.commits.mail.set_aside(client, sequence);
        }
        for client in batch.erased() {
            self.commits.mail.erase(*client);
        }
    }

    /// The ledger commit under way is over.
    pub(super) fn ledger_committed(&mut self, outcome: Result<(), MailboxError>, now: Instant) {
        match &outcome {
            Ok(()) => count(&self.counters.ledger_commits),
            Err(error) => self.commit_failed(error, now),
        }
        let has_grown = outcome.is_ok() && matches!(self.mailbox.ledger_room(), Ok(LedgerRoom::Outgrown));
        for written in self.commits.ledger.end(outcome.is_err()) {
            let waiting = written.waiting.and_then(|waiting| self.sessions.session_of(waiting));
            match (outcome.is_ok(), written.change) {
                (true, LedgerChange::Forgotten(client)) => {
                    self.inboxes.remove(&client);
                    self.commits.mail.erase(client);
                    continue;
                }
                (false, LedgerChange::Forgotten(client)) => {
                    if let Some(ForgottenFor::Operator(question)) = self.retention.keep_client(&client) {
                        self.effects.to_operator.push((question, StoreAnswer::StorageFailed));
                    }
                    if let Some(session) = waiting {
                        self.effects.to_edge.push(StoreToEdge {
                            session,
                            answer: SessionAnswer::EndSession { reason: EndReason::StorageFailed },
                        });
                    }
                    continue;
                }
                // What is in the ledger counts whether or not a session still waits for it.
                (true, LedgerChange::Registered(client, kind)) => self.inboxes.registered(&client, kind),
                _ => {}
            }
            match (outcome.is_ok(), waiting) {
                (true, Some(session)) => self.claim_written(session, now),
                (false, Some(session)) => self.refuse_claim(session, Denial::StorageFailed),
                (_, None) => {}
            }
        }
        if has_grown {
            self.rewrite_ledger(now);
        }
    }
}
