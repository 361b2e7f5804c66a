//! What the office does while storage fails: it promises nothing, says so, serves what it can, and tries again.
//!
//! | state | deliveries that need the disk | live mail | registrations | logins, stored mail |
//! |---|---|---|---|---|
//! | sound | yes | yes | yes | yes |
//! | no room for mail | refused | yes | yes | yes |
//! | full | refused | yes | refused | yes |
//! | broken | refused | yes, for clients that are attached | refused | refused |

use std::{
    collections::{BTreeSet, HashSet},
    mem,
    time::{Duration, Instant},
};

use wire::address::ClientAddress;

use super::{Job, Office, desk::Session};
use crate::mailbox::{Lack, LedgerRoom, Mailbox, MailboxError};

/// How long to wait before trying again.
const RETRY: Duration = Duration::from_secs(1);
/// Clients remembered so that the log says only once that they cannot be served.
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

/// Storage as the office knows it.
#[derive(Debug)]
pub(super) struct Outlook {
    pub(super) storage: Storage,
    /// When to try again; nothing while a try is under way, or while all is well.
    pub(super) retry_at: Option<Instant>,
    /// Clients of whom it has been said that what is written about them cannot be read.
    unreadable: HashSet<ClientAddress>,
    /// It has been said that a database is damaged.
    is_damaged: bool,
    /// It has been said that the ledger takes no new clients.
    pub(super) ledger_is_full: bool,
    /// When a try was last over.
    tried_at: Option<Instant>,
}

impl Default for Outlook {
    fn default() -> Self {
        Self {
            storage: Storage::Sound,
            retry_at: None,
            unreadable: HashSet::new(),
            is_damaged: false,
            ledger_is_full: false,
            tried_at: None,
        }
    }
}

impl Outlook {
    /// At once, unless a try was over a moment ago and has not helped.
    fn next_try(&self, now: Instant) -> Instant {
        self.tried_at.map_or(now, |tried| now.max(tried + RETRY))
    }

    const fn turn(&mut self, storage: Storage, retry_at: Option<Instant>) {
        self.storage = storage;
        self.retry_at = retry_at;
    }
}

impl<M: Mailbox> Office<M> {
    /// At the start: whoever reads the log is to know before the first mail is refused. Returns whether there is room for new mail
    /// and for new clients.
    pub fn look_for_room(&mut self, now: Instant) -> bool {
        match self.mailbox.lack() {
            Ok(None) => {}
            Ok(Some(lack)) => self.trouble(&MailboxError::NoRoom(lack), now),
            Err(error) => self.trouble(&error, now),
        }
        self.filling = self.mailbox.filling();
        match self.mailbox.ledger_room() {
            Ok(room) => self.tell_of_ledger(room),
            Err(error) => self.trouble(&error, now),
        }
        self.outlook.storage == Storage::Sound && !self.outlook.ledger_is_full
    }

    /// Says once that the ledger has taken all of its share, and once that it has not any more.
    pub(super) fn tell_of_ledger(&mut self, room: LedgerRoom) {
        let lack = if let LedgerRoom::NoNewClients(lack) = room { Some(lack) } else { None };
        match (mem::replace(&mut self.outlook.ledger_is_full, lack.is_some()), lack) {
            (false, Some(lack)) => tracing::error!("new clients are refused: {lack}"),
            (true, None) => tracing::info!("the ledger has room for new clients again"),
            (true, Some(_)) | (false, None) => {}
        }
    }

    /// Takes note of a failure.
    pub(super) fn trouble(&mut self, error: &MailboxError, now: Instant) {
        let storage = match error {
            // One client is out of luck; the others are served as before.
            MailboxError::UnknownRecord { client, .. } => {
                if self.outlook.unreadable.len() >= UNREADABLE_KEPT {
                    self.outlook.unreadable.clear();
                }
                if self.outlook.unreadable.insert(*client) {
                    tracing::error!(%error, "a client cannot be served");
                }
                return;
            }
            // Opening it again would not help, and what does not touch the damage works.
            MailboxError::Damaged { .. } => {
                if !mem::replace(&mut self.outlook.is_damaged, true) {
                    tracing::error!(%error, "what is in the damaged part is out of reach");
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
        if self.outlook.storage >= storage {
            return;
        }
        match storage {
            Storage::Broken => tracing::error!(%error, "storage failed; new mail is refused until it works again"),
            Storage::Full => tracing::error!(%error, "new mail and new clients are refused"),
            Storage::MailFull | Storage::Sound => tracing::error!(%error, "new mail is refused"),
        }
        self.outlook.turn(storage, Some(self.outlook.next_try(now)));
        if storage == Storage::Broken {
            self.refuse_what_waits();
        }
    }

    /// What waits for the next commit would wait until storage works again, and take room in the window of `mix-ingress` from
    /// live mail meanwhile.
    fn refuse_what_waits(&mut self) {
        let waiting = mem::take(&mut self.batch);
        self.unsettle(&waiting);
    }

    /// Takes note of a failed commit: what cannot be written now is tried again, but not without a pause.
    pub(super) fn commit_failed(&mut self, error: &MailboxError, now: Instant) {
        self.trouble(error, now);
        if matches!(error, MailboxError::Damaged { .. } | MailboxError::UnknownRecord { .. }) {
            self.outlook.turn(Storage::Broken, Some(now + RETRY));
            self.refuse_what_waits();
        }
    }

    /// Tries again if it is time.
    pub(super) fn retry_storage(&mut self, now: Instant) {
        if self.outlook.retry_at.is_some_and(|at| at <= now) {
            self.outlook.retry_at = None;
            self.orders.jobs.push(Job::Restore { reopen: self.outlook.storage == Storage::Broken });
        }
    }

    /// Storage was tried: what there is too little of, or what is wrong.
    pub fn restored(&mut self, outcome: Result<Option<Lack>, MailboxError>, now: Instant) {
        let was = self.outlook.storage;
        self.outlook.tried_at = Some(now);
        self.filling = self.mailbox.filling();
        match outcome {
            Ok(None) => {
                tracing::info!("storage works again");
                self.outlook.turn(Storage::Sound, None);
            }
            Ok(Some(lack)) => {
                let storage = Storage::without(lack);
                match (was, storage) {
                    (Storage::Broken, Storage::MailFull) => {
                        tracing::warn!("storage is open again, but there is no room for new mail");
                    }
                    (Storage::Broken, _) => {
                        tracing::warn!("storage is open again, but there is no room for new mail and new clients");
                    }
                    (Storage::Full, Storage::MailFull) => {
                        tracing::info!("new clients are taken again; there is no room for new mail yet");
                    }
                    (Storage::MailFull, Storage::Full) => {
                        tracing::error!(%lack, "new mail and new clients are refused")
                    }
                    _ => {}
                }
                self.outlook.turn(storage, Some(now + RETRY));
            }
            Err(error) => {
                tracing::debug!(%error, "storage cannot be opened again yet");
                self.outlook.turn(Storage::Broken, Some(now + RETRY));
            }
        }
        if was == Storage::Broken && self.outlook.storage != Storage::Broken {
            self.look_up_kinds(now);
            let sessions = self.sessions.iter().filter(|(_, session)| matches!(session, Session::Attached(_)));
            for session in sessions.map(|(id, _)| *id).collect::<BTreeSet<_>>() {
                self.wake(session);
            }
        }
    }

    /// The ledger has outgrown its share. It is written anew when it is opened again, which takes a second or two; what comes
    /// meanwhile is treated as while storage fails.
    pub(super) fn rewrite_ledger(&mut self, now: Instant) {
        if self.outlook.storage != Storage::Broken {
            tracing::info!("most of the ledger's file holds nothing; it is written anew");
            self.outlook.turn(Storage::Broken, Some(now));
        }
    }

    /// A registration whose commit failed may have reached the disk nevertheless.
    fn look_up_kinds(&mut self, now: Instant) {
        for client in self.ledger.take_unsure() {
            match self.mailbox.key_of(&client) {
                Ok(Some(key)) => self.inboxes.registered(&client, key.kind()),
                Ok(None) => {}
                Err(error) => self.trouble(&error, now),
            }
        }
    }
}
