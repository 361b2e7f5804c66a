//! The mailbox on two sled databases: the ledger and the inboxes, each in its own directory.

use std::{
    os::fd::OwnedFd,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};

use proto::{
    address::ClientAddress,
    ipc::store_edge::{Sequence, SessionKey},
    wire::client::login::Freshness,
};

use super::{
    LedgerEntry, MailBatch, Mailbox, MailboxError, OldMail, Page, PageLimit, Position, SeenClients, Summary,
    databases::{Database, Layout},
    import,
    inboxes::Inboxes,
    ledger::Ledger,
    reserve::{self, Reserve, Space},
};
use crate::{
    clock::{self, LastRun},
    disk,
};

/// As 0.10.1 made it; the size of an existing database cannot be changed.
const LEDGER: Layout = Layout { name: "ledger", segment_size: 512 * 1024, cache: 16 * 1024 * 1024 };
/// A leaf full of 32 KiB messages must fit a segment, or it turns into a blob file.
/// The cache is small: mail is written once and read once, mostly long after.
const INBOXES: Layout = Layout { name: "inboxes", segment_size: 4 * 1024 * 1024, cache: 8 * 1024 * 1024 };

/// The last second of the year 9999, behind which times cannot be written as a date.
const LAST_WRITABLE: u64 = 253_402_300_799;

/// The mailbox on sled.
#[derive(Debug)]
pub struct SledMailbox {
    ledger_directory: OwnedFd,
    inbox_directory: OwnedFd,
    /// Bytes of both databases at the most; new mail and new clients are refused well before.
    limit: u64,
    reserve: Reserve,
    /// When the gateway last ran by a clock that was believed, in seconds since 1970. Nothing is dated earlier.
    earliest: AtomicU64,
    /// It has been said that the clock is in doubt.
    is_in_doubt: AtomicBool,
    /// Nothing after a failure. Only [`Mailbox::reopen`] writes; nobody ever waits for it.
    open: RwLock<Option<Open>>,
}

/// Both databases.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) ledger: Ledger,
    pub(super) inboxes: Inboxes,
}

impl SledMailbox {
    /// Opens both databases and takes over the inbox files of 0.10.x. They never have more than about `limit`
    /// bytes.
    ///
    /// # Errors
    /// If a database cannot be opened or what was taken over cannot be committed.
    pub fn open(ledger_directory: OwnedFd, inbox_directory: OwnedFd, limit: u64) -> Result<Self, MailboxError> {
        let mailbox = Self {
            ledger_directory,
            inbox_directory,
            limit,
            reserve: Reserve::default(),
            earliest: AtomicU64::default(),
            is_in_doubt: AtomicBool::default(),
            open: RwLock::new(None),
        };
        // To open is to write, too: on a full disk that works with what was held in reserve.
        mailbox.reopen().or_else(|error| {
            tracing::warn!(%error, "the databases do not open; tried once more with the space held in reserve");
            mailbox.reserve.release(&mailbox.inbox_directory);
            mailbox.reopen()
        })?;
        let last_run = mailbox.with(|open| open.ledger.last_run())?;
        mailbox.earliest.store(last_run.map_or(0, |run| run.believed), Ordering::Relaxed);
        import::import_files(&mailbox, &mailbox.inbox_directory)?;
        mailbox.sweep()?;
        mailbox.keep_reserve();
        Ok(mailbox)
    }

    fn open_databases(&self) -> Result<Open, MailboxError> {
        let clone = |directory: &OwnedFd, database| {
            let failed = |source| MailboxError::File { database, action: "open the directory", source };
            directory.try_clone().map_err(failed)
        };
        Ok(Open {
            ledger: Ledger::new(Database::open(clone(&self.ledger_directory, "ledger")?, LEDGER)?)?,
            inboxes: Inboxes::new(Database::open(clone(&self.inbox_directory, "inboxes")?, INBOXES)?)?,
        })
    }

    /// What is written now is dated this.
    fn date(&self) -> Duration {
        clock::now().max(Duration::from_secs(self.earliest.load(Ordering::Relaxed)))
    }

    /// Says so, once, when the clock begins or ceases to be in doubt.
    fn speak_of_clock(&self, now: u64, run: &LastRun) {
        let was_in_doubt = self.is_in_doubt.swap(run.doubted.is_some(), Ordering::Relaxed);
        match run.doubted {
            Some(doubt) if !was_in_doubt => {
                let time = |seconds: u64| {
                    let since = Duration::from_secs(seconds.min(LAST_WRITABLE));
                    humantime::format_rfc3339_seconds(UNIX_EPOCH + since)
                };
                tracing::warn!(
                    clock = %time(now), last_run = %time(run.believed),
                    "the clock has leapt since the gateway last ran; until {} nothing is removed for its age; if the clock is \
                     wrong, set it right; if it is right, and the gateway was off for so long, there is nothing to do",
                    time(doubt.ends())
                );
            }
            None if was_in_doubt => tracing::info!("the clock is believed again; what is too old is removed"),
            _ => {}
        }
    }

    pub(super) fn with<T>(&self, act: impl FnOnce(&Open) -> Result<T, MailboxError>) -> Result<T, MailboxError> {
        let open = self.open.try_read().map_err(|_| MailboxError::Closed)?;
        act(open.as_ref().ok_or(MailboxError::Closed)?)
    }
}

impl Mailbox for SledMailbox {
    fn key_of(&self, client: &ClientAddress) -> Result<Option<SessionKey>, MailboxError> {
        self.with(|open| open.ledger.key_of(client))
    }

    fn is_fresh(&self, client: &ClientAddress, freshness: &Freshness) -> Result<bool, MailboxError> {
        self.with(|open| open.ledger.is_fresh(client, freshness, self.date()))
    }

    fn commit_ledger(&self, entries: &[LedgerEntry]) -> Result<(), MailboxError> {
        if entries.iter().any(|entry| matches!(entry, LedgerEntry::Register { .. })) && !self.has_room()? {
            return Err(MailboxError::NoRoom);
        }
        self.with(|open| open.ledger.commit(entries, self.date()))
    }

    fn summary_of(&self, client: &ClientAddress) -> Result<Summary, MailboxError> {
        self.with(|open| open.inboxes.summary_of(client))
    }

    fn peek(
        &self,
        client: &ClientAddress,
        range: (Sequence, Sequence),
        limit: PageLimit,
    ) -> Result<Page, MailboxError> {
        self.with(|open| open.inboxes.peek(client, range, limit))
    }

    fn last_seen(&self, client: &ClientAddress) -> Result<Option<u64>, MailboxError> {
        self.with(|open| open.ledger.last_seen(client))
    }

    fn clients_after(&self, client: Option<ClientAddress>) -> Result<SeenClients, MailboxError> {
        self.with(|open| open.ledger.clients_after(client))
    }

    fn look_at_clock(&self, now: u64) -> Result<bool, MailboxError> {
        let run = self.with(|open| {
            let run = open.ledger.last_run()?.map_or_else(|| LastRun::at(now), |run| run.look(now));
            open.ledger.keep_last_run(&run)?;
            Ok(run)
        })?;
        self.earliest.store(run.believed, Ordering::Relaxed);
        self.speak_of_clock(now, &run);
        Ok(run.doubted.is_none())
    }

    fn mail_before(&self, time: u64, from: &Position) -> Result<OldMail, MailboxError> {
        self.with(|open| open.inboxes.mail_before(time, from))
    }

    fn commit_mail(&self, batch: &MailBatch) -> Result<(), MailboxError> {
        self.with(|open| open.inboxes.commit(batch, self.date()))
    }

    fn has_room(&self) -> Result<bool, MailboxError> {
        let (used, live) = self.with(|open| Ok((open.ledger.len()? + open.inboxes.len()?, open.inboxes.live())))?;
        let free = |directory, database| {
            let failed = |source| MailboxError::File { database, action: "ask for free space", source };
            disk::free(directory).map_err(failed)
        };
        let free = free(&self.inbox_directory, "inboxes")?.min(free(&self.ledger_directory, "ledger")?);
        Ok(reserve::is_room(Space { used, limit: self.limit, live, free, floor: self.reserve.floor() }))
    }

    fn reopen(&self) -> Result<(), MailboxError> {
        // Whoever reads or commits is done within the time of a commit.
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if open.take().is_some() {
            self.reserve.release(&self.inbox_directory);
        }
        *open = Some(self.open_databases()?);
        Ok(())
    }

    fn keep_reserve(&self) {
        self.reserve.keep(&self.inbox_directory);
    }
}

#[cfg(test)]
mod tests;
