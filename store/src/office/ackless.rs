//! Mail that came without a SURB-ack: each inbox keeps a few such messages, and the oldest gives way.
//!
//! Such a message costs its sender next to nothing, and its sender never learns whether it was taken: so anybody could fill
//! anybody's inbox with them. Nearly all are acknowledgements on their way home. A client sends again within seconds what is not
//! acknowledged, so of many the newest are of use. They have a quota of their own ([`Shares::ackless`](super::shares::Shares::ackless))
//! beside what other mail may take, and neither takes room of the other.
//!
//! *Promises*: what came with a SURB-ack never gives way. Of what came without, everything before `ackless_gone_end` of its inbox is
//! received, gone for another reason, or has given way; that is how a session knows what not to push any more.

use ipc::ingress_store::{Ack, DeliveryRefusal};
use session_ipc::Sequence;
use wire::address::ClientAddress;
use worker::counter::count;

use super::{Office, inbox::Custody};
use crate::mailbox::Mailbox;

impl<M: Mailbox> Office<M> {
    /// Has the oldest of this mail give way until there is room for one message more. Says whether there is.
    pub(super) fn make_way(&mut self, client: &ClientAddress) -> bool {
        let quota = self.shares.ackless(self.filling_now());
        while self.inboxes.get(client).is_some_and(|inbox| inbox.ackless() >= quota) {
            if quota == 0 || !self.displace_oldest(client) {
                return false;
            }
        }
        true
    }

    /// Removes the oldest of this mail, which is on disk or on its way there. Says whether there was any.
    fn displace_oldest(&mut self, client: &ClientAddress) -> bool {
        let stored = self.oldest_stored(client);
        let Some(inbox) = self.inboxes.get_mut(client) else { return false };
        let spilling = || {
            let mut younger = inbox.custody.range(inbox.ackless_gone_end..);
            let found = younger.find(|(_, held)| held.ack == Ack::NotOwed && held.state == Custody::Spilling);
            found.map(|(sequence, _)| *sequence)
        };
        let Some(sequence) = stored.or_else(spilling) else { return false };
        inbox.ackless_gone_end = Sequence(sequence.0 + 1);
        if stored.is_some() {
            inbox.stored.sub(0, Ack::NotOwed);
        } else {
            self.give_up(client, sequence, DeliveryRefusal::InboxFull);
        }
        self.batch.remove(*client, sequence);
        count(&self.counters.ackless_displaced);
        true
    }

    fn oldest_stored(&self, client: &ClientAddress) -> Option<Sequence> {
        let inbox = self.inboxes.get(client).filter(|inbox| inbox.stored.ackless > 0)?;
        let mut from = inbox.gone_end.max(inbox.ackless_gone_end);
        loop {
            let found = self.mailbox.oldest_ackless(client, (from, inbox.stored_end))?;
            if !inbox.set_aside.contains(&found) {
                return Some(found);
            }
            from = Sequence(found.0 + 1);
        }
    }
}
