//! What the store keeps its clients and their mail in: the mail log as it is, over a disk in memory, and the ledger that the core's
//! tests use.
//!
//! The real ledger's engine has threads of its own and no seed. So what is simulated of the ledger is when a commit of it is done,
//! fails, or is done though it fails; what its engine makes of a crash is tested elsewhere.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use client_wire::{key::SessionKey, login::Freshness};
use ipc::operator::{ClientCount, ClientKind};
use session_ipc::Sequence;
use wire::address::ClientAddress;

use crate::{
    clock::{self, LastRun},
    counters::StoreCounters,
    mail::{MailLog, Settings, shelf::memory::Memory},
    mailbox::{
        Class, Filling, InboxSize, Lack, LedgerEntry, LedgerRoom, MailBatch, Mailbox, MailboxError, Measure, OldMail,
        Page, PageLimit, Position, SeenClients, Summary,
        remembered::{Health, Remembered},
    },
};

/// Looks for room before a commit, in which the thread that cleans makes some: in the store it would be at work all the time.
const CLEANED_BEFORE: usize = 60;

/// What outlives a process.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    pub(super) disk: Memory,
    pub(super) ledger: Arc<Remembered>,
    last_run: Arc<Mutex<Option<LastRun>>>,
    /// The next commit of the ledger does so many entries, and then fails.
    pub(super) ledger_fails_after: Arc<Mutex<Option<usize>>>,
}

impl Machine {
    /// One that knew what time it is when the history began.
    pub(super) fn new(now: Duration) -> Self {
        Self {
            disk: Memory::of(ROOM),
            ledger: Arc::default(),
            last_run: Arc::new(Some(LastRun::at(now.as_secs())).into()),
            ledger_fails_after: Arc::default(),
        }
    }
}

/// Bytes free on a disk with room.
pub(super) const ROOM: u64 = 1 << 30;

/// Of one process.
#[derive(Debug)]
pub(super) struct Storage {
    machine: Machine,
    pub(super) mail: MailLog<Memory>,
    earliest: AtomicU64,
}

impl Storage {
    /// As [`DiskMailbox::open`](crate::disk_mailbox::DiskMailbox::open): what is in doubt is made sure of, numbers leap, and
    /// mail without an owner is removed.
    pub(super) fn open(
        machine: &Machine,
        settings: Settings,
        counters: &Arc<StoreCounters>,
    ) -> Result<Self, MailboxError> {
        let mail = MailLog::on(machine.disk.clone(), settings, Arc::clone(counters), clock::now())?;
        let earliest = machine.last_run.lock().unwrap().map_or(0, |run| run.believed);
        let storage = Self { machine: machine.clone(), mail, earliest: earliest.into() };
        storage.mail.leap();
        let mut orphans = MailBatch::default();
        for client in storage.mail.owners_after(None, usize::MAX) {
            if !storage.is_registered(&client) {
                orphans.erase(client);
            }
        }
        if !orphans.is_empty() {
            storage.commit_mail(&orphans)?;
        }
        Ok(storage)
    }

    /// Whether the client is in the ledger, whether or not that can be read now.
    pub(super) fn is_registered(&self, client: &ClientAddress) -> bool {
        self.machine.ledger.is_registered(client)
    }

    /// Everything that is stored for a client, however much.
    pub(super) fn all_of(&self, client: &ClientAddress) -> Page {
        let limit = PageLimit { messages: usize::MAX, bytes: usize::MAX };
        self.mail.peek(client, (Sequence(0), Sequence(u64::MAX)), limit)
    }

    fn date(&self) -> Duration {
        clock::now().max(Duration::from_secs(self.earliest.load(Relaxed)))
    }

    fn ledger(&self) -> &Remembered {
        self.machine.ledger.clock.store(self.date().as_secs(), Relaxed);
        &self.machine.ledger
    }
}

impl Mailbox for Storage {
    fn key_of(&self, client: &ClientAddress) -> Result<Option<SessionKey>, MailboxError> {
        self.ledger().key_of(client)
    }

    fn kind_of(&self, client: &ClientAddress) -> Result<Option<ClientKind>, MailboxError> {
        self.ledger().kind_of(client)
    }

    fn count_clients(&self) -> Result<ClientCount, MailboxError> {
        self.ledger().count_clients()
    }

    fn is_fresh(&self, client: &ClientAddress, freshness: &Freshness) -> Result<bool, MailboxError> {
        self.ledger().is_fresh(client, freshness)
    }

    fn commit_ledger(&self, entries: &[LedgerEntry]) -> Result<(), MailboxError> {
        if let Some(done) = self.machine.ledger_fails_after.lock().unwrap().take() {
            self.ledger().commit_ledger(&entries[..done.min(entries.len())])?;
            self.ledger().set(Health::Broken);
        }
        self.ledger().commit_ledger(entries)
    }

    fn summary_of(&self, client: &ClientAddress) -> Result<Summary, MailboxError> {
        Ok(self.mail.summary_of(client))
    }

    fn peek(
        &self,
        client: &ClientAddress,
        range: (Sequence, Sequence),
        limit: PageLimit,
    ) -> Result<Page, MailboxError> {
        Ok(self.mail.peek(client, range, limit))
    }

    fn last_seen(&self, client: &ClientAddress) -> Result<Option<u64>, MailboxError> {
        self.ledger().last_seen(client)
    }

    fn clients_after(&self, client: Option<ClientAddress>) -> Result<SeenClients, MailboxError> {
        self.ledger().clients_after(client)
    }

    fn check_clock(&self, now: u64) -> Result<bool, MailboxError> {
        let mut last = self.machine.last_run.lock().unwrap();
        let run = last.map_or_else(|| LastRun::at(now), |run| run.look(now));
        self.earliest.store(run.believed, Relaxed);
        *last = Some(run);
        Ok(run.doubted.is_none())
    }

    fn mail_before(&self, time: u64, from: &Position) -> Result<OldMail, MailboxError> {
        Ok(self.mail.mail_before(time, from))
    }

    fn oldest_ackless(&self, client: &ClientAddress, range: (Sequence, Sequence)) -> Option<Sequence> {
        self.mail.oldest_ackless(client, range)
    }

    fn commit_mail(&self, batch: &MailBatch) -> Result<(), MailboxError> {
        for _ in 0..CLEANED_BEFORE {
            if self.mail.may_grow() || self.mail.clean_up().is_err() {
                break;
            }
        }
        self.mail.commit(batch, self.date())
    }

    fn lack(&self) -> Result<Option<Lack>, MailboxError> {
        match self.ledger().lack()? {
            None => self.mail.lack(),
            lack => Ok(lack),
        }
    }

    fn ledger_room(&self) -> Result<LedgerRoom, MailboxError> {
        self.ledger().ledger_room()
    }

    fn measure(&self, whole: InboxSize) -> Result<Measure, MailboxError> {
        self.mail.measure(whole)
    }

    fn filling(&self) -> Filling {
        self.mail.filling()
    }

    fn class_of(&self, client: &ClientAddress) -> Class {
        self.ledger().class_of(client)
    }

    fn keep_classes(&self, classes: &[(ClientAddress, Class)]) -> Result<(), MailboxError> {
        self.ledger().keep_classes(classes)
    }

    fn reopen(&self) -> Result<(), MailboxError> {
        self.ledger().reopen()?;
        self.mail.try_out(self.date())
    }

    fn keep_reserve(&self) {}
}
