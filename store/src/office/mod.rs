//! The post office decides: what is accepted, who is attached, what is pushed, what is written and what is removed.
//!
//! *Trusts* its peers as far as their links say; every request is checked against the phase of its session. *Holds* all
//! mail that is not yet accepted, and what is known of each inbox in use. *Promises*:
//!
//! - A delivery is accepted only with a proof (`custody::Proof`): a commit that holds the message, or the client's receipt.
//! - A message is removed only on its client's receipt, or because it is too old, or, if it came without a SURB-ack, for a newer such.
//! - An inbox is pushed in the order of its sequence numbers, from the oldest unproved message on, without a gap but for what has
//!   given way.
//! - No I/O but look-ups in the [`Mailbox`]: what takes time becomes a [`Job`] for the [`service`](crate::service).
//!
//! A message that has arrived is in exactly one state: *live* (in memory; pushed or about to be), *spilling* (being written;
//! still in memory), *stored* (on disk only). A receipt ends each of them; one that comes while spilling accepts at once
//! and removes after the commit.

mod ackless;
mod attachment;
mod budgets;
mod custody;
mod desk;
mod done;
mod inbox;
mod ledger_commits;
mod login_limit;
mod orders;
mod push;
mod refused_login;
mod retention;
mod shares;
mod storage;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use bytes::Bytes;
use client_wire::{handshake::HandshakeError, login::LoginProof};
use ipc::{
    credit::{Credit, Window},
    ingress_store::{Ack, DeliveryId},
};
use session_ipc::{EdgeToStore, EndReason, Sequence, SessionId, StoreToEdge};
use wire::address::ClientAddress;
use worker::counter::count;

use crate::{
    counters::StoreCounters,
    mailbox::{Committed, Filling, LedgerRoom, MailBatch, Mailbox, MailboxError, Page, PageLimit, Uncommitted},
    registrar::{Begun, Registration},
};
use budgets::Budgets;
use desk::{Denial, Session};
pub use done::Done;
use inbox::{Inboxes, Load};
use ledger_commits::{Change, LedgerCommits};
use login_limit::LoginLimit;
pub use orders::{Job, Orders, Visit};
pub use refused_login::{Unproven, check_claim};
use retention::Retention;
pub use retention::{SweepPage, Swept};
use shares::Shares;
use storage::{Outlook, Storage};

/// Messages in one commit at the most: more than come during one, unless the disk is slow.
const COMMIT: PageLimit = PageLimit { messages: 1_024, bytes: 2 << 20 };

/// How often the classes of clients are kept: the rest of a class, and what was earned in this time, is lost with the process.
const KEEP_CLASSES: Duration = Duration::from_secs(60);

/// What the office is told by its configuration.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Pushed mail that is not proved received by then is written to disk.
    pub spill_after: Duration,
    /// Messages in one inbox at the most.
    pub inbox_messages: u64,
    /// Bytes of messages in one inbox at the most.
    pub inbox_bytes: u64,
    /// A client that has proved nothing yet may have one in so many of both stored, and more as it proves that it reads. With 1
    /// everybody may have all, however full the store is.
    pub newcomer_share: u32,
    /// Messages older than this are removed.
    pub message_age: Duration,
    /// Clients not seen for this long are forgotten.
    pub client_idle: Duration,
    /// What `mix-ingress` may deliver and not yet be answered; more is a violation.
    pub window: Window,
    /// Sessions that `client-edge` may have at once; more is a violation.
    pub max_sessions: usize,
    /// What may be pushed to one session and not yet be proved received; the rest waits on disk.
    pub session_credit: Window,
    /// Memory for what may be pushed to all sessions together and not yet be proved received.
    pub pushed_bytes: u64,
    /// Memory for mail that is read from disk and not pushed yet, for all sessions together.
    pub read_ahead_bytes: u64,
    /// Logins of one client in an hour, by token and as many signed ones.
    pub client_logins_per_hour: u32,
}

/// Why the office cannot go on as before.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// `mix-ingress` broke a rule: drop its link.
    #[error("mix-ingress: {0}")]
    IngressViolation(#[from] ipc::ingress_store::Rule),
    /// `client-edge` broke a rule: drop its link.
    #[error("client-edge: {0}")]
    EdgeViolation(#[from] session_ipc::Rule),
    /// A job ended without an outcome, which is a bug.
    #[error("a job of the store ended without an outcome")]
    JobDied,
}

/// The office.
pub struct Office<M> {
    mailbox: Arc<M>,
    rules: Rules,
    counters: Arc<StoreCounters>,
    inboxes: Inboxes,
    shares: Shares,
    /// How full the mail was after the last commit.
    filling: Filling,
    /// When changed classes may be kept next.
    keep_classes_at: Instant,
    sessions: HashMap<SessionId, Session>,
    /// Clients about whom something is being decided, and for which session: one at a time.
    claims: HashMap<ClientAddress, SessionId>,
    /// Sessions that may have something to push, in turn.
    ready: VecDeque<SessionId>,
    /// When live mail is to be written, in order of time.
    spills: VecDeque<(Instant, ClientAddress, Sequence)>,
    /// When a probed session counts as dead, in order of time: the probed one and the newcomer.
    probes: VecDeque<(Instant, SessionId, SessionId)>,
    /// Goes to disk with the next commits.
    batch: MailBatch,
    /// The inbox whose changes the last commit took last.
    committed_last: Option<ClientAddress>,
    committing_mail: bool,
    /// On its way to the ledger.
    ledger: LedgerCommits,
    logins: LoginLimit,
    /// Clients who are to be forgotten and are not yet, and who waits for that, if anybody. To everybody else they are gone.
    forgetting: HashMap<ClientAddress, Option<Visit>>,
    /// Which incarnation of `mix-ingress` is connected, and what it may still deliver.
    ingress: u64,
    window: Credit,
    /// Which incarnation of `client-edge` is connected.
    edge: u64,
    outlook: Outlook,
    retention: Retention,
    budgets: Budgets,
    orders: Orders,
}

impl<M: Mailbox> Office<M> {
    /// An office that knows nobody yet.
    pub fn new(mailbox: Arc<M>, rules: Rules, counters: Arc<StoreCounters>, now: Instant) -> Self {
        let whole = Load { messages: rules.inbox_messages, bytes: rules.inbox_bytes };
        let shares = Shares::new(whole, rules.newcomer_share);
        Self {
            filling: mailbox.filling(),
            keep_classes_at: now + KEEP_CLASSES,
            shares,
            mailbox,
            retention: Retention::new(&rules, now),
            budgets: Budgets::new(&rules),
            rules,
            counters,
            inboxes: Inboxes::new(shares),
            sessions: HashMap::new(),
            claims: HashMap::new(),
            ready: VecDeque::new(),
            spills: VecDeque::new(),
            probes: VecDeque::new(),
            batch: MailBatch::default(),
            committed_last: None,
            committing_mail: false,
            ledger: LedgerCommits::default(),
            logins: LoginLimit::new(rules.client_logins_per_hour, now),
            forgetting: HashMap::new(),
            ingress: 0,
            window: Credit::new(rules.window),
            edge: 0,
            outlook: Outlook::default(),
            orders: Orders::default(),
        }
    }

    /// A new `mix-ingress` is connected. What its predecessor delivered stays in custody; nobody is answered for it.
    pub fn ingress_up(&mut self) {
        self.ingress += 1;
        self.window = Credit::new(self.rules.window);
    }

    /// A delivery.
    ///
    /// # Errors
    /// If it breaks a rule.
    pub fn ingress_delivers(
        &mut self,
        delivery: DeliveryId,
        destination: ClientAddress,
        message: (Bytes, Ack),
        now: Instant,
    ) -> Result<(), Fault> {
        self.deliver(delivery, destination, message, now)
    }

    /// A new `client-edge` is connected; its predecessor's sessions are gone.
    pub fn edge_up(&mut self) {
        self.edge += 1;
    }

    /// `client-edge` is gone, and with it every session: their unproved mail is written at once.
    pub fn edge_down(&mut self) {
        let attached: BTreeSet<ClientAddress> = self.sessions.values().filter_map(Session::attached_client).collect();
        self.sessions.clear();
        self.claims.clear();
        self.ready.clear();
        self.probes.clear();
        self.budgets.clear();
        self.orders.to_edge.clear();
        for client in attached {
            self.spill_all(&client);
        }
    }

    /// A request of a session.
    ///
    /// # Errors
    /// If it breaks a rule.
    pub fn edge_says(&mut self, request: EdgeToStore, now: Instant) -> Result<(), Fault> {
        self.serve(request, now)
    }

    /// When [`tick`](Self::tick) is due.
    pub fn deadline(&self) -> Option<Instant> {
        let spill = self.spills.front().map(|(at, ..)| *at);
        let probe = self.probes.front().map(|(at, ..)| *at);
        let classes = self.may_keep_classes().then_some(self.keep_classes_at);
        let (storage, retention, memory) = (self.outlook.retry_at, self.retention.due, self.budgets.look_again);
        [spill, probe, classes, storage, retention, memory].into_iter().flatten().min()
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Instant) {
        while let Some((_, client, sequence)) = self.spills.pop_front_if(|(at, ..)| *at <= now) {
            self.spill(&client, sequence);
        }
        while let Some((_, old, newcomer)) = self.probes.pop_front_if(|(at, ..)| *at <= now) {
            self.probe_over(old, newcomer, now);
        }
        self.look_again(now);
        self.retry_storage(now);
        self.sweep(now);
        if self.may_keep_classes() && self.keep_classes_at <= now {
            self.keep_classes_at = now + KEEP_CLASSES;
            self.orders.jobs.push(Job::KeepClasses(self.inboxes.take_changed_classes()));
        }
    }

    /// A database that has failed once takes nothing more, so it is left alone while that may happen.
    fn may_keep_classes(&self) -> bool {
        self.inboxes.has_changed_classes() && self.outlook.storage < Storage::Full
    }

    /// Classes were kept, or not: then they are earned anew after the next start.
    pub fn classes_kept(outcome: &Result<(), MailboxError>) {
        if let Err(error) = outcome {
            tracing::debug!(%error, "what clients have proved to read cannot be kept");
        }
    }

    /// What is to be done now. Starts a commit whenever there is something to commit and none is under way, so whatever
    /// comes during a commit goes into the next.
    pub fn take_orders(&mut self) -> Orders {
        self.counters.pushed_memory.store(self.budgets.pushed.used(), Relaxed);
        self.counters.read_ahead_memory.store(self.budgets.read_ahead.used(), Relaxed);
        let broken = self.outlook.storage == Storage::Broken;
        if !self.committing_mail && !self.batch.is_empty() && !broken {
            let batch = self.batch.take_part(COMMIT, &mut self.committed_last);
            self.inboxes.commit_begins(&batch);
            self.committing_mail = true;
            self.orders.jobs.push(Job::CommitMail(batch));
        }
        if !broken && let Some(entries) = self.ledger.begin() {
            self.orders.jobs.push(Job::CommitLedger(entries));
        }
        std::mem::take(&mut self.orders)
    }

    /// Whether there is anything to do that [`take_orders`](Self::take_orders) has not handed out.
    pub fn has_orders(&self) -> bool {
        !self.orders.jobs.is_empty() || !self.orders.to_edge.is_empty() || !self.orders.to_ingress.is_empty()
    }

    /// The mail commit under way is over.
    pub fn mail_committed(&mut self, outcome: Result<Committed, Box<Uncommitted>>, now: Instant) {
        self.committing_mail = false;
        self.filling = self.mailbox.filling();
        match outcome {
            Ok(committed) => {
                count(&self.counters.mail_commits);
                self.removed(&committed);
                self.settle(&committed);
                self.inboxes.commit_ends(committed.batch());
            }
            Err(uncommitted) => {
                self.commit_failed(&uncommitted.error, now);
                self.unsettle(&uncommitted.batch);
                self.inboxes.commit_ends(&uncommitted.batch);
            }
        }
    }

    /// The ledger commit under way is over.
    pub fn ledger_committed(&mut self, outcome: Result<(), MailboxError>, now: Instant) {
        match &outcome {
            Ok(()) => count(&self.counters.ledger_commits),
            Err(error) => self.commit_failed(error, now),
        }
        let has_grown = outcome.is_ok() && matches!(self.mailbox.ledger_room(), Ok(LedgerRoom::Outgrown));
        for written in self.ledger.end(outcome.is_err()) {
            // What is in the ledger counts whether or not somebody still waits for it.
            if let (Ok(()), Change::Registered(client, kind)) = (&outcome, written.change) {
                self.inboxes.registered(&client, kind);
            }
            let here = written.visit.filter(|visit| visit.edge == self.edge).map(|visit| visit.session);
            match (&outcome, written.change, here) {
                (Ok(()), Change::Forgotten(client), _) => {
                    self.inboxes.remove(&client);
                    self.batch.erase(client);
                }
                (Err(_), Change::Forgotten(client), here) => {
                    self.forgetting.remove(&client);
                    if let Some(session) = here {
                        let reason = EndReason::StorageFailed;
                        self.orders.to_edge.push(StoreToEdge::EndSession { session, reason });
                    }
                }
                (Ok(()), _, Some(session)) => self.claim_written(session, now),
                (Err(_), _, Some(session)) => self.refuse_claim(session, Denial::StorageFailed),
                (_, _, None) => {}
            }
        }
        if has_grown {
            self.rewrite_ledger(now);
        }
    }

    /// A page of mail was read.
    pub fn peeked(&mut self, visit: Visit, outcome: Result<Page, MailboxError>, now: Instant) {
        if let Err(error) = &outcome {
            self.trouble(error, now);
        }
        if visit.edge == self.edge {
            self.page_arrived(visit.session, outcome.ok());
        }
    }

    /// A first handshake message was answered, or refused.
    pub fn handshake_begun(&mut self, visit: Visit, outcome: Result<(Box<Begun>, Vec<u8>), HandshakeError>) {
        if visit.edge == self.edge {
            self.begun(visit.session, outcome);
        }
    }

    /// A second handshake message was checked.
    pub fn handshake_finished(&mut self, visit: Visit, outcome: Result<Registration, HandshakeError>, now: Instant) {
        if visit.edge == self.edge {
            self.finished(visit.session, outcome, now);
        }
    }

    /// What of a login needs no ledger was checked.
    pub fn login_checked(&mut self, visit: Visit, outcome: Result<Box<LoginProof>, Unproven>, now: Instant) {
        if visit.edge == self.edge {
            self.log_in(visit.session, outcome, now);
        }
    }

    /// Writes everything that is only in memory, before the end.
    pub fn spill_everything(&mut self) {
        for client in self.inboxes.with_live_mail() {
            self.spill_all(&client);
        }
    }

    /// Whether nothing waits for the disk, or waiting is in vain.
    pub fn is_settled(&self) -> bool {
        let waiting = !self.batch.is_empty() || !self.ledger.is_empty();
        let under_way = self.committing_mail || self.ledger.is_committing();
        !under_way && (!waiting || self.outlook.storage == Storage::Broken)
    }

    fn visit(&self, session: SessionId) -> Visit {
        Visit { edge: self.edge, session }
    }
}
