//! The cupboard: what is kept on disk, behind one small trait, so that another engine can take sled's place.
//!
//! *Promises*: what [`Mailbox::commit_mail`] and [`Mailbox::commit_ledger`] took is on the medium when they return `Ok`;
//! a batch of mail that was not taken may be there in part, which
//! costs a repetition at the most.

mod batch;
mod class_records;
mod client_record;
mod databases;
mod disk_mailbox;
#[cfg(feature = "found-records")]
pub mod found;
mod import;
mod ledger;
mod medium;
pub(crate) mod plain_file;
mod record;
#[cfg(test)]
pub(crate) mod remembered;
mod reserve;
mod rewrite;
mod spent;
mod sweep;
mod take_over;

use bytes::Bytes;
use client_wire::{
    key::SessionKey,
    login::{Freshness, LoginForm},
};
use ipc::ingress_store::Ack;
use session_ipc::Sequence;
use wire::address::ClientAddress;

pub(crate) use batch::Change;
pub use batch::{Committed, MailBatch, Uncommitted, commit};
pub use disk_mailbox::DiskMailbox;

/// What the office needs of storage. All calls block.
pub trait Mailbox: Send + Sync + 'static {
    /// The key of a registered client.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    fn key_of(&self, client: &ClientAddress) -> Result<Option<SessionKey>, MailboxError>;

    /// Whether this makes a login of the client fresh: an IV or a nonce that it has not used, a time after its last login's. For a
    /// client that signs its logins no nonce does: whoever has read a signed login could send its nonce alone.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    fn is_fresh(&self, client: &ClientAddress, freshness: &Freshness) -> Result<bool, MailboxError>;

    /// Writes entries to the ledger and returns when they are on the medium.
    ///
    /// # Errors
    /// If that cannot be promised.
    fn commit_ledger(&self, entries: &[LedgerEntry]) -> Result<(), MailboxError>;

    /// What is known of an inbox without reading its messages; all zero if there is none.
    ///
    /// # Errors
    /// If the inbox cannot be read.
    fn summary_of(&self, client: &ClientAddress) -> Result<Summary, MailboxError>;

    /// Messages of an inbox at `range.0` and later, before `range.1`, oldest first; as many as fit `limit`, at least one. A
    /// record that is no message is named and skipped.
    ///
    /// # Errors
    /// If the inbox cannot be read.
    fn peek(&self, client: &ClientAddress, range: (Sequence, Sequence), limit: PageLimit)
    -> Result<Page, MailboxError>;

    /// The oldest message of an inbox, from `range.0` on and before `range.1`, that came without a SURB-ack.
    fn oldest_ackless(&self, client: &ClientAddress, range: (Sequence, Sequence)) -> Option<Sequence>;

    /// When a registered client was last seen, in seconds since 1970; nothing if that was never written down.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    fn last_seen(&self, client: &ClientAddress) -> Result<Option<u64>, MailboxError>;

    /// Some registered clients behind this one, in order of address, and when each was last seen.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    fn clients_after(&self, client: Option<ClientAddress>) -> Result<SeenClients, MailboxError>;

    /// Compares what the clock says, in seconds since 1970, with when the gateway last ran, and keeps it durably: whether
    /// it is believed (see [`clock`](crate::clock)).
    ///
    /// # Errors
    /// If the ledger cannot be read or written.
    fn look_at_clock(&self, now: u64) -> Result<bool, MailboxError>;

    /// Some messages that arrived before this time (in milliseconds since 1970), from a position on, the oldest of each inbox
    /// first.
    ///
    /// # Errors
    /// If the inboxes cannot be read.
    fn mail_before(&self, time: u64, from: &Position) -> Result<OldMail, MailboxError>;

    /// Applies a batch and returns when it is on the medium. Use [`commit`], which gives proof.
    ///
    /// # Errors
    /// If that cannot be promised. Then any part of the batch may be on the medium, or none.
    fn commit_mail(&self, batch: &MailBatch) -> Result<(), MailboxError>;

    /// What there is too little of for new mail, and unless that is [`Lack::Mail`], for new clients: there is a limit, and it is
    /// reached before the disk is full.
    ///
    /// # Errors
    /// If the file system does not say.
    fn lack(&self) -> Result<Option<Lack>, MailboxError>;

    /// Whether the ledger takes new clients.
    ///
    /// # Errors
    /// If the file system does not say.
    fn ledger_room(&self) -> Result<LedgerRoom, MailboxError>;

    /// How full the mail is; what was committed since the last question of [`lack`](Self::lack) may be counted against the limit of
    /// then.
    fn filling(&self) -> Filling;

    /// The class of a client; that of a newcomer if none was ever kept, or it cannot be read.
    fn class_of(&self, client: &ClientAddress) -> Class;

    /// Keeps the classes of these clients, and nothing of one that is a [newcomer](Class::NEWCOMER). No promise rests on it.
    ///
    /// # Errors
    /// If they cannot be written.
    fn keep_classes(&self, classes: &[(ClientAddress, Class)]) -> Result<(), MailboxError>;

    /// Closes everything and opens it again, and writes a ledger that has outgrown its share anew, with the space that was held in reserve. After an I/O error nothing can be read or
    /// written before that.
    ///
    /// # Errors
    /// If it cannot be opened.
    fn reopen(&self) -> Result<(), MailboxError>;

    /// Holds space in reserve again, if that was given away and there is room for it.
    fn keep_reserve(&self);
}

/// How often a client has proved to read what an inbox of its may hold; see `office/shares.rs`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Class(pub u8);

impl Class {
    /// Of a client that has proved nothing yet.
    pub const NEWCOMER: Self = Self(0);
}

/// How full the mail is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filling {
    /// Bytes that messages take.
    pub alive: u64,
    /// Bytes that they may take.
    pub capacity: u64,
}

impl Filling {
    /// The part that is full, in thousandths.
    pub fn thousandths(self) -> u64 {
        if self.alive == 0 { 0 } else { self.alive.saturating_mul(1_000) / self.capacity.max(1) }
    }
}

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
    /// Those who are registered take so much of it that there is none for new clients.
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
        /// Whose.
        client: ClientAddress,
        /// Which.
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
        /// About whom.
        client: ClientAddress,
    },
}

impl MailboxError {
    /// What sled's failure means.
    fn of_sled(database: &'static str, source: sled::Error) -> Self {
        match source {
            sled::Error::Corruption { .. } => Self::Damaged { database, source },
            source => Self::Database { database, source },
        }
    }
}

/// One change of the ledger.
#[derive(Debug)]
pub enum LedgerEntry {
    /// The client is registered under this key, and under no other.
    Register {
        /// Who.
        client: ClientAddress,
        /// The key.
        key: SessionKey,
        /// How it logs in with that key. Nobody signs with a key of 2021.
        logins: LoginForm,
    },
    /// The client has logged in with this, which is good for nothing from now on. After a time, which was signed, the client logs
    /// in signed until it registers anew.
    Login {
        /// Who.
        client: ClientAddress,
        /// What made the login fresh.
        freshness: Freshness,
    },
    /// The client was there at this time.
    Seen {
        /// Who.
        client: ClientAddress,
        /// When, in seconds since 1970.
        at: u64,
    },
    /// The client is not registered any more.
    Forget {
        /// Who.
        client: ClientAddress,
    },
}

/// What is known of an inbox without reading it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Where the next message goes; everything stored is before it.
    pub next: u64,
    /// Messages stored that came with a SURB-ack.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Messages stored that came without.
    pub ackless: u64,
}

/// How much one [`Mailbox::peek`] may bring.
#[derive(Clone, Copy, Debug)]
pub struct PageLimit {
    /// In messages.
    pub messages: usize,
    /// In bytes.
    pub bytes: usize,
}

/// What one [`Mailbox::peek`] brings.
#[derive(Debug)]
pub struct Page {
    /// Messages, oldest first.
    pub messages: Vec<(Sequence, Bytes)>,
    /// Records that are no message, and how many bytes of a message each may have been.
    pub unreadable: Vec<(Sequence, usize)>,
    /// Which of both came without a SURB-ack, in order.
    pub ackless: Vec<Sequence>,
    /// Everything before this has been looked at.
    pub end: Sequence,
}

impl Page {
    /// Whether what it says is there came with a SURB-ack.
    pub(crate) fn ack_of(&self, sequence: Sequence) -> Ack {
        if self.ackless.binary_search(&sequence).is_ok() { Ack::NotOwed } else { Ack::Owed }
    }
}

/// Some registered clients.
#[derive(Debug)]
pub struct SeenClients {
    /// Each, and when it was last seen, in seconds since 1970, if that was ever written down.
    pub clients: Vec<(ClientAddress, Option<u64>)>,
    /// The last one that was looked at, if there may be others behind it.
    pub next: Option<ClientAddress>,
}

/// A place among all inboxes; the default is before all of them.
#[derive(Clone, Debug, Default)]
pub struct Position(Option<ClientAddress>);

impl Position {
    /// The place behind this inbox.
    pub(crate) fn behind(client: ClientAddress) -> Self {
        Self(Some(client))
    }

    /// The inbox that lies before it.
    pub(crate) const fn last(&self) -> Option<ClientAddress> {
        self.0
    }
}

/// Some messages that are too old.
#[derive(Debug)]
pub struct OldMail {
    /// Whose, where, how many bytes, and whether it came with a SURB-ack.
    pub messages: Vec<(ClientAddress, Sequence, usize, Ack)>,
    /// Where to look on, if there may be more.
    pub next: Option<Position>,
}
