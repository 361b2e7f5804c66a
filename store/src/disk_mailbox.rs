//! The mailbox on disk: clients in a ledger on sled, messages in the mail log.
//!
//! | file | does |
//! |---|---|
//! | `ledger`, `client_record`, `spent` | registered clients, and the nonces of their logins |
//! | `ledger_file`, `ledger_share`, `dates` | when the ledger is opened and rewritten, and how large it may be; the time of what is written |
//! | `databases`, `layout_file`, `medium`, `rewrite` | a sled database: when it is on the medium, and how it is rewritten |
//! | `export`, `restored` | what leaves in a backup, and how it comes back |
//! | `class_records` | what clients have proved to read |
//! | `reserve` | room on the disk |
//! | `sweep`, `import`, `take_over`, `record` | what a start puts in order, and mail of earlier versions |

use std::{
    os::fd::OwnedFd,
    sync::{
        Arc, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use client_wire::{key::SessionKey, login::Freshness};
use ipc::operator::{ClientCount, ClientKind};
use nix::{
    errno::Errno,
    fcntl::{OFlag, openat},
    sys::stat::{Mode, mkdirat},
};
use session_ipc::Sequence;
use wire::address::ClientAddress;

#[cfg(feature = "found-records")]
pub mod found;

mod class_records;
mod client_record;
mod databases;
mod dates;
mod export;
mod hashed;
mod import;
mod layout_file;
mod ledger;
mod ledger_file;
mod ledger_share;
mod medium;
mod record;
mod reserve;
mod restored;
mod rewrite;
mod spent;
mod sweep;
mod take_over;

use self::{
    class_records::ClassRecords,
    ledger::Ledger,
    ledger_share::{FILLED, ledger_share},
    reserve::{FLOOR, Reserve},
};
use crate::{
    clock::{self, LastRun},
    core::count_kind,
    counters::StoreCounters,
    mail::{MailLog, Settings},
    mailbox::{
        Class, Filling, InboxSize, Lack, LedgerEntry, LedgerRoom, MailBatch, Mailbox, MailboxError, Measure, OldMail,
        Page, PageLimit, Position, SeenClients, Summary,
    },
};

/// The folder of the mail log, in that of the inboxes. No client's folder can have that name: it is no address.
const MAIL: &str = "mail";

/// The mailbox on disk.
#[derive(Debug)]
pub struct DiskMailbox {
    ledger_directory: OwnedFd,
    inbox_directory: OwnedFd,
    mail: MailLog,
    /// Nothing if they could not be opened: then every client is a newcomer until the next start.
    classes: Option<ClassRecords>,
    /// Bytes of ledger and mail at the most.
    limit: u64,
    reserve: Reserve,
    ledger_reserve: Reserve,
    /// Bytes of the ledger's file when it was opened.
    ledger_opened: AtomicU64,
    /// When the gateway last ran by a clock that was believed, in seconds since 1970. Nothing is dated earlier.
    earliest: AtomicU64,
    /// The latest time at which a login was taken by a clock that was believed. Logins are judged as of then at the earliest.
    last_login: AtomicU64,
    /// What the machine's clock says.
    clock: fn() -> Duration,
    /// The clock is in doubt, and that has been logged.
    is_in_doubt: AtomicBool,
    /// Nothing after a failure. Only [`Mailbox::reopen`] writes; readers never wait for that.
    ledger: RwLock<Option<Ledger>>,
}

impl DiskMailbox {
    /// Opens ledger and mail, and takes over the mail of earlier versions. They never have more than about `limit` bytes.
    ///
    /// # Errors
    /// If one cannot be opened or what was taken over cannot be committed.
    pub fn open(
        ledger_directory: OwnedFd,
        inbox_directory: OwnedFd,
        limit: u64,
        counters: Arc<StoreCounters>,
    ) -> Result<Self, MailboxError> {
        let settings = Settings::of(limit, limit - ledger_share(limit), FLOOR);
        let open_mail =
            || MailLog::open(open_mail_directory(&inbox_directory)?, settings, Arc::clone(&counters), clock::now());
        let reserve = Reserve::of(reserve::FOR_INBOXES);
        // Opening writes, too: on a full disk that works only with the space held in reserve.
        let mail = open_mail().or_else(|error| {
            tracing::warn!(
                id = "GWD-S012", %error,
                "the mail does not open; tried once more with the space held in reserve"
            );
            reserve.release(&inbox_directory);
            open_mail()
        })?;
        let mut mailbox = Self {
            ledger_directory,
            classes: open_classes(&inbox_directory),
            inbox_directory,
            mail,
            limit,
            reserve,
            ledger_reserve: Reserve::of(reserve::FOR_LEDGER),
            ledger_opened: AtomicU64::default(),
            earliest: AtomicU64::default(),
            last_login: AtomicU64::default(),
            clock: clock::now,
            is_in_doubt: AtomicBool::default(),
            ledger: RwLock::new(None),
        };
        mailbox.reopen_ledger().or_else(|error| {
            tracing::warn!(
                id = "GWD-S013", %error,
                "the ledger does not open; tried once more with the space held in reserve"
            );
            mailbox.release_reserves();
            mailbox.reopen_ledger()
        })?;
        let last_run = mailbox.with(Ledger::last_run)?;
        mailbox.last_login.store(mailbox.with(Ledger::last_login)?, Ordering::Relaxed);
        mailbox.earliest.store(last_run.map_or(0, |run| run.believed), Ordering::Relaxed);
        mailbox.mail.begin_cleaning()?;
        mailbox.take_over_sled_inboxes()?;
        mailbox.take_over_restored()?;
        mailbox.mail.leap();
        import::import_files(&mailbox, &mailbox.inbox_directory)?;
        mailbox.sweep()?;
        mailbox.keep_reserve();
        Ok(mailbox)
    }

    /// The mail log.
    const fn mail(&self) -> &MailLog {
        &self.mail
    }

    /// The folder of the inboxes.
    const fn inbox_directory(&self) -> &OwnedFd {
        &self.inbox_directory
    }

    fn release_reserves(&self) {
        self.reserve.release(&self.inbox_directory);
        self.ledger_reserve.release(&self.ledger_directory);
    }

    fn with<T>(&self, act: impl FnOnce(&Ledger) -> Result<T, MailboxError>) -> Result<T, MailboxError> {
        let ledger = self.ledger.try_read().map_err(|_| MailboxError::Closed)?;
        act(ledger.as_ref().ok_or(MailboxError::Closed)?)
    }
}

/// Opens the classes of clients. No promise rests on them.
fn open_classes(inboxes: &OwnedFd) -> Option<ClassRecords> {
    let opened = ClassRecords::open(inboxes);
    opened
        .inspect_err(|error| {
            tracing::warn!(
                id = "GWD-S014", %error,
                "until the next start every client has a newcomer's share"
            )
        })
        .ok()
}

/// Opens the folder of the mail log, or makes it.
fn open_mail_directory(inboxes: &OwnedFd) -> Result<OwnedFd, MailboxError> {
    let failed = |action| move |error: Errno| MailboxError::File { database: "mail", action, source: error.into() };
    match mkdirat(inboxes, MAIL, Mode::S_IRWXU) {
        // That it is there must outlive a crash, as what is in it does.
        Ok(()) => nix::unistd::fsync(inboxes).map_err(failed("sync the folder above"))?,
        Err(Errno::EEXIST) => {}
        Err(error) => return Err(failed("make")(error)),
    }
    let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    openat(inboxes, MAIL, flags, Mode::empty()).map_err(failed("open"))
}

impl Mailbox for DiskMailbox {
    fn key_of(&self, client: &ClientAddress) -> Result<Option<SessionKey>, MailboxError> {
        self.with(|ledger| ledger.key_of(client))
    }

    fn kind_of(&self, client: &ClientAddress) -> Result<Option<ClientKind>, MailboxError> {
        self.with(|ledger| ledger.kind_of(client))
    }

    fn count_clients(&self) -> Result<ClientCount, MailboxError> {
        let mut count = ClientCount::default();
        let mut after = None;
        loop {
            // A page at a time, so that the ledger can be opened again in between.
            let page = self.clients_after(after)?;
            for (client, _) in &page.clients {
                match self.kind_of(client) {
                    Ok(Some(kind)) => count_kind(&mut count, kind),
                    // It was forgotten meanwhile, or its record cannot be read.
                    Ok(None) | Err(MailboxError::UnknownRecord { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(count);
            }
        }
    }

    fn is_fresh(&self, client: &ClientAddress, freshness: &Freshness) -> Result<bool, MailboxError> {
        self.with(|ledger| ledger.is_fresh(client, freshness, self.login_dates()))
    }

    fn commit_ledger(&self, entries: &[LedgerEntry]) -> Result<(), MailboxError> {
        let registers = entries.iter().any(|entry| matches!(entry, LedgerEntry::Register { .. }));
        if registers && let Some(lack) = self.lack_for_clients()? {
            return Err(MailboxError::NoRoom(lack));
        }
        let has_login = entries.iter().any(|entry| matches!(entry, LedgerEntry::Login { .. }));
        let login_time = if has_login { self.login_time() } else { None };
        self.with(|ledger| ledger.commit(entries, self.login_dates(), login_time))?;
        if let Some(time) = login_time {
            self.last_login.fetch_max(time, Ordering::Relaxed);
        }
        Ok(())
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

    fn oldest_ackless(&self, client: &ClientAddress, range: (Sequence, Sequence)) -> Option<Sequence> {
        self.mail.oldest_ackless(client, range)
    }

    fn last_seen(&self, client: &ClientAddress) -> Result<Option<u64>, MailboxError> {
        self.with(|ledger| ledger.last_seen(client))
    }

    fn clients_after(&self, client: Option<ClientAddress>) -> Result<SeenClients, MailboxError> {
        self.with(|ledger| ledger.clients_after(client))
    }

    fn check_clock(&self, now: u64) -> Result<bool, MailboxError> {
        let run = self.with(|ledger| {
            let run = ledger.last_run()?.map_or_else(|| LastRun::at(now), |run| run.look(now));
            ledger.keep_last_run(&run)?;
            Ok(run)
        })?;
        self.earliest.store(run.believed, Ordering::Relaxed);
        self.log_clock(now, &run);
        Ok(run.doubted.is_none())
    }

    fn mail_before(&self, time: u64, from: &Position) -> Result<OldMail, MailboxError> {
        Ok(self.mail.mail_before(time, from))
    }

    fn commit_mail(&self, batch: &MailBatch) -> Result<(), MailboxError> {
        self.mail.commit(batch, self.date())
    }

    fn lack(&self) -> Result<Option<Lack>, MailboxError> {
        match self.lack_for_clients()? {
            None => self.mail.lack(),
            lack => Ok(lack),
        }
    }

    fn filling(&self) -> Filling {
        self.mail.filling()
    }

    fn measure(&self, whole: InboxSize) -> Result<Measure, MailboxError> {
        let mail = self.mail.measure(whole)?;
        let (clients, ledger) = self.with(|ledger| Ok((ledger.clients()?, ledger.len()?)))?;
        Ok(Measure { clients, data: mail.data.saturating_add(ledger), ..mail })
    }

    fn class_of(&self, client: &ClientAddress) -> Class {
        let class = self.classes.as_ref().map_or(Ok(Class::NEWCOMER), |classes| classes.get(client));
        class.unwrap_or_else(|error| {
            tracing::debug!(%error, "a client's class cannot be read");
            Class::NEWCOMER
        })
    }

    fn keep_classes(&self, changed: &[(ClientAddress, Class)]) -> Result<(), MailboxError> {
        self.classes.as_ref().map_or(Ok(()), |classes| classes.keep(changed))
    }

    fn ledger_room(&self) -> Result<LedgerRoom, MailboxError> {
        let used = self.with(|ledger| ledger.len())?;
        let share = ledger_share(self.limit);
        let most = share / FILLED;
        Ok(match used < most {
            true => LedgerRoom::Ample,
            false if self.is_compact(used) => LedgerRoom::NoNewClients(Lack::Ledger { used, most, share }),
            false => LedgerRoom::Outgrown,
        })
    }

    fn reopen(&self) -> Result<(), MailboxError> {
        self.reopen_ledger()?;
        self.mail.try_out(self.date())
    }

    fn keep_reserve(&self) {
        self.reserve.keep(&self.inbox_directory);
        self.ledger_reserve.keep(&self.ledger_directory);
    }
}

#[cfg(test)]
mod tests;
