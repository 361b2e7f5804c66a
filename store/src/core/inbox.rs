//! What is known of one inbox in use: numbers, never the stored mail itself, and the messages that are not accepted yet.

use std::collections::BTreeSet;

use bytes::Bytes;
use client_wire::key::KeyKind;
use figures::Raised;
use ipc::ingress_store::Ack;
use session_ipc::{Sequence, SessionId};
use wire::address::ClientAddress;

use super::{
    load::{Load, Pile},
    pending::{Pending, PendingMessage, ReplyTo},
    shares::Shares,
};
use crate::mailbox::{Class, Mailbox, Summary};

/// Length of the only message under [`SHORTEST_MESSAGE`] that a client of 2021 survives: the plaintext of an ack.
const ACK_LEN: usize = 21;
/// A client of 2021 takes this many bytes of any other message for granted.
const SHORTEST_MESSAGE: usize = 32;

/// One inbox in use.
///
/// *Promises*: everything before `gone_end` has been received or was too old, everything stored is before `stored_end`, and neither
/// ever falls. A message is counted in exactly one of `stored`, live and spilling; a refused one is counted in none.
#[derive(Debug)]
pub(super) struct Inbox {
    /// The client is software of 2021, which crashes on messages of some lengths.
    is_of_2021: bool,
    /// Where the next message goes.
    next: u64,
    /// Everything before this has been proved received or was too old, though its removal may not be committed yet.
    gone_end: Sequence,
    /// Everything stored is before this.
    stored_end: Sequence,
    /// On disk, and not pending.
    stored: Pile,
    /// Not accepted yet.
    pending: Pending,
    /// What came without a SURB-ack and is before this has been received or has given way, though its removal may not be committed
    /// yet.
    ackless_gone_end: Sequence,
    /// Records that are no messages, and leave or have left the inbox.
    set_aside: BTreeSet<Sequence>,
    attached: Option<SessionId>,
    /// What its client has proved so far; the inbox's share depends on it.
    class: Class,
    /// Proved received since it has this class.
    proved: Load,
    /// Commits under way that change this inbox.
    committing: u32,
}

impl Inbox {
    /// The inbox of a client that has a key of this kind.
    pub(super) fn new(kind: KeyKind, summary: Summary, class: Class) -> Self {
        Self {
            is_of_2021: is_of_2021(kind),
            next: summary.next,
            gone_end: Sequence(0),
            stored_end: Sequence(summary.next),
            stored: Pile::of(&summary),
            pending: Pending::default(),
            ackless_gone_end: Sequence(0),
            set_aside: BTreeSet::new(),
            attached: None,
            class,
            proved: Load::default(),
            committing: 0,
        }
    }

    /// Whether a message of this length would crash the client.
    pub(super) const fn is_unfit(&self, len: usize) -> bool {
        self.is_of_2021 && len < SHORTEST_MESSAGE && len != ACK_LEN
    }

    /// Messages and bytes of all mail that came with a SURB-ack.
    pub(super) const fn load(&self) -> Load {
        let (stored, spilling, live) =
            (&self.stored.with_ack, &self.pending.spilling().with_ack, &self.pending.live().with_ack);
        Load {
            messages: stored.messages + spilling.messages + live.messages,
            bytes: stored.bytes + spilling.bytes + live.bytes,
        }
    }

    /// Messages that came without a SURB-ack and are on disk, or soon will be.
    pub(super) const fn ackless(&self) -> u64 {
        self.stored.ackless + self.pending.spilling().ackless
    }

    /// The messages that are not accepted yet.
    pub(super) const fn pending(&self) -> &Pending {
        &self.pending
    }

    /// The messages that are not accepted yet.
    pub(super) const fn pending_mut(&mut self) -> &mut Pending {
        &mut self.pending
    }

    /// The load of mail that is on disk.
    pub(super) const fn stored(&self) -> &Pile {
        &self.stored
    }

    /// Everything stored is before this.
    pub(super) const fn stored_end(&self) -> Sequence {
        self.stored_end
    }

    /// Everything before this has been proved received or was too old.
    pub(super) const fn gone_end(&self) -> Sequence {
        self.gone_end
    }

    /// What its client has proved so far.
    pub(super) const fn class(&self) -> Class {
        self.class
    }

    /// The session that is attached.
    pub(super) const fn attached(&self) -> Option<SessionId> {
        self.attached
    }

    pub(super) const fn attach(&mut self, session: SessionId) {
        self.attached = Some(session);
    }

    pub(super) const fn detach(&mut self) {
        self.attached = None;
    }

    /// Takes a message in, live. Returns its place.
    pub(super) fn take(&mut self, message: Bytes, ack: Ack, reply_to: ReplyTo, shown: Raised) -> Sequence {
        let sequence = Sequence(self.next);
        self.next += 1;
        self.pending.insert(sequence, PendingMessage::new(message, ack, reply_to, shown));
        sequence
    }

    /// A message is on the medium. Returns it, unless it was received or refused while it was being written.
    pub(super) fn commit(&mut self, sequence: Sequence) -> Option<PendingMessage> {
        let pending = self.pending.commit(sequence)?;
        self.stored.add(pending.message.len(), pending.ack);
        // So no session has read past its place, or is reading there.
        debug_assert!(sequence >= self.stored_end, "an inbox is written in the order of its numbers");
        self.stored_end = self.stored_end.max(Sequence(sequence.0 + 1));
        Some(pending)
    }

    /// The client has received everything up to this message.
    pub(super) fn receive_up_to(&mut self, sequence: Sequence) {
        self.gone_end = self.gone_end.max(Sequence(sequence.0 + 1));
    }

    /// A stored message leaves the inbox.
    pub(super) const fn remove_stored(&mut self, len: usize, ack: Ack) {
        self.stored.sub(len, ack);
    }

    /// Expires a stored message, if nothing that is older stays and no session is attached. Says whether it did.
    pub(super) fn expire(&mut self, sequence: Sequence, len: usize, ack: Ack) -> bool {
        // Expire only a prefix of the inbox: a session is pushed everything from `gone_end` on.
        let is_oldest = self.pending.first().is_none_or(|pending| sequence < pending);
        let is_gone = sequence < self.gone_end || self.has_given_way(sequence, ack);
        if self.attached.is_some() || is_gone || !is_oldest {
            return false;
        }
        self.gone_end = Sequence(sequence.0 + 1);
        self.stored.sub(len, ack);
        true
    }

    /// A stored record is no message. Says whether that is new.
    pub(super) fn set_aside(&mut self, sequence: Sequence, len: usize, ack: Ack) -> bool {
        let is_new = !self.has_given_way(sequence, ack) && self.set_aside.insert(sequence);
        if is_new {
            self.stored.sub(len, ack);
        }
        is_new
    }

    /// Whether a message has given way to a later one that came without a SURB-ack, too.
    pub(super) fn has_given_way(&self, sequence: Sequence, ack: Ack) -> bool {
        ack == Ack::NotOwed && sequence < self.ackless_gone_end
    }

    /// The oldest stored message that came without a SURB-ack.
    pub(super) fn oldest_ackless_stored(&self, mailbox: &impl Mailbox, client: &ClientAddress) -> Option<Sequence> {
        if self.stored.ackless == 0 {
            return None;
        }
        let mut from = self.gone_end.max(self.ackless_gone_end);
        loop {
            let found = mailbox.oldest_ackless(client, (from, self.stored_end))?;
            if !self.set_aside.contains(&found) {
                return Some(found);
            }
            from = Sequence(found.0 + 1);
        }
    }

    /// The oldest message without a SURB-ack that is being written.
    pub(super) fn oldest_ackless_spilling(&self) -> Option<Sequence> {
        self.pending.oldest_ackless_spilling(self.ackless_gone_end)
    }

    /// A message without a SURB-ack gives way, and with it every older one that is still there.
    pub(super) fn displace(&mut self, sequence: Sequence) {
        debug_assert!(sequence >= self.ackless_gone_end, "a message gives way twice");
        self.ackless_gone_end = Sequence(sequence.0 + 1);
    }

    /// Its client has proved to have received a message. Returns the class that it has risen to by that.
    pub(super) fn prove(&mut self, len: usize, shares: &Shares) -> Option<Class> {
        self.proved.add(len);
        self.class = shares.risen(self.class, self.proved)?;
        self.proved = Load::default();
        Some(self.class)
    }

    /// Its client has registered with a key of this kind.
    pub(super) const fn registered(&mut self, kind: KeyKind) {
        self.is_of_2021 = is_of_2021(kind);
    }

    /// A commit begins that changes it.
    pub(super) const fn commit_begins(&mut self) {
        self.committing += 1;
    }

    /// A commit that changes it is over.
    pub(super) fn commit_ends(&mut self) {
        debug_assert!(self.committing > 0, "a commit ends that did not begin");
        self.committing = self.committing.saturating_sub(1);
    }

    /// Whether there is more to it than the disk knows.
    pub(super) fn is_in_use(&self) -> bool {
        self.attached.is_some() || !self.pending.is_empty() || self.committing > 0
    }
}

const fn is_of_2021(kind: KeyKind) -> bool {
    match kind {
        KeyKind::CtrHmac => true,
        KeyKind::GcmSiv => false,
    }
}
