//! The ledger's file: opened, and rewritten where it has outgrown its share.

use std::sync::{PoisonError, atomic::Ordering};

use super::{
    DiskMailbox,
    databases::{Database, Layout},
    ledger::Ledger,
    ledger_share::{FILLED, ledger_share},
    reserve::FLOOR,
    rewrite,
};
use crate::{
    disk,
    mailbox::{Lack, MailboxError},
};

/// As 0.10.1 made it; the size of an existing database cannot be changed.
pub(super) const LEDGER: Layout = Layout { name: "ledger", segment_size: 512 * 1024, cache: 16 * 1024 * 1024 };

impl DiskMailbox {
    /// Closes the ledger and opens it.
    pub(super) fn reopen_ledger(&self) -> Result<(), MailboxError> {
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

    /// Opens the ledger, and rewrites it if it takes too much of its share.
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
            // Most of a file that was rewritten is alive, so it is left alone until it has grown by half.
            if database.len()? < ledger_share(self.limit) / FILLED || self.is_compact(database.len()?) {
                return Ok(database);
            }
            match rewrite::write_records(&database, directory) {
                Ok(()) => is_pending = true,
                Err(error) => {
                    tracing::warn!(
                        id = "GWD-S026", %error,
                        "the ledger has outgrown its share and cannot be rewritten"
                    );
                    return Ok(database);
                }
            }
        }
        debug_assert!(is_pending, "the old database is needed as long as there are no records");
        rewrite::remove_database(directory).map_err(failed("remove the old database"))?;
        let database = open()?;
        let records = rewrite::read_records(&database, directory)?;
        tracing::info!(records, bytes = database.len()?, "the ledger was rewritten, without its dead records");
        Ok(database)
    }

    /// Whether a ledger's file of so many bytes has not grown much since it was opened.
    pub(super) fn is_compact(&self, len: u64) -> bool {
        let opened = self.ledger_opened.load(Ordering::Relaxed);
        len < opened + opened / 2
    }

    /// What there is too little of for new clients. A full share of mail does not matter: clients have a share of their own.
    pub(super) fn lack_for_clients(&self) -> Result<Option<Lack>, MailboxError> {
        // The ledger may be on another disk.
        let failed = |source| MailboxError::File { database: "ledger", action: "ask for free space", source };
        let free = disk::free(&self.ledger_directory).map_err(failed)?;
        let floor = FLOOR + self.ledger_reserve.missing();
        if free < floor {
            return Ok(Some(Lack::Disk { free, floor }));
        }
        Ok(self.mail.lack()?.filter(|lack| matches!(lack, Lack::Disk { .. })))
    }
}
