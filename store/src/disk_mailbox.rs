//! The mailbox on disk: clients in a ledger on sled, messages in the mail log.
//!
//! | file | does |
//! |---|---|
//! | `ledger`, `client_record`, `spent` | registered clients, and the nonces of their logins |
//! | `databases`, `layout_file`, `medium`, `rewrite` | a sled database: when it is on the medium, and how it is written anew |
//! | `class_records` | what clients have proved to read |
//! | `reserve` | room on the disk |
//! | `sweep`, `import`, `take_over`, `record` | what a start puts in order, and mail of earlier versions |

use std::{
    os::fd::OwnedFd,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};

use client_wire::{key::SessionKey, login::Freshness};
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
mod import;
mod layout_file;
mod ledger;
mod medium;
mod record;
mod reserve;
mod rewrite;
mod spent;
mod sweep;
mod take_over;

use self::{
    class_records::ClassRecords,
    databases::{Database, Layout},
    ledger::Ledger,
    reserve::{FLOOR, Reserve},
    spent::Dates,
};
use crate::{
    clock::{self, LastRun},
    counters::StoreCounters,
    disk,
    mail::{MailLog, Settings},
    mailbox::{
        Class, Filling, Lack, LedgerEntry, LedgerRoom, MailBatch, Mailbox, MailboxError, OldMail, Page, PageLimit,
        Position, SeenClients, Summary,
    },
};

/// As 0.10.1 made it; the size of an existing database cannot be changed.
const LEDGER: Layout = Layout { name: "ledger", segment_size: 512 * 1024, cache: 16 * 1024 * 1024 };
/// The folder of the mail log, in that of the inboxes. No client's folder can have that name: it is no address.
const MAIL: &str = "mail";

/// The part of the limit that is the ledger's own.
const LEDGER_SHARE: u64 = 8;
/// One part in so many of its share is for the ledger's file while clients are taken and nothing is written anew. The rest is for
/// later changes of registered clients, and for the records of a rewrite.
const FILLED: u64 = 3;
/// The ledger's part is not smaller than this, unless that is half of the limit: an empty one has some megabytes.
const SMALLEST_SHARE: u64 = 32 * 1024 * 1024;

/// The last second of the year 9999, behind which times cannot be written as a date.
const LAST_WRITABLE: u64 = 253_402_300_799;

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
            tracing::warn!(%error, "the mail does not open; tried once more with the space held in reserve");
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
            tracing::warn!(%error, "the ledger does not open; tried once more with the space held in reserve");
            mailbox.release_reserves();
            mailbox.reopen_ledger()
        })?;
        let last_run = mailbox.with(Ledger::last_run)?;
        mailbox.last_login.store(mailbox.with(Ledger::last_login)?, Ordering::Relaxed);
        mailbox.earliest.store(last_run.map_or(0, |run| run.believed), Ordering::Relaxed);
        mailbox.mail.begin_cleaning()?;
        mailbox.take_over_sled_inboxes()?;
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

    fn reopen_ledger(&self) -> Result<(), MailboxError> {
        // Readers and commits let go of the ledger within the time of a commit.
        let mut ledger = self.ledger.write().unwrap_or_else(PoisonError::into_inner);
        if ledger.take().is_some() {
            self.release_reserves();
        }
        let opened = Ledger::new(self.open_ledger()?)?;
        self.ledger_opened.store(opened.len()?, Ordering::Relaxed);
        *ledger = Some(opened);
        Ok(())
    }

    /// Opens the ledger, and writes it anew if it takes too much of its share.
    fn open_ledger(&self) -> Result<Database, MailboxError> {
        let failed = |action| move |source| MailboxError::File { database: "ledger", action, source };
        let directory = &self.ledger_directory;
        let open = || {
            let directory = directory.try_clone().map_err(failed("open the directory"))?;
            Database::open(directory, LEDGER)
        };
        let mut is_pending = rewrite::is_pending(directory).map_err(failed("look for the records of a rewrite"))?;
        if !is_pending {
            let database = open()?;
            // Most of a file that was written anew is alive, so it is left alone until it has grown by half.
            if database.len()? < ledger_share(self.limit) / FILLED || self.is_compact(database.len()?) {
                return Ok(database);
            }
            match rewrite::write_records(&database, directory) {
                Ok(()) => is_pending = true,
                Err(error) => {
                    tracing::warn!(%error, "the ledger has outgrown its share and cannot be written anew");
                    return Ok(database);
                }
            }
        }
        debug_assert!(is_pending, "the old database is needed as long as there are no records");
        rewrite::remove_database(directory).map_err(failed("remove the old database"))?;
        let database = open()?;
        let records = rewrite::read_records(&database, directory)?;
        tracing::info!(records, bytes = database.len()?, "the ledger was written anew, without its dead records");
        Ok(database)
    }

    /// Whether a ledger's file of so many bytes has not grown much since it was opened.
    fn is_compact(&self, len: u64) -> bool {
        let opened = self.ledger_opened.load(Ordering::Relaxed);
        len < opened + opened / 2
    }

    fn release_reserves(&self) {
        self.reserve.release(&self.inbox_directory);
        self.ledger_reserve.release(&self.ledger_directory);
    }

    /// What there is too little of for new clients. A full share of mail does not matter: clients have a share of their own.
    fn lack_for_clients(&self) -> Result<Option<Lack>, MailboxError> {
        // The ledger may be on another disk.
        let failed = |source| MailboxError::File { database: "ledger", action: "ask for free space", source };
        let free = disk::free(&self.ledger_directory).map_err(failed)?;
        let floor = FLOOR + self.ledger_reserve.missing();
        if free < floor {
            return Ok(Some(Lack::Disk { free, floor }));
        }
        Ok(self.mail.lack()?.filter(|lack| matches!(lack, Lack::Disk { .. })))
    }

    /// The date of what is written now.
    fn date(&self) -> Duration {
        (self.clock)().max(Duration::from_secs(self.earliest.load(Ordering::Relaxed)))
    }

    /// When logins are judged and dated: no earlier than the latest of anybody.
    fn login_dates(&self) -> Dates {
        let (now, earliest) = ((self.clock)().as_secs(), self.earliest.load(Ordering::Relaxed));
        let believed = if clock::is_near(earliest, now) { now.max(earliest) } else { earliest };
        Dates { now: now.max(earliest).max(self.last_login.load(Ordering::Relaxed)), believed }
    }

    /// The time of a login that is taken now; nothing if the clock is in doubt, since later logins are judged by this time.
    fn login_time(&self) -> Option<u64> {
        let now = (self.clock)().as_secs();
        let believed = clock::is_near(self.earliest.load(Ordering::Relaxed), now);
        believed.then(|| now.max(self.last_login.load(Ordering::Relaxed)))
    }

    /// Logs once that the clock is in doubt, and once that it is believed again.
    fn log_clock(&self, now: u64, run: &LastRun) {
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

    fn with<T>(&self, act: impl FnOnce(&Ledger) -> Result<T, MailboxError>) -> Result<T, MailboxError> {
        let ledger = self.ledger.try_read().map_err(|_| MailboxError::Closed)?;
        act(ledger.as_ref().ok_or(MailboxError::Closed)?)
    }
}

/// Opens the classes of clients. No promise rests on them.
fn open_classes(inboxes: &OwnedFd) -> Option<ClassRecords> {
    let opened = ClassRecords::open(inboxes);
    opened.inspect_err(|error| tracing::warn!(%error, "until the next start every client has a newcomer's share")).ok()
}

/// Bytes of this limit that the ledger's file may have.
fn ledger_share(limit: u64) -> u64 {
    (limit / LEDGER_SHARE).max(SMALLEST_SHARE).min(limit / 2)
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
