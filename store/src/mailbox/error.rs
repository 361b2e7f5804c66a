//! What is full, and what has failed.

use wire::address::ClientAddress;

/// What is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lack {
    /// The disk.
    #[error(
        "the disk is nearly full: {} MiB are free, and nothing new is written below {} MiB; make room on the disk of the \
         gateway's data", free >> 20, floor >> 20
    )]
    Disk {
        /// Bytes that are free.
        free: u64,
        /// Bytes that must be.
        floor: u64,
    },
    /// The files of the messages.
    #[error(
        "stored messages take {} MiB, and they may have {} MiB of `data_bytes` in [limits]; clients that fetch theirs make room, \
         or raise it", used >> 20, most >> 20
    )]
    Mail {
        /// Bytes that they have.
        used: u64,
        /// Bytes up to which they take new messages.
        most: u64,
    },
    /// The ledger.
    #[error(
        "the ledger of clients takes {} MiB, and new clients are taken below {} MiB, a third of its share of `data_bytes` in \
         [limits], which is {} MiB; raise `data_bytes`, or have clients forgotten sooner (`client_idle`)",
        used >> 20, most >> 20, share >> 20
    )]
    Ledger {
        /// Bytes that it has.
        used: u64,
        /// Bytes up to which it takes new clients.
        most: u64,
        /// Bytes that it may have.
        share: u64,
    },
}

/// How much of its share the ledger has taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LedgerRoom {
    /// There is room.
    #[default]
    Ample,
    /// Registered clients take so much of it that there is none for new ones.
    NoNewClients(Lack),
    /// Most of its file holds nothing. It must be opened again.
    Outgrown,
}

/// Storage failed.
#[derive(Debug, thiserror::Error)]
pub enum MailboxError {
    /// A database failed.
    #[error("the {database} database failed: {source}")]
    Database {
        /// Which: `ledger` or `inboxes`.
        database: &'static str,
        /// What sled said.
        source: sled::Error,
    },
    /// What a database holds is not what was written.
    #[error(
        "the {database} database is damaged, probably by the disk: {source}; stop the gateway and \
         restore the database's folder from a backup, or move it away to start with an empty one (without the ledger, clients \
         must register again; without the inboxes, stored messages are lost)"
    )]
    Damaged {
        /// Which: `ledger` or `inboxes`.
        database: &'static str,
        /// What sled said.
        source: sled::Error,
    },
    /// A file of a database failed.
    #[error("cannot {action} in the {database} directory: {source}; check its owner, its free space and the disk")]
    File {
        /// Which: `ledger` or `inboxes`.
        database: &'static str,
        /// What was tried.
        action: &'static str,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// There is no room for new mail and new clients.
    #[error("there is no room left: {0}")]
    NoRoom(Lack),
    /// Storage has failed before and is not open again yet.
    #[error("the databases are closed after a failure")]
    Closed,
    /// A bug: the numbers of an inbox rise, and this one does not.
    #[error("message {number} of inbox {client} comes after a later one, and is refused; please report this")]
    OutOfOrder {
        /// Whose inbox.
        client: ClientAddress,
        /// The message's number.
        number: u64,
    },
    /// A later version of the gateway has written this.
    #[error("the file {file} in the mail directory was written by a newer version of the gateway; go back to that")]
    FromTheFuture {
        /// Its name.
        file: String,
    },
    /// What is written about a client is not in any known form.
    #[error(
        "what the {database} database says about client {client} has an unknown form; if it was written by a newer version of \
         the gateway, go back to that; if the disk is damaged, the client can register again"
    )]
    UnknownRecord {
        /// Which: `ledger` or `inboxes`.
        database: &'static str,
        /// About which client.
        client: ClientAddress,
    },
}

impl MailboxError {
    /// What sled's failure means.
    pub(crate) fn of_sled(database: &'static str, source: sled::Error) -> Self {
        match source {
            sled::Error::Corruption { .. } => Self::Damaged { database, source },
            source => Self::Database { database, source },
        }
    }
}
