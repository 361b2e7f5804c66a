//! What is known of the inboxes in use: numbers, never the stored mail itself, and the mail in custody.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    mem,
};

use bytes::Bytes;
use client_wire::key::KeyKind;
use ipc::ingress_store::{Ack, DeliveryId};
use session_ipc::{Sequence, SessionId};
use wire::address::ClientAddress;

use super::shares::Shares;
use crate::mailbox::{Class, MailBatch, Mailbox, MailboxError, Summary};

/// Inboxes kept in memory before unused ones are looked for and forgotten (about 250 bytes each).
const KEPT: usize = if cfg!(test) { 2 } else { 16_384 };
/// Then as many times those in use are kept as well. In tests unused ones are forgotten all the time.
const SPARED: usize = if cfg!(test) { 1 } else { 2 };

/// Whom to answer for a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    /// Which incarnation of `mix-ingress` delivered it.
    pub(super) ingress: u64,
    /// Its name for the delivery.
    pub(super) delivery: DeliveryId,
}

/// A message that is not accepted yet.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) message: Bytes,
    pub(super) ack: Ack,
    pub(super) ticket: Ticket,
    pub(super) state: Custody,
}

/// How a message is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Custody {
    /// In memory only.
    Live,
    /// Being written.
    Spilling,
    /// Pushed, then refused because it could not be written. Kept, empty, until the session ends or confirms it, so that it is
    /// not taken for a stored one.
    Refused,
}

/// A number of messages and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) messages: u64,
    pub(super) bytes: u64,
}

impl Load {
    pub(super) const fn add(&mut self, len: usize) {
        self.messages += 1;
        self.bytes += len as u64;
    }

    pub(super) const fn sub(&mut self, len: usize) {
        self.messages = self.messages.saturating_sub(1);
        // No messages have no bytes, whatever a damaged one was counted for.
        self.bytes = if self.messages == 0 { 0 } else { self.bytes.saturating_sub(len as u64) };
    }
}

/// Mail of an inbox in one state. What came without a SURB-ack has a quota of its own, and its few bytes count nowhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pile {
    /// What came with a SURB-ack.
    pub(super) with_ack: Load,
    /// Messages that came without.
    pub(super) ackless: u64,
}

impl Pile {
    fn of(summary: &Summary) -> Self {
        let with_ack = Load { messages: summary.messages, bytes: summary.bytes };
        Self { with_ack, ackless: summary.ackless }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.with_ack.messages == 0 && self.ackless == 0
    }

    pub(super) const fn add(&mut self, len: usize, ack: Ack) {
        match ack {
            Ack::Owed => self.with_ack.add(len),
            Ack::NotOwed => self.ackless += 1,
        }
    }

    pub(super) const fn sub(&mut self, len: usize, ack: Ack) {
        match ack {
            Ack::Owed => self.with_ack.sub(len),
            Ack::NotOwed => self.ackless = self.ackless.saturating_sub(1),
        }
    }
}

/// One inbox in use.
#[derive(Debug)]
pub(super) struct Inbox {
    /// The client is software of 2021, which crashes on messages of some lengths.
    pub(super) is_of_2021: bool,
    /// Where the next message goes.
    next: u64,
    /// Everything before this has been proved received or was too old, though its removal may not be committed yet.
    pub(super) gone_end: Sequence,
    /// Everything stored is before this.
    pub(super) stored_end: Sequence,
    /// On disk, and not in custody.
    pub(super) stored: Pile,
    /// In custody, spilling.
    pub(super) spilling: Pile,
    /// In custody, live.
    pub(super) live: Pile,
    /// Whatever came without a SURB-ack and is before this has been received or has given way, though its removal may not be committed
    /// yet.
    pub(super) ackless_gone_end: Sequence,
    pub(super) custody: BTreeMap<Sequence, Held>,
    /// Records that are no messages, and leave or have left the inbox.
    pub(super) set_aside: BTreeSet<Sequence>,
    pub(super) attached: Option<SessionId>,
    /// What its client has proved so far, on which its share rests.
    pub(super) class: Class,
    /// Proved received since it has this class.
    proved: Load,
    /// Commits under way that change this inbox.
    committing: u32,
}

impl Inbox {
    fn new(is_of_2021: bool, summary: Summary, class: Class) -> Self {
        Self {
            is_of_2021,
            next: summary.next,
            gone_end: Sequence(0),
            stored_end: Sequence(summary.next),
            stored: Pile::of(&summary),
            spilling: Pile::default(),
            live: Pile::default(),
            ackless_gone_end: Sequence(0),
            custody: BTreeMap::new(),
            set_aside: BTreeSet::new(),
            attached: None,
            class,
            proved: Load::default(),
            committing: 0,
        }
    }

    /// Messages and bytes of all mail that came with a SURB-ack.
    pub(super) const fn load(&self) -> Load {
        let (stored, spilling, live) = (&self.stored.with_ack, &self.spilling.with_ack, &self.live.with_ack);
        Load {
            messages: stored.messages + spilling.messages + live.messages,
            bytes: stored.bytes + spilling.bytes + live.bytes,
        }
    }

    /// Messages that came without a SURB-ack and are on disk, or soon will be.
    pub(super) const fn ackless(&self) -> u64 {
        self.stored.ackless + self.spilling.ackless
    }

    /// Whether a message has given way to a later one that came without a SURB-ack, too.
    pub(super) fn has_given_way(&self, sequence: Sequence, ack: Ack) -> bool {
        ack == Ack::NotOwed && sequence < self.ackless_gone_end
    }

    /// Takes a message into custody, live.
    pub(super) fn take(&mut self, message: Bytes, ack: Ack, ticket: Ticket) -> Sequence {
        let sequence = Sequence(self.next);
        self.next += 1;
        self.live.add(message.len(), ack);
        self.custody.insert(sequence, Held { message, ack, ticket, state: Custody::Live });
        sequence
    }

    /// Its client has proved to have received a message. Returns the class that it has risen to by that.
    pub(super) fn prove(&mut self, len: usize, shares: &Shares) -> Option<Class> {
        self.proved.add(len);
        self.class = shares.risen(self.class, self.proved)?;
        self.proved = Load::default();
        Some(self.class)
    }

    /// Whether there is more to it than the disk knows.
    fn is_in_use(&self) -> bool {
        self.attached.is_some() || !self.custody.is_empty() || self.committing > 0
    }

    /// Nobody is attached, and nothing is in custody any more. Returns what was.
    pub(super) fn abandon(&mut self) -> BTreeMap<Sequence, Held> {
        self.attached = None;
        (self.live, self.spilling) = (Pile::default(), Pile::default());
        mem::take(&mut self.custody)
    }
}

/// The inboxes in use, looked up when needed.
#[derive(Debug)]
pub(super) struct Inboxes {
    /// Boxed: half of the places in a table are empty.
    known: HashMap<ClientAddress, Box<Inbox>>,
    /// With so many, unused ones are forgotten. Twice as many as were in use the last time, so that looking costs each that is
    /// looked up no more than a constant.
    forget_at: usize,
    shares: Shares,
    /// Classes that are to be kept.
    changed: HashMap<ClientAddress, Class>,
}

impl Inboxes {
    pub(super) fn new(shares: Shares) -> Self {
        Self { known: HashMap::new(), forget_at: KEPT, shares, changed: HashMap::new() }
    }

    /// The inbox of a registered client.
    pub(super) fn open(
        &mut self,
        mailbox: &impl Mailbox,
        client: &ClientAddress,
        uncommitted: &MailBatch,
    ) -> Result<Option<&mut Inbox>, MailboxError> {
        if !self.known.contains_key(client) {
            let Some(key) = mailbox.key_of(client)? else { return Ok(None) };
            if self.known.len() >= self.forget_at {
                self.known.retain(|client, inbox| inbox.is_in_use() || uncommitted.touches(client));
                self.forget_at = KEPT.max(SPARED * self.known.len());
            }
            let summary = mailbox.summary_of(client)?;
            let kept = self.changed.get(client).copied().unwrap_or_else(|| mailbox.class_of(client));
            let covering = self.shares.covering(Pile::of(&summary).with_ack);
            let inbox = Inbox::new(is_of_2021(key.kind()), summary, kept.max(covering));
            self.known.insert(*client, Box::new(inbox));
        }
        Ok(self.get_mut(client))
    }

    /// An inbox that is in use.
    pub(super) fn get(&self, client: &ClientAddress) -> Option<&Inbox> {
        self.known.get(client).map(AsRef::as_ref)
    }

    /// An inbox that is in use.
    pub(super) fn get_mut(&mut self, client: &ClientAddress) -> Option<&mut Inbox> {
        self.known.get_mut(client).map(AsMut::as_mut)
    }

    /// Forgets the inbox of a client that is not in the ledger any more.
    pub(super) fn remove(&mut self, client: &ClientAddress) {
        self.known.remove(client);
        self.changed.insert(*client, Class::NEWCOMER);
    }

    /// The client has risen.
    pub(super) fn rose(&mut self, client: ClientAddress, class: Class) {
        self.changed.insert(client, class);
    }

    /// Whether classes have changed.
    pub(super) fn has_changed_classes(&self) -> bool {
        !self.changed.is_empty()
    }

    /// The classes that have changed.
    pub(super) fn take_changed_classes(&mut self) -> Vec<(ClientAddress, Class)> {
        mem::take(&mut self.changed).into_iter().collect()
    }

    /// The client has registered with a key of this kind.
    pub(super) fn registered(&mut self, client: &ClientAddress, kind: KeyKind) {
        if let Some(inbox) = self.known.get_mut(client) {
            inbox.is_of_2021 = is_of_2021(kind);
        }
    }

    /// The batch is being committed: its inboxes must not be looked up meanwhile.
    pub(super) fn commit_begins(&mut self, batch: &MailBatch) {
        for client in batch.clients() {
            if let Some(inbox) = self.known.get_mut(&client) {
                inbox.committing += 1;
            }
        }
    }

    /// The batch is committed.
    pub(super) fn commit_ends(&mut self, batch: &MailBatch) {
        for client in batch.clients() {
            if let Some(inbox) = self.known.get_mut(&client) {
                inbox.committing = inbox.committing.saturating_sub(1);
            }
        }
    }

    /// Clients with mail that is only in memory.
    pub(super) fn with_live_mail(&self) -> BTreeSet<ClientAddress> {
        self.known.iter().filter(|(_, inbox)| !inbox.live.is_empty()).map(|(client, _)| *client).collect()
    }
}

const fn is_of_2021(kind: KeyKind) -> bool {
    match kind {
        KeyKind::CtrHmac => true,
        KeyKind::GcmSiv => false,
    }
}
