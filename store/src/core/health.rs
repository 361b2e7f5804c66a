//! How storage is doing. While it fails the core promises nothing, logs so, serves what it can, and tries again.
//!
//! | state | deliveries that need the disk | live mail | registrations | logins, stored mail |
//! |---|---|---|---|---|
//! | sound | yes | yes | yes | yes |
//! | no room for mail | refused | yes | yes | yes |
//! | full | refused | yes | refused | yes |
//! | broken | refused | yes, for clients that are attached | refused | refused |

use std::{
    collections::HashSet,
    mem,
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use wire::address::ClientAddress;

use super::{Core, effects::Job};
use crate::{
    counters::StoreCounters,
    mailbox::{Filling, Lack, LedgerRoom, Mailbox, MailboxError},
};

/// How long to wait before trying again.
const RETRY: Duration = Duration::from_secs(1);
/// Clients whose unreadable records are remembered, so that each is logged once.
const UNREADABLE_KEPT: usize = 1_024;

/// How storage is doing: the later, the worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Storage {
    /// All is well.
    Sound,
    /// Mail has all of its share of the disk. Registrations have one of their own, in the ledger.
    MailFull,
    /// No room for anything new.
    Full,
    /// Nothing can be read or written until it is opened again.
    Broken,
}

impl Storage {
    /// What is left of it when there is too little of this.
    const fn without(lack: Lack) -> Self {
        match lack {
            Lack::Mail { .. } => Self::MailFull,
            Lack::Disk { .. } | Lack::Ledger { .. } => Self::Full,
        }
    }
}

/// Storage as the core knows it.
///
/// *Promises*: the log says once, not for each message, that storage fails, that a client cannot be served, and that the ledger is
/// full. While storage is not sound, either a try is due or one is under way.
#[derive(Debug)]
pub(super) struct StorageHealth {
    storage: Storage,
    /// When to try again; nothing while a try is under way, or while storage is sound.
    retry_at: Option<Instant>,
    /// When a try was last over.
    tried_at: Option<Instant>,
    /// How full the mail was after the last commit.
    filling: Filling,
    /// Clients whose unreadable records have been logged.
    unreadable: HashSet<ClientAddress>,
    /// A damaged database has been logged.
    is_damaged: bool,
    /// The ledger takes no new clients, and that has been logged.
    is_ledger_full: bool,
}

impl StorageHealth {
    pub(super) fn new(filling: Filling) -> Self {
        Self {
            storage: Storage::Sound,
            retry_at: None,
            tried_at: None,
            filling,
            unreadable: HashSet::new(),
            is_damaged: false,
            is_ledger_full: false,
        }
    }

    /// Whether mail may be written.
    pub(super) fn is_sound(&self) -> bool {
        self.storage == Storage::Sound
    }

    /// Whether anything new may be written apart from mail: clients and classes.
    pub(super) fn takes_clients(&self) -> bool {
        self.storage < Storage::Full
    }

    /// Whether nothing can be read or written until storage is opened again.
    pub(super) fn is_broken(&self) -> bool {
        self.storage == Storage::Broken
    }

    /// Shows how storage is doing.
    pub(super) fn show(&self, counters: &StoreCounters) {
        let trouble = match self.storage {
            Storage::Sound => 0,
            Storage::MailFull => 1,
            Storage::Full => 2,
            Storage::Broken => 3,
        };
        counters.storage_trouble.store(trouble, Relaxed);
    }

    #[cfg(test)]
    pub(super) const fn storage(&self) -> Storage {
        self.storage
    }

    #[cfg(test)]
    pub(super) const fn set_storage(&mut self, storage: Storage) {
        self.storage = storage;
    }

    /// When to try again.
    pub(super) const fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// How full the mail was after the last commit.
    pub(super) const fn filling(&self) -> Filling {
        self.filling
    }

    pub(super) const fn set_filling(&mut self, filling: Filling) {
        self.filling = filling;
    }

    /// At once, unless a try was over a moment ago and has not helped.
    fn next_try(&self, now: Instant) -> Instant {
        self.tried_at.map_or(now, |tried| now.max(tried + RETRY))
    }

    const fn turn(&mut self, storage: Storage, retry_at: Option<Instant>) {
        self.storage = storage;
        self.retry_at = retry_at;
    }

    /// Whether this client's unreadable records are to be logged.
    fn is_news_of(&mut self, client: ClientAddress) -> bool {
        if self.unreadable.len() >= UNREADABLE_KEPT {
            self.unreadable.clear();
        }
        self.unreadable.insert(client)
    }
}

impl<M: Mailbox> Core<M> {
    /// At the start: the log must say that storage is full before the first mail is refused. Returns whether there is room for new
    /// mail and for new clients.
    pub fn check_storage(&mut self, now: Instant) -> bool {
        match self.mailbox.lack() {
            Ok(None) => {}
            Ok(Some(lack)) => self.note_failure(&MailboxError::NoRoom(lack), now),
            Err(error) => self.note_failure(&error, now),
        }
        self.health.filling = self.mailbox.filling();
        match self.mailbox.ledger_room() {
            Ok(room) => self.log_ledger_room(room),
            Err(error) => self.note_failure(&error, now),
        }
        self.health.is_sound() && !self.health.is_ledger_full
    }

    /// Logs once that the ledger has taken all of its share, and once that it has room again.
    pub(super) fn log_ledger_room(&mut self, room: LedgerRoom) {
        let lack = if let LedgerRoom::NoNewClients(lack) = room { Some(lack) } else { None };
        match (mem::replace(&mut self.health.is_ledger_full, lack.is_some()), lack) {
            (false, Some(lack)) => tracing::error!(id = "GWD-S003", "new clients are refused: {lack}"),
            (true, None) => tracing::info!("the ledger has room for new clients again"),
            (true, Some(_)) | (false, None) => {}
        }
    }

    /// Notes a failure, and logs it if it is new.
    pub(super) fn note_failure(&mut self, error: &MailboxError, now: Instant) {
        let storage = match error {
            // Only this client is affected.
            MailboxError::UnknownRecord { client, .. } => {
                if self.health.is_news_of(*client) {
                    tracing::error!(id = "GWD-S004", %error, "a client cannot be served");
                }
                return;
            }
            // Opening the database again would not help, and everything outside the damage works.
            MailboxError::Damaged { .. } => {
                if !mem::replace(&mut self.health.is_damaged, true) {
                    tracing::error!(id = "GWD-S005", %error, "clients in the damaged part cannot be served");
                }
                return;
            }
            MailboxError::NoRoom(lack) => Storage::without(*lack),
            MailboxError::Closed
            | MailboxError::Database { .. }
            | MailboxError::File { .. }
            | MailboxError::OutOfOrder { .. }
            | MailboxError::FromTheFuture { .. } => Storage::Broken,
        };
        if self.health.storage >= storage {
            return;
        }
        match storage {
            Storage::Broken => tracing::error!(
                id = "GWD-S006", %error,
                "storage failed; new mail is refused until it works again"
            ),
            Storage::Full => tracing::error!(id = "GWD-S007", %error, "new mail and new clients are refused"),
            Storage::MailFull | Storage::Sound => tracing::error!(id = "GWD-S008", %error, "new mail is refused"),
        }
        self.health.turn(storage, Some(self.health.next_try(now)));
        if storage == Storage::Broken {
            self.refuse_what_waits();
        }
    }

    /// Refuses the mail of the next commit. Until storage works again it would take room from live mail in the window of `mix-ingress`.
    fn refuse_what_waits(&mut self) {
        let waiting = self.commits.take_mail();
        self.requeue_failed_commit(&waiting);
    }

    /// Notes a failed commit. Damage keeps storage from being tried at once: what cannot be written now is tried after a pause.
    pub(super) fn commit_failed(&mut self, error: &MailboxError, now: Instant) {
        self.note_failure(error, now);
        if matches!(error, MailboxError::Damaged { .. } | MailboxError::UnknownRecord { .. }) {
            self.health.turn(Storage::Broken, Some(now + RETRY));
            self.refuse_what_waits();
        }
    }

    /// Tries again if it is time.
    pub(super) fn retry_storage(&mut self, now: Instant) {
        if self.health.retry_at.is_some_and(|at| at <= now) {
            self.health.retry_at = None;
            self.effects.jobs.push(Job::Restore { reopen: self.health.is_broken() });
        }
    }

    /// A try of storage is over: what there is too little of, or what is wrong.
    pub(super) fn restored(&mut self, outcome: Result<Option<Lack>, MailboxError>, now: Instant) {
        let was = self.health.storage;
        self.health.tried_at = Some(now);
        self.health.filling = self.mailbox.filling();
        match outcome {
            Ok(None) => {
                tracing::info!("storage works again");
                self.health.turn(Storage::Sound, None);
            }
            Ok(Some(lack)) => {
                let storage = Storage::without(lack);
                match (was, storage) {
                    (Storage::Broken, Storage::MailFull) => {
                        tracing::warn!(id = "GWD-S009", "storage is open again, but there is no room for new mail");
                    }
                    (Storage::Broken, _) => {
                        tracing::warn!(
                            id = "GWD-S010",
                            "storage is open again, but there is no room for new mail and new clients"
                        );
                    }
                    (Storage::Full, Storage::MailFull) => {
                        tracing::info!("new clients are taken again; there is no room for new mail yet");
                    }
                    (Storage::MailFull, Storage::Full) => {
                        tracing::error!(id = "GWD-S011", %lack, "new mail and new clients are refused")
                    }
                    _ => {}
                }
                self.health.turn(storage, Some(now + RETRY));
            }
            Err(error) => {
                tracing::debug!(%error, "storage cannot be opened again yet");
                self.health.turn(Storage::Broken, Some(now + RETRY));
            }
        }
        if was == Storage::Broken && !self.health.is_broken() {
            self.look_up_kinds(now);
            for session in self.sessions.attached() {
                self.wake(session);
            }
        }
    }

    /// The ledger has outgrown its share. Opening it again rewrites it, which takes a second or two; until then the core behaves
    /// as while storage fails.
    pub(super) fn rewrite_ledger(&mut self, now: Instant) {
        if !self.health.is_broken() {
            tracing::info!("most of the ledger's file is dead; it is rewritten");
            self.health.turn(Storage::Broken, Some(now));
        }
    }

    /// A registration whose commit failed may have reached the disk nevertheless.
    fn look_up_kinds(&mut self, now: Instant) {
        for client in self.commits.ledger_mut().take_unsure() {
            match self.mailbox.key_of(&client) {
                Ok(Some(key)) => self.inboxes.registered(&client, key.kind()),
                Ok(None) => {}
                Err(error) => self.note_failure(&error, now),
            }
        }
    }
}
