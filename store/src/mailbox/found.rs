//! Records as a disk might return them, laid into databases that are open, so that what reads them can be shown anything.
//!
//! Only with the feature `found-records`, which is for fuzzing: opening two databases for each input would take a second.

use super::{MailboxError, SledMailbox};

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
    /// Messages and summaries.
    Inboxes,
    /// What was set aside.
    SetAside,
}

impl SledMailbox {
    /// Has both databases hold these records, key and value, and nothing else, and does what is done at every start.
    ///
    /// # Errors
    /// As [`SledMailbox::open`].
    pub fn find<'a>(&self, records: impl IntoIterator<Item = (Place, &'a [u8], &'a [u8])>) -> Result<(), MailboxError> {
        self.with(|open| {
            let failed = |error| MailboxError::of_sled("database", error);
            let [clients_of_2021, clients, logins, seen] = open.ledger.trees();
            let (inboxes, set_aside) = open.inboxes.trees();
            for tree in [clients_of_2021, clients, logins, seen, inboxes, set_aside] {
                tree.clear().map_err(failed)?;
            }
            for (place, key, value) in records {
                let tree = match place {
                    Place::ClientsOf2021 => clients_of_2021,
                    Place::Clients => clients,
                    Place::Logins => logins,
                    Place::Seen => seen,
                    Place::Inboxes => inboxes,
                    Place::SetAside => set_aside,
                };
                tree.insert(key, value).map_err(failed)?;
            }
            open.inboxes.weigh()
        })?;
        self.sweep()
    }
}
