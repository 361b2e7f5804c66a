//! The classes of clients, in a small database of their own. They are not worth a place in a commit or in the ledger: after a start
//! without them clients only have to prove once more that they read.

use std::{io, os::fd::OwnedFd};

use nix::{
    errno::Errno,
    fcntl::{OFlag, openat},
    sys::stat::{Mode, mkdirat},
};
use wire::address::ClientAddress;

use super::{
    databases::{Database, Layout},
    rewrite,
};
use crate::mailbox::{Class, MailboxError};

/// Entries are 33 bytes, and few change.
const CLASSES: Layout = Layout { name: "shares", segment_size: 64 * 1024, cache: 1024 * 1024 };
/// Its folder, in that of the inboxes. No client's folder can have that name: it is no address.
const FOLDER: &str = "shares";

/// The classes that clients have risen to, by address: one byte each.
#[derive(Debug)]
pub(super) struct ClassRecords(Database);

impl ClassRecords {
    /// Opens them, or makes them. If they are damaged they begin empty.
    pub(super) fn open(inboxes: &OwnedFd) -> Result<Self, MailboxError> {
        let failed = |action| move |source: io::Error| MailboxError::File { database: "shares", action, source };
        match mkdirat(inboxes, FOLDER, Mode::S_IRWXU) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(failed("make")(error.into())),
        }
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let directory = openat(inboxes, FOLDER, flags, Mode::empty()).map_err(|error| failed("open")(error.into()))?;
        let open = || Database::open(directory.try_clone().map_err(failed("open"))?, CLASSES);
        open().map(Self).or_else(|error| {
            if !matches!(error, MailboxError::Damaged { .. }) {
                return Err(error);
            }
            tracing::warn!(
                id = "GWD-S015", %error,
                "the classes of clients are damaged; every client begins as a newcomer again"
            );
            rewrite::remove_database(&directory).map_err(failed("remove a damaged database"))?;
            open().map(Self)
        })
    }

    /// The class of a client.
    pub(super) fn get(&self, client: &ClientAddress) -> Result<Class, MailboxError> {
        let record = self.0.default_tree().get(client.as_bytes()).map_err(|error| self.0.error(error))?;
        Ok(record.and_then(|record| record.first().copied()).map_or(Class::NEWCOMER, Class))
    }

    /// Writes these, and returns when they are on the medium.
    pub(super) fn keep(&self, classes: &[(ClientAddress, Class)]) -> Result<(), MailboxError> {
        let mut batch = sled::Batch::default();
        for (client, class) in classes {
            match class {
                &Class::NEWCOMER => batch.remove(client.as_bytes().as_slice()),
                Class(class) => batch.insert(client.as_bytes().as_slice(), &[*class]),
            }
        }
        self.0.default_tree().apply_batch(batch).map_err(|error| self.0.error(error))?;
        self.0.commit()
    }
}
