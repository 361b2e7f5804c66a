//! Mail that came without a SURB-ack: each inbox keeps a few such messages, and the oldest gives way.
//!
//! Such a message costs its sender next to nothing, and its sender never learns whether it was taken: so anybody could fill
//! anybody's inbox with them. Nearly all are acknowledgements on their way home. A client sends again within seconds what is not
//! acknowledged, so the newest of many are of use. They have a quota of their own ([`Shares::ackless`](super::shares::Shares::ackless))
//! beside the share of other mail, and neither takes room of the other.
//!
//! *Promises*: what came with a SURB-ack never gives way. Of what came without, everything before `ackless_gone_end` of its inbox is
//! received, gone for another reason, or has given way; that is how a session knows what not to push any more.

use ipc::ingress_store::{Ack, DeliveryRefusal};
use wire::address::ClientAddress;
use worker::counter::count;

use super::Core;
use crate::mailbox::Mailbox;

impl<M: Mailbox> Core<M> {
    /// Has the oldest of this mail give way until there is room for one message more. Says whether there is.
    pub(super) fn make_way(&mut self, client: &ClientAddress) -> bool {
        let quota = self.inboxes.shares().ackless(self.filling_now());
        while self.inboxes.get(client).is_some_and(|inbox| inbox.ackless() >= quota) {
            if quota == 0 || !self.displace_oldest(client) {
                return false;
            }
        }
        true
    }

    /// Removes the oldest of this mail, which is on disk or on its way there. Says whether there was any.
    fn displace_oldest(&mut self, client: &ClientAddress) -> bool {
        let Some(inbox) = self.inboxes.get_mut(client) else { return false };
        let stored = inbox.oldest_ackless_stored(self.mailbox.as_ref(), client);
        let Some(sequence) = stored.or_else(|| inbox.oldest_ackless_spilling()) else { return false };
        inbox.displace(sequence);
        if stored.is_some() {
            inbox.remove_stored(0, Ack::NotOwed);
        } else {
            self.give_up(client, sequence, DeliveryRefusal::InboxFull);
        }
        self.commits.mail_mut().remove(*client, sequence);
        count(&self.counters.ackless_displaced);
        true
    }
}
