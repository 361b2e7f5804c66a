//! The inboxes in use, and the classes of their clients that are to be kept.

use std::{
    collections::{BTreeSet, HashMap},
    mem,
    time::{Duration, Instant},
};

use client_wire::key::KeyKind;
use wire::address::ClientAddress;

use super::{inbox::Inbox, load::Pile, shares::Shares};
use crate::mailbox::{Class, MailBatch, Mailbox, MailboxError};

/// Inboxes kept in memory, at about 250 bytes each, before unused ones are forgotten.
const KEPT: usize = if cfg!(test) { 2 } else { 16_384 };
/// Then the limit becomes as many times those in use. In tests unused inboxes are forgotten all the time.
const SPARED: usize = if cfg!(test) { 1 } else { 2 };
/// How often changed classes are kept. A process that dies loses what clients rose in this time, and what they had earned for the
/// next class.
pub(super) const KEEP_CLASSES: Duration = Duration::from_secs(60);
/// The inboxes in use, looked up when needed.
#[derive(Debug)]
pub(super) struct Inboxes {
    /// Boxed: half of the places in a table are empty.
    known: HashMap<ClientAddress, Box<Inbox>>,
    /// With so many, unused ones are forgotten. The limit is twice what was in use the last time, so that the search costs each look-up
    /// no more than a constant.
    forget_at: usize,
    shares: Shares,
    /// Classes that are to be kept.
    changed: HashMap<ClientAddress, Class>,
    /// When they may be kept next.
    keep_classes_at: Instant,
}

impl Inboxes {
    pub(super) fn new(shares: Shares, now: Instant) -> Self {
        let keep_classes_at = now + KEEP_CLASSES;
        Self { known: HashMap::new(), forget_at: KEPT, shares, changed: HashMap::new(), keep_classes_at }
    }

    /// What inboxes may hold.
    pub(super) const fn shares(&self) -> &Shares {
        &self.shares
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
            let inbox = Inbox::new(key.kind(), summary, kept.max(covering));
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

    /// The client has risen to this class.
    pub(super) fn rose(&mut self, client: ClientAddress, class: Class) {
        self.changed.insert(client, class);
    }

    /// When changed classes may be kept, if there are any.
    pub(super) fn keep_classes_at(&self) -> Option<Instant> {
        (!self.changed.is_empty()).then_some(self.keep_classes_at)
    }

    /// The classes that have changed. The next are kept some time after `now`.
    pub(super) fn take_changed_classes(&mut self, now: Instant) -> Vec<(ClientAddress, Class)> {
        self.keep_classes_at = now + KEEP_CLASSES;
        mem::take(&mut self.changed).into_iter().collect()
    }

    /// Classes were kept, or not: then they are earned once more after the next start.
    pub(super) fn classes_kept(outcome: &Result<(), MailboxError>) {
        if let Err(error) = outcome {
            tracing::debug!(%error, "the classes of clients cannot be kept");
        }
    }

    /// The client has registered with a key of this kind.
    pub(super) fn registered(&mut self, client: &ClientAddress, kind: KeyKind) {
        if let Some(inbox) = self.known.get_mut(client) {
            inbox.registered(kind);
        }
    }

    /// A commit of the batch begins: its inboxes must stay in memory, because the disk's view of them is out of date.
    pub(super) fn commit_begins(&mut self, batch: &MailBatch) {
        for client in batch.clients() {
            if let Some(inbox) = self.known.get_mut(&client) {
                inbox.commit_begins();
            }
        }
    }

    /// The commit of the batch is over.
    pub(super) fn commit_ends(&mut self, batch: &MailBatch) {
        for client in batch.clients() {
            if let Some(inbox) = self.known.get_mut(&client) {
                inbox.commit_ends();
            }
        }
    }

    /// Clients with mail that is only in memory.
    pub(super) fn with_live_mail(&self) -> BTreeSet<ClientAddress> {
        self.known.iter().filter(|(_, inbox)| !inbox.pending().live().is_empty()).map(|(client, _)| *client).collect()
    }
}
