//! The calls that the core makes to storage.

use client_wire::{key::SessionKey, login::Freshness};
use ipc::operator::{ClientCount, ClientKind};
use session_ipc::Sequence;
use wire::address::ClientAddress;

use super::{
    batch::MailBatch,
    entry::LedgerEntry,
    error::{Lack, LedgerRoom, MailboxError},
    view::{Class, Filling, InboxSize, Measure, OldMail, Page, PageLimit, Position, SeenClients, Summary},
};

/// What the core needs of storage. All calls block.
pub trait Mailbox: Send + Sync + 'static {
    /// The key of a registered client.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    fn key_of(&self, client: &ClientAddress) -> Result<Option<SessionKey>, MailboxError>;

    /// Whether this makes a login of the client fresh: an IV or a nonce that it has not used, or a time after that of its last login.
    /// A client that signs its logins has no fresh nonce: a listener that has read a signed login could send its nonce alone.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    fn is_fresh(&self, client: &ClientAddress, freshness: &Freshness) -> Result<bool, MailboxError>;

    /// How a registered client proves who it is.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    fn kind_of(&self, client: &ClientAddress) -> Result<Option<ClientKind>, MailboxError>;

    /// How many clients are registered. Reads all of the ledger.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    fn count_clients(&self) -> Result<ClientCount, MailboxError>;

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
    /// it is believed (see `clock.rs`).
    ///
    /// # Errors
    /// If the ledger cannot be read or written.
    fn check_clock(&self, now: u64) -> Result<bool, MailboxError>;

    /// Some messages that arrived before this time (in milliseconds since 1970), from a position on, the oldest of each inbox
    /// first.
    ///
    /// # Errors
    /// If the inboxes cannot be read.
    fn mail_before(&self, time: u64, from: &Position) -> Result<OldMail, MailboxError>;

    /// Applies a batch and returns when it is on the medium. Use [`commit`](super::commit()), which gives proof.
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

    /// What operators are shown of storage. Goes through all clients and all inboxes, without reading mail.
    ///
    /// # Errors
    /// If ledger or file system cannot be read.
    fn measure(&self, whole: InboxSize) -> Result<Measure, MailboxError>;

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

    /// Closes everything and opens it again. A ledger that has outgrown its share is rewritten, in the space that was held in
    /// reserve. After an I/O error nothing can be read or written before that.
    ///
    /// # Errors
    /// If it cannot be opened.
    fn reopen(&self) -> Result<(), MailboxError>;

    /// Holds space in reserve again, if that was given away and there is room for it.
    fn keep_reserve(&self);
}
