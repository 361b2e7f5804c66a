//! Records as a disk might return them, laid into a ledger that is open, so that what reads them can be shown anything.
//!
//! Only with the feature `found-records`, which is for fuzzing: opening a database for each input would take a second.

pub use crate::mail::found::read_segment;

use super::DiskMailbox;
use crate::mailbox::MailboxError;

/// Where a record is found.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    /// The ledger's clients of 2021.
    ClientsOf2021,
    /// The ledger's other clients.
    Clients,
    /// Spent logins.
    Logins,
    /// When clients were seen.
    Seen,
}

impl DiskMailbox {
    /// Replaces everything in the ledger by these records, key and value, and does what is done at every start.
    ///
    /// # Errors
    /// As [`DiskMailbox::open`].
    pub fn find<'a>(&self, records: impl IntoIterator<Item = (Place, &'a [u8], &'a [u8])>) -> Result<(), MailboxError> {
        self.with(|ledger| {
            let failed = |error| MailboxError::of_sled("ledger", error);
            let [clients_of_2021, clients, logins, seen] = ledger.trees();
            for tree in [clients_of_2021, clients, logins, seen] {
                tree.clear().map_err(failed)?;
            }
            for (place, key, value) in records {
                let tree = match place {
                    Place::ClientsOf2021 => clients_of_2021,
                    Place::Clients => clients,
                    Place::Logins => logins,
                    Place::Seen => seen,
                };
                tree.insert(key, value).map_err(failed)?;
            }
            Ok(())
        })?;
        self.sweep()
    }
}
