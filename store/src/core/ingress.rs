//! Deliveries of `mix-ingress`, from their arrival to their answer.
//!
//! *Promises*: a delivery is accepted only with a [`Proof`], and each is answered once, to the incarnation that made it.

use std::time::Instant;

use bytes::Bytes;
use ipc::{
    credit::{Credit, Window},
    ingress_store::{ACKLESS_LEN, Ack, DeliveryId, DeliveryRefusal, Rule, StoreToIngress},
};
use wire::address::ClientAddress;
use worker::counter::count;

use super::{Core, Fault, delivery::Pushed, pending::ReplyTo};
use crate::mailbox::{Committed, Filling, Mailbox};

/// The `mix-ingress` that is connected.
///
/// *Promises*: `window` is what this incarnation may still deliver; what was delivered by an earlier one takes nothing from it.
#[derive(Debug)]
pub(super) struct Ingress {
    /// Which incarnation is connected; 0 before the first.
    incarnation: u64,
    whole_window: Window,
    window: Credit,
}

impl Ingress {
    pub(super) fn new(window: Window) -> Self {
        Self { incarnation: 0, whole_window: window, window: Credit::new(window) }
    }

    /// A new incarnation is connected.
    pub(super) const fn up(&mut self) {
        self.incarnation += 1;
        self.window = Credit::new(self.whole_window);
    }

    /// Bytes that were delivered and are not answered yet.
    fn in_flight(&self) -> u64 {
        debug_assert!(self.window.left().bytes <= self.whole_window.bytes, "more was given back than taken");
        self.whole_window.bytes.saturating_sub(self.window.left().bytes)
    }
}

/// Why a delivery may be accepted. There is no other way to make one than to have the message durable or received.
#[derive(Debug)]
pub(super) struct Proof(Ground);

#[derive(Debug)]
enum Ground {
    Commit,
    Receipt,
}

impl Proof {
    /// The message is on the medium.
    pub(super) const fn of_commit(_: &Committed) -> Self {
        Self(Ground::Commit)
    }

    /// The client has proved that it read the message.
    pub(super) const fn of_receipt(_: &Pushed) -> Self {
        Self(Ground::Receipt)
    }

    /// Nothing is proved.
    #[cfg(feature = "ack-before-commit")]
    pub(super) const fn of_nothing() -> Self {
        Self(Ground::Commit)
    }
}

impl<M: Mailbox> Core<M> {
    /// A delivery.
    ///
    /// # Errors
    /// If it breaks a rule.
    pub fn deliver(
        &mut self,
        delivery: DeliveryId,
        client: ClientAddress,
        (message, ack): (Bytes, Ack),
        now: Instant,
    ) -> Result<(), Fault> {
        let len = message.len();
        if ack == Ack::NotOwed && len > ACKLESS_LEN {
            return Err(Rule::LargeAckless.into());
        }
        if !self.ingress.window.take(len) {
            return Err(Rule::OverWindow.into());
        }
        count(&self.counters.messages_delivered);
        let reply_to = ReplyTo { ingress: self.ingress.incarnation, delivery };
        match self.take_delivery(&client, message, ack, reply_to, now) {
            Ok(()) => {}
            Err(reason) => self.refuse(reply_to, len, reason),
        }
        Ok(())
    }

    /// Takes a message into its inbox, or returns why it is refused.
    fn take_delivery(
        &mut self,
        client: &ClientAddress,
        message: Bytes,
        ack: Ack,
        reply_to: ReplyTo,
        now: Instant,
    ) -> Result<(), DeliveryRefusal> {
        let len = message.len();
        let (filling, shares) = (self.filling_now(), *self.inboxes.shares());
        if self.retention.is_forgetting(client) {
            return Err(DeliveryRefusal::UnknownClient);
        }
        let inbox = match self.inboxes.open(self.mailbox.as_ref(), client, self.commits.mail()) {
            Ok(Some(inbox)) => inbox,
            Ok(None) => return Err(DeliveryRefusal::UnknownClient),
            Err(error) => {
                self.note_failure(&error, now);
                return Err(DeliveryRefusal::StorageFailed);
            }
        };
        if inbox.is_unfit(len) {
            return Err(DeliveryRefusal::UnfitForClient);
        }
        let load = inbox.load();
        let is_full = load.messages >= self.config.inbox_messages || load.bytes + len as u64 > self.config.inbox_bytes;
        if ack == Ack::Owed && is_full {
            return Err(DeliveryRefusal::InboxFull);
        }
        let session = inbox.attached();
        let attachment = session.and_then(|session| self.sessions.attachment(session));
        let keeps_up = attachment.is_some_and(|attachment| attachment.takes_live_mail(inbox, len));
        if !keeps_up && !self.health.is_sound() {
            return Err(DeliveryRefusal::StorageFailed);
        }
        let has_share = match ack {
            Ack::Owed => shares.admit(inbox.class(), load, len, filling),
            Ack::NotOwed => shares.ackless(filling) > 0,
        };
        if !keeps_up && !has_share {
            count(&self.counters.refused_inbox_share);
            return Err(DeliveryRefusal::InboxFull);
        }
        let sequence = inbox.take(message, ack, reply_to, self.counters.messages_pending.raise());
        if keeps_up {
            self.commits.spill_at(now + self.config.spill_after, *client, sequence);
        } else {
            // Spill earlier live mail too: otherwise a crash keeps this message, loses those, and their resends arrive out of order.
            self.spill_live(client);
        }
        if let Some(session) = session {
            self.wake(session);
        }
        Ok(())
    }

    /// How full the mail is. What is not committed yet counts as if it were.
    pub(super) fn filling_now(&self) -> Filling {
        let filling = self.health.filling();
        Filling { alive: filling.alive + self.ingress.in_flight(), ..filling }
    }

    pub(super) fn accept(&mut self, reply_to: ReplyTo, len: usize, proof: &Proof) {
        count(match proof.0 {
            Ground::Commit => &self.counters.accepted_by_commit,
            Ground::Receipt => &self.counters.accepted_by_receipt,
        });
        self.answer(reply_to, len, StoreToIngress::AcceptDelivery { delivery: reply_to.delivery });
    }

    pub(super) fn refuse(&mut self, reply_to: ReplyTo, len: usize, reason: DeliveryRefusal) {
        count(match reason {
            DeliveryRefusal::UnknownClient => &self.counters.refused_unknown_client,
            DeliveryRefusal::InboxFull => &self.counters.refused_inbox_full,
            DeliveryRefusal::StorageFailed => &self.counters.refused_storage_failed,
            DeliveryRefusal::UnfitForClient => &self.counters.refused_unfit_for_client,
        });
        self.answer(reply_to, len, StoreToIngress::RefuseDelivery { delivery: reply_to.delivery, reason });
    }

    /// Answers the incarnation that delivered, unless it is gone.
    fn answer(&mut self, reply_to: ReplyTo, len: usize, answer: StoreToIngress) {
        if reply_to.ingress == self.ingress.incarnation {
            self.ingress.window.give_back(len);
            self.effects.to_ingress.push(answer);
        }
    }
}
