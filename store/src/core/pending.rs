//! The messages of one inbox that are not accepted yet, from arrival to answer.
//!
//! | state | where the message is | leaves the state by |
//! |---|---|---|
//! | live | in memory; pushed, or soon to be | a receipt, a spill, a refusal |
//! | spilling | in memory and in a batch of mail | a receipt, its commit, a refusal |
//! | refused | its place only, because the message was pushed before it was refused | a receipt, the end of the session |
//!
//! *Promises*: the loads of live and of spilling mail are the sums over the messages in these states.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    mem,
};

use bytes::Bytes;
use figures::Raised;
use ipc::ingress_store::{Ack, DeliveryId};
use session_ipc::Sequence;

use super::load::Pile;

/// Which incarnation to answer for a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReplyTo {
    /// Which incarnation of `mix-ingress` delivered the message.
    pub(super) ingress: u64,
    /// The name that this incarnation gave to the delivery.
    pub(super) delivery: DeliveryId,
}

/// A message that is not accepted yet.
#[derive(Debug)]
pub(super) struct PendingMessage {
    pub(super) message: Bytes,
    pub(super) ack: Ack,
    pub(super) reply_to: ReplyTo,
    pub(super) state: PendingState,
    /// Shows the message as pending until it is refused or leaves.
    shown: Option<Raised>,
}

impl PendingMessage {
    /// A message that has just arrived.
    pub(super) const fn new(message: Bytes, ack: Ack, reply_to: ReplyTo, shown: Raised) -> Self {
        Self { message, ack, reply_to, state: PendingState::Live, shown: Some(shown) }
    }
}

/// The state of a message that is not accepted yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PendingState {
    /// In memory only.
    Live,
    /// Being written.
    Spilling,
    /// Pushed, then refused because it could not be written. The place is kept, without the message, until the session ends or
    /// confirms it: otherwise a receipt would take the message for a stored one.
    Refused,
}

/// The messages of one inbox that are not accepted yet.
#[derive(Debug, Default)]
pub(super) struct Pending {
    messages: BTreeMap<Sequence, PendingMessage>,
    live: Pile,
    spilling: Pile,
}

impl Pending {
    /// The load of live mail.
    pub(super) const fn live(&self) -> &Pile {
        &self.live
    }

    /// The load of mail that is being written.
    pub(super) const fn spilling(&self) -> &Pile {
        &self.spilling
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// The place of the oldest message.
    pub(super) fn first(&self) -> Option<Sequence> {
        self.messages.keys().next().copied()
    }

    /// The oldest message at this place or behind it.
    pub(super) fn next_from(&self, place: Sequence) -> Option<(Sequence, &PendingMessage)> {
        self.messages.range(place..).next().map(|(sequence, pending)| (*sequence, pending))
    }

    /// The oldest message without a SURB-ack, from this place on, that is being written.
    pub(super) fn oldest_ackless_spilling(&self, from: Sequence) -> Option<Sequence> {
        let mut behind = self.messages.range(from..);
        let is_one = |pending: &PendingMessage| pending.ack == Ack::NotOwed && pending.state == PendingState::Spilling;
        behind.find(|(_, pending)| is_one(pending)).map(|(sequence, _)| *sequence)
    }

    /// Where messages in this state are.
    pub(super) fn places(&self, state: PendingState) -> impl Iterator<Item = Sequence> {
        self.messages.iter().filter(move |(_, pending)| pending.state == state).map(|(sequence, _)| *sequence)
    }

    /// Whether the message at this place came with a SURB-ack, if it is live.
    pub(super) fn ack_of_live(&self, place: Sequence) -> Option<Ack> {
        let live = self.messages.get(&place).filter(|pending| pending.state == PendingState::Live);
        live.map(|pending| pending.ack)
    }

    /// A message arrives, live.
    pub(super) fn insert(&mut self, place: Sequence, arrived: PendingMessage) {
        self.live.add(arrived.message.len(), arrived.ack);
        let earlier = self.messages.insert(place, arrived);
        debug_assert!(earlier.is_none(), "a place is used twice");
    }

    /// A live message is written from now on. Returns it.
    pub(super) fn spill(&mut self, place: Sequence) -> Option<Bytes> {
        let pending = self.messages.get_mut(&place).filter(|pending| pending.state == PendingState::Live)?;
        pending.state = PendingState::Spilling;
        self.live.sub(pending.message.len(), pending.ack);
        self.spilling.add(pending.message.len(), pending.ack);
        Some(pending.message.clone())
    }

    /// A message is refused; a message that `was_pushed` keeps its place. Returns which incarnation to answer, and the message's length,
    /// unless it was refused before.
    pub(super) fn refuse(&mut self, place: Sequence, was_pushed: bool) -> Option<(ReplyTo, usize)> {
        let pending = self.messages.get_mut(&place)?;
        let (ack, len) = (pending.ack, pending.message.len());
        match mem::replace(&mut pending.state, PendingState::Refused) {
            PendingState::Live => self.live.sub(len, ack),
            PendingState::Spilling => self.spilling.sub(len, ack),
            PendingState::Refused => return None,
        }
        pending.message = Bytes::new();
        pending.shown = None;
        let reply_to = pending.reply_to;
        if !was_pushed {
            self.messages.remove(&place);
        }
        Some((reply_to, len))
    }

    /// The client has received a message. Returns it, as it was before.
    pub(super) fn receive(&mut self, place: Sequence) -> Option<PendingMessage> {
        let pending = self.messages.remove(&place)?;
        match pending.state {
            PendingState::Live => self.live.sub(pending.message.len(), pending.ack),
            PendingState::Spilling => self.spilling.sub(pending.message.len(), pending.ack),
            PendingState::Refused => {}
        }
        self.check();
        Some(pending)
    }

    /// A message is on the medium. Nothing if it was received or refused, or has given way, while it was being written.
    pub(super) fn commit(&mut self, place: Sequence) -> Option<PendingMessage> {
        let Entry::Occupied(pending) = self.messages.entry(place) else { return None };
        if pending.get().state != PendingState::Spilling {
            return None;
        }
        let pending = pending.remove();
        self.spilling.sub(pending.message.len(), pending.ack);
        self.check();
        Some(pending)
    }

    /// The session that was pushed these messages is over: places of refused ones are needed no more.
    pub(super) fn forget_refused(&mut self) {
        self.messages.retain(|_, pending| pending.state != PendingState::Refused);
        self.check();
    }

    /// Gives all messages up.
    pub(super) fn take_all(&mut self) -> BTreeMap<Sequence, PendingMessage> {
        (self.live, self.spilling) = (Pile::default(), Pile::default());
        mem::take(&mut self.messages)
    }

    /// The message is answered now, and never again.
    #[cfg(feature = "ack-before-commit")]
    pub(super) fn take_reply_to(&mut self, place: Sequence) -> Option<(ReplyTo, usize)> {
        let pending = self.messages.get_mut(&place)?;
        let nobody = ReplyTo { ingress: u64::MAX, ..pending.reply_to };
        Some((mem::replace(&mut pending.reply_to, nobody), pending.message.len()))
    }

    fn check(&self) {
        let is_nothing = self.live.is_empty() && self.spilling.is_empty();
        debug_assert!(is_nothing || !self.messages.is_empty(), "no messages have no load");
    }
}
