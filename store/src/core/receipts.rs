//! Receipts: a client has proved that it read everything up to a message.

use session_ipc::{Rule, Sequence, SessionId};
use worker::counter::count;

use super::{Core, Fault, ingress::Proof, pending::PendingState};
use crate::mailbox::Mailbox;

impl<M: Mailbox> Core<M> {
    /// Accepts what is not accepted yet, and removes what is on disk.
    pub(super) fn confirm_receipt(&mut self, session: SessionId, up_to: Sequence) -> Result<(), Fault> {
        let Some(attachment) = self.sessions.attachment_mut(session) else { return Ok(()) };
        if !attachment.was_pushed(up_to) {
            return Err(Rule::UnpushedReceipt.into());
        }
        let (client, shares) = (attachment.client(), *self.inboxes.shares());
        let Some(inbox) = self.inboxes.get_mut(&client) else { return Ok(()) };
        inbox.receive_up_to(up_to);
        let (mut accepted, mut risen) = (Vec::new(), None);
        while let Some(pushed) = attachment.prove_next(up_to) {
            count(&self.counters.delivered);
            risen = inbox.prove(pushed.len, &shares).or(risen);
            let pending = inbox.pending_mut().receive(pushed.sequence);
            let is_on_disk = match pending.as_ref().map(|pending| pending.state) {
                Some(PendingState::Live) => false,
                Some(PendingState::Spilling) => true,
                Some(PendingState::Refused) => continue,
                None if inbox.has_given_way(pushed.sequence, pushed.ack) => continue,
                None => {
                    inbox.remove_stored(pushed.len, pushed.ack);
                    true
                }
            };
            accepted.extend(pending.map(|pending| (pending.reply_to, pushed)));
            if is_on_disk {
                self.commits.mail_mut().remove(client, pushed.sequence);
            }
        }
        attachment.earn();
        if let Some(class) = risen {
            self.inboxes.rose(client, class);
        }
        for (reply_to, pushed) in accepted {
            self.accept(reply_to, pushed.len, &Proof::of_receipt(&pushed));
        }
        self.resume_pushing();
        self.wake(session);
        Ok(())
    }
}
