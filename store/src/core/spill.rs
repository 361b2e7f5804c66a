//! How a pending message goes to disk, or is given up.

use ipc::ingress_store::{Ack, DeliveryRefusal};
use session_ipc::Sequence;
use wire::address::ClientAddress;

use super::{Core, pending::PendingState};
use crate::mailbox::Mailbox;

impl<M: Mailbox> Core<M> {
    /// Has a live message written, or refuses it if that cannot be; a message that is not live any more is left alone.
    pub(super) fn spill(&mut self, client: &ClientAddress, sequence: Sequence) {
        let Some(ack) = self.inboxes.get(client).and_then(|inbox| inbox.pending().ack_of_live(sequence)) else {
            return;
        };
        if !self.health.is_sound() {
            return self.give_up(client, sequence, DeliveryRefusal::StorageFailed);
        }
        if ack == Ack::NotOwed && !self.make_way(client) {
            return self.give_up(client, sequence, DeliveryRefusal::InboxFull);
        }
        let Some(inbox) = self.inboxes.get_mut(client) else { return };
        let Some(message) = inbox.pending_mut().spill(sequence) else { return };
        self.commits.mail_mut().put(*client, sequence, message, ack);
        #[cfg(feature = "ack-before-commit")]
        self.accept_too_early(client, sequence);
    }

    /// Breaks the promise: accepts what is not written yet, and never again.
    #[cfg(feature = "ack-before-commit")]
    fn accept_too_early(&mut self, client: &ClientAddress, sequence: Sequence) {
        let inbox = self.inboxes.get_mut(client);
        let Some((reply_to, len)) = inbox.and_then(|inbox| inbox.pending_mut().take_reply_to(sequence)) else { return };
        self.accept(reply_to, len, &super::ingress::Proof::of_nothing());
    }

    /// Has every live message of the client written, in order.
    pub(super) fn spill_live(&mut self, client: &ClientAddress) {
        let Some(inbox) = self.inboxes.get(client) else { return };
        let live: Vec<Sequence> = inbox.pending().places(PendingState::Live).collect();
        for sequence in live {
            self.spill(client, sequence);
        }
    }

    /// No session is attached any more: has every live message of the client written at once.
    pub(super) fn spill_all(&mut self, client: &ClientAddress) {
        let Some(inbox) = self.inboxes.get_mut(client) else { return };
        inbox.detach();
        inbox.pending_mut().forget_refused();
        self.spill_live(client);
    }

    /// Writes everything that is only in memory, before the end.
    pub fn spill_everything(&mut self) {
        for client in self.inboxes.with_live_mail() {
            self.spill_all(&client);
        }
    }

    /// Refuses a pending message that is not to be written.
    pub(super) fn give_up(&mut self, client: &ClientAddress, sequence: Sequence, reason: DeliveryRefusal) {
        let Some(inbox) = self.inboxes.get_mut(client) else { return };
        let attachment = inbox.attached().and_then(|session| self.sessions.attachment(session));
        let was_pushed = attachment.is_some_and(|attachment| attachment.was_pushed(sequence));
        let Some((reply_to, len)) = inbox.pending_mut().refuse(sequence, was_pushed) else { return };
        self.refuse(reply_to, len, reason);
    }

    /// Refuses every pending message of a client that is to be forgotten. The inbox is kept until that is committed: if the commit
    /// fails, the places of what is being written now must not be used again.
    pub(super) fn abandon(&mut self, client: &ClientAddress) {
        let Some(inbox) = self.inboxes.get_mut(client) else { return };
        inbox.detach();
        let pending = inbox.pending_mut().take_all();
        for (sequence, _) in pending.iter().filter(|(_, pending)| pending.state == PendingState::Spilling) {
            self.commits.mail_mut().remove(*client, *sequence);
        }
        for pending in pending.into_values().filter(|pending| pending.state != PendingState::Refused) {
            self.refuse(pending.reply_to, pending.message.len(), DeliveryRefusal::UnknownClient);
        }
    }
}
