//! What can be read of storage: inboxes in numbers, and pages of mail, of clients and of old messages.

use bytes::Bytes;
use ipc::ingress_store::Ack;
use session_ipc::Sequence;
use wire::address::ClientAddress;

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

/// How much one [`Mailbox::peek`](super::Mailbox::peek) may bring.
#[derive(Clone, Copy, Debug)]
pub struct PageLimit {
    /// In messages.
    pub messages: usize,
    /// In bytes.
    pub bytes: usize,
}

/// What one [`Mailbox::peek`](super::Mailbox::peek) brings.
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

/// How often a client has proved to read what an inbox of its may hold; see `core/shares.rs`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Class(pub u8);

impl Class {
    /// Of a client that has proved nothing yet.
    pub const NEWCOMER: Self = Self(0);
}

/// What one inbox may hold at the most.
#[derive(Clone, Copy, Debug)]
pub struct InboxSize {
    /// In messages that came with a SURB-ack.
    pub messages: u64,
    /// In bytes of these.
    pub bytes: u64,
}

/// What operators are shown of storage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measure {
    /// Registered clients.
    pub clients: u64,
    /// Messages on disk.
    pub messages: u64,
    /// Bytes of those that came with a SURB-ack.
    pub bytes: u64,
    /// Inboxes that hold as much as one may hold.
    pub full: u64,
    /// When the oldest message came, in milliseconds since 1970.
    pub oldest: Option<u64>,
    /// Bytes of all files.
    pub data: u64,
    /// Bytes that are free on the disk.
    pub free: u64,
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
