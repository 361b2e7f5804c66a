//! Custody of a message: from its arrival to its acceptance, and its removal.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    mem,
    time::Instant,
};

use bytes::Bytes;
use ipc::ingress_store::{ACKLESS_LEN, Ack, DeliveryId, DeliveryRefusal, Rule, StoreToIngress};
use session_ipc::{Sequence, SessionId};
use wire::address::ClientAddress;
use worker::counter::count;

use super::{
    Fault, Office,
    attachment::Pushed,
    desk::Session,
    inbox::{Custody, Ticket},
    storage::Storage,
};
use crate::mailbox::{Committed, Filling, MailBatch, Mailbox};

/// Length of the only message under [`SHORTEST_MESSAGE`] that a client of 2021 survives: an ack's plaintext.
const ACK_LEN: usize = 21;
/// A client of 2021 takes this many bytes of any other message for granted.
const SHORTEST_MESSAGE: usize = 32;

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
    const fn of_commit(_: &Committed) -> Self {
        Self(Ground::Commit)
    }

    /// The client has proved that it read the message.
    const fn of_receipt(_: &Pushed) -> Self {
        Self(Ground::Receipt)
    }
}

impl<M: Mailbox> Office<M> {
    pub(super) fn deliver(
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
        if !self.window.take(len) {
            return Err(Rule::OverWindow.into());
        }
        let ticket = Ticket { ingress: self.ingress, delivery };
        let filling = self.filling_now();
        if self.forgetting.contains_key(&client) {
            self.refuse(ticket, len, DeliveryRefusal::UnknownClient);
            return Ok(());
        }
        let inbox = match self.inboxes.open(self.mailbox.as_ref(), &client, &self.batch) {
            Ok(Some(inbox)) => inbox,
            Ok(None) => {
                self.refuse(ticket, len, DeliveryRefusal::UnknownClient);
                return Ok(());
            }
            Err(error) => {
                self.trouble(&error, now);
                self.refuse(ticket, len, DeliveryRefusal::StorageFailed);
                return Ok(());
            }
        };
        if inbox.is_of_2021 && len < SHORTEST_MESSAGE && len != ACK_LEN {
            self.refuse(ticket, len, DeliveryRefusal::UnfitForClient);
            return Ok(());
        }
        let load = inbox.load();
        let is_full = load.messages >= self.rules.inbox_messages || load.bytes + len as u64 > self.rules.inbox_bytes;
        if ack == Ack::Owed && is_full {
            self.refuse(ticket, len, DeliveryRefusal::InboxFull);
            return Ok(());
        }
        let session = inbox.attached;
        let keeps_up = match session.and_then(|session| self.sessions.get(&session)) {
            Some(Session::Attached(attachment)) => attachment.takes_live_mail(inbox, len),
            _ => false,
        };
        if !keeps_up && self.outlook.storage != Storage::Sound {
            self.refuse(ticket, len, DeliveryRefusal::StorageFailed);
            return Ok(());
        }
        let has_share = match ack {
            Ack::Owed => self.shares.admit(inbox.class, load, len, filling),
            Ack::NotOwed => self.shares.ackless(filling) > 0,
        };
        if !keeps_up && !has_share {
            count(&self.counters.refused_inbox_share);
            self.refuse(ticket, len, DeliveryRefusal::InboxFull);
            return Ok(());
        }
        let sequence = inbox.take(message, ack, ticket);
        if keeps_up {
            self.spills.push_back((now + self.rules.spill_after, client, sequence));
        } else {
            // With all before it, or a crash would leave it on disk without them, and they would come again behind it.
            self.spill_live(&client);
        }
        if let Some(session) = session {
            self.wake(session);
        }
        Ok(())
    }

    /// How full the mail is. What is not committed yet counts as if it were.
    pub(super) fn filling_now(&self) -> Filling {
        let in_flight = self.rules.window.bytes.saturating_sub(self.window.left().bytes);
        Filling { alive: self.filling.alive + in_flight, ..self.filling }
    }

    /// Has a live message written, or refuses it if that cannot be; one that is not live any more is left alone.
    pub(super) fn spill(&mut self, client: &ClientAddress, sequence: Sequence) {
        let live = self.inboxes.get(client).and_then(|inbox| inbox.custody.get(&sequence));
        let Some(ack) = live.filter(|held| held.state == Custody::Live).map(|held| held.ack) else { return };
        if self.outlook.storage != Storage::Sound {
            return self.give_up(client, sequence, DeliveryRefusal::StorageFailed);
        }
        if ack == Ack::NotOwed && !self.make_way(client) {
            return self.give_up(client, sequence, DeliveryRefusal::InboxFull);
        }
        let Some(inbox) = self.inboxes.get_mut(client) else { return };
        let Some(held) = inbox.custody.get_mut(&sequence) else { return };
        held.state = Custody::Spilling;
        let message = held.message.clone();
        inbox.live.sub(message.len(), ack);
        inbox.spilling.add(message.len(), ack);
        match ack {
            Ack::Owed => self.batch.put(*client, sequence, message),
            Ack::NotOwed => self.batch.put_ackless(*client, sequence, message),
        }
        #[cfg(feature = "ack-before-commit")]
        self.accept_too_early(client, sequence);
    }

    /// Breaks the promise: accepts what is not written yet, and never again.
    #[cfg(feature = "ack-before-commit")]
    fn accept_too_early(&mut self, client: &ClientAddress, sequence: Sequence) {
        let Some(held) = self.inboxes.get_mut(client).and_then(|inbox| inbox.custody.get_mut(&sequence)) else {
            return;
        };
        let (ticket, len) = (held.ticket, held.message.len());
        held.ticket.ingress = u64::MAX;
        self.accept(ticket, len, &Proof(Ground::Commit));
    }

    /// Refuses a message that is in custody and is not to be written.
    pub(super) fn give_up(&mut self, client: &ClientAddress, sequence: Sequence, reason: DeliveryRefusal) {
        let Some(inbox) = self.inboxes.get_mut(client) else { return };
        let Some(held) = inbox.custody.get_mut(&sequence) else { return };
        let (ticket, ack, len) = (held.ticket, held.ack, held.message.len());
        match mem::replace(&mut held.state, Custody::Refused) {
            Custody::Live => inbox.live.sub(len, ack),
            Custody::Spilling => inbox.spilling.sub(len, ack),
            Custody::Refused => return,
        }
        held.message = Bytes::new();
        let pushed = match inbox.attached.and_then(|session| self.sessions.get(&session)) {
            Some(Session::Attached(attachment)) => attachment.was_pushed(sequence),
            _ => false,
        };
        if !pushed {
            inbox.custody.remove(&sequence);
        }
        self.refuse(ticket, len, reason);
    }

    /// Refuses everything in custody for a client that is to be forgotten. Its inbox is kept until that is committed: if it is
    /// never, what is being written now must not be written over.
    pub(super) fn abandon(&mut self, client: &ClientAddress) {
        let Some(inbox) = self.inboxes.get_mut(client) else { return };
        let custody = inbox.abandon();
        for (sequence, _) in custody.iter().filter(|(_, held)| held.state == Custody::Spilling) {
            self.batch.remove(*client, *sequence);
        }
        for held in custody.into_values().filter(|held| held.state != Custody::Refused) {
            self.refuse(held.ticket, held.message.len(), DeliveryRefusal::UnknownClient);
        }
    }

    /// Nobody is attached any more: has every live message of the client written at once.
    pub(super) fn spill_all(&mut self, client: &ClientAddress) {
        let Some(inbox) = self.inboxes.get_mut(client) else { return };
        inbox.attached = None;
        inbox.custody.retain(|_, held| held.state != Custody::Refused);
        self.spill_live(client);
    }

    /// Has every live message of the client written, in order.
    fn spill_live(&mut self, client: &ClientAddress) {
        let Some(inbox) = self.inboxes.get_mut(client) else { return };
        let live = inbox.custody.iter().filter(|(_, held)| held.state == Custody::Live);
        let live: Vec<Sequence> = live.map(|(sequence, _)| *sequence).collect();
        for sequence in live {
            self.spill(client, sequence);
        }
    }

    /// Accepts what a commit has made durable, and says what it has set aside.
    pub(super) fn settle(&mut self, committed: &Committed) {
        let mut set_aside: BTreeMap<ClientAddress, u64> = BTreeMap::new();
        for (client, _) in committed.batch().set_asides() {
            count(&self.counters.set_aside);
            *set_aside.entry(client).or_default() += 1;
        }
        for (inbox, records) in set_aside {
            tracing::error!(%inbox, records, "what should be messages has an unknown form and is set aside; is the disk damaged?");
        }
        for (client, sequence) in committed.batch().puts() {
            let Some(inbox) = self.inboxes.get_mut(&client) else { continue };
            // Otherwise it was received, or has given way, while it was being written, and its removal is under way.
            let Entry::Occupied(held) = inbox.custody.entry(sequence) else { continue };
            if held.get().state != Custody::Spilling {
                continue;
            }
            let held = held.remove();
            inbox.spilling.sub(held.message.len(), held.ack);
            inbox.stored.add(held.message.len(), held.ack);
            // So no session has read past its place, or is reading there.
            debug_assert!(sequence >= inbox.stored_end, "an inbox is written in the order of its numbers");
            inbox.stored_end = inbox.stored_end.max(Sequence(sequence.0 + 1));
            let session = inbox.attached;
            self.accept(held.ticket, held.message.len(), &Proof::of_commit(committed));
            if let Some(session) = session {
                self.wake(session);
            }
        }
    }

    /// Refuses what a failed commit should have made durable, and has everything else in it tried again. What was refused is to
    /// be removed, too: part of a failed batch may be on disk all the same.
    pub(super) fn unsettle(&mut self, batch: &MailBatch) {
        for (client, sequence) in batch.puts() {
            self.give_up(&client, sequence, DeliveryRefusal::StorageFailed);
            self.batch.remove(client, sequence);
        }
        for (client, sequence) in batch.removals() {
            self.batch.remove(client, sequence);
        }
        for (client, sequence) in batch.expirations() {
            self.batch.expire(client, sequence);
        }
        for (client, sequence) in batch.set_asides() {
            self.batch.set_aside(client, sequence);
        }
        for client in batch.erased() {
            self.batch.erase(*client);
        }
    }

    /// The client has proved everything up to a message: accepts what is not accepted yet, removes what is on disk.
    pub(super) fn receipt(&mut self, session: SessionId, up_to: Sequence) -> Result<(), Fault> {
        let Some(Session::Attached(attachment)) = self.sessions.get_mut(&session) else { return Ok(()) };
        if !attachment.was_pushed(up_to) {
            return Err(session_ipc::Rule::UnpushedReceipt.into());
        }
        let client = attachment.client;
        let Some(inbox) = self.inboxes.get_mut(&client) else { return Ok(()) };
        inbox.gone_end = inbox.gone_end.max(Sequence(up_to.0 + 1));
        let (mut accepted, mut risen) = (Vec::new(), None);
        while let Some(pushed) = attachment.prove_next(up_to) {
            count(&self.counters.delivered);
            risen = inbox.prove(pushed.len, &self.shares).or(risen);
            let held = inbox.custody.remove(&pushed.sequence);
            let on_disk = match held.as_ref().map(|held| held.state) {
                Some(Custody::Live) => {
                    inbox.live.sub(pushed.len, pushed.ack);
                    false
                }
                Some(Custody::Spilling) => {
                    inbox.spilling.sub(pushed.len, pushed.ack);
                    true
                }
                Some(Custody::Refused) => continue,
                None if inbox.has_given_way(pushed.sequence, pushed.ack) => continue,
                None => {
                    inbox.stored.sub(pushed.len, pushed.ack);
                    true
                }
            };
            accepted.extend(held.map(|held| (held.ticket, pushed)));
            if on_disk {
                self.batch.remove(client, pushed.sequence);
            }
        }
        attachment.earn();
        if let Some(class) = risen {
            self.inboxes.rose(client, class);
        }
        for (ticket, pushed) in accepted {
            self.accept(ticket, pushed.len, &Proof::of_receipt(&pushed));
        }
        self.memory_came_back();
        self.wake(session);
        Ok(())
    }

    fn accept(&mut self, ticket: Ticket, len: usize, proof: &Proof) {
        count(match proof.0 {
            Ground::Commit => &self.counters.accepted_by_commit,
            Ground::Receipt => &self.counters.accepted_by_receipt,
        });
        self.answer(ticket, len, StoreToIngress::AcceptDelivery { delivery: ticket.delivery });
    }

    fn refuse(&mut self, ticket: Ticket, len: usize, reason: DeliveryRefusal) {
        count(match reason {
            DeliveryRefusal::UnknownClient => &self.counters.refused_unknown_client,
            DeliveryRefusal::InboxFull => &self.counters.refused_inbox_full,
            DeliveryRefusal::StorageFailed => &self.counters.refused_storage_failed,
            DeliveryRefusal::UnfitForClient => &self.counters.refused_unfit_for_client,
        });
        self.answer(ticket, len, StoreToIngress::RefuseDelivery { delivery: ticket.delivery, reason });
    }

    /// Answers the one who delivered, unless it is gone.
    fn answer(&mut self, ticket: Ticket, len: usize, answer: StoreToIngress) {
        if ticket.ingress == self.ingress {
            self.window.give_back(len);
            self.orders.to_ingress.push(answer);
        }
    }
}
