//! What `mix-ingress` does, and what it is answered.

use ipc::{
    credit::Credit,
    ingress_store::{Ack, DeliveryId, DeliveryRefusal, StoreToIngress},
};

use super::{
    oracle::{address, hold},
    peers::Ingress,
    world::{DOUBT, Done, World},
};
use crate::mailbox::Mailbox as _;

impl World {
    /// Delivers a message, under the number that it had if it was delivered to a store that is dead.
    pub(super) fn deliver(&mut self, client: usize, (len, ack): (usize, Ack), again: Option<u64>) -> Done {
        if !self.ingress.window.take(len) {
            return Ok(());
        }
        let delivery = again.unwrap_or(self.ingress.next);
        self.ingress.next = self.ingress.next.max(delivery + 1);
        self.ingress.unanswered.insert(delivery, (client, len, ack));
        let body = self.oracle.delivered(delivery, client, (len, ack), self.passed);
        let now = self.now();
        let outcome = self.core().deliver(DeliveryId(delivery), address(client), (body, ack), now);
        hold!("who keeps the rules is not blamed (16)", outcome.is_ok(), "{outcome:?}");
        self.carry_out()?;
        let (load, most) = (self.oracle.load(client), self.history.config.inbox_messages as usize);
        let is_taken = self.oracle.awaiting().contains_key(&delivery);
        hold!("an inbox holds no more than it may (27)", !is_taken || load <= most, "{load} of {most} for {client}");
        Ok(())
    }

    pub(super) fn answer(&mut self, answer: StoreToIngress) -> Done {
        match &answer {
            StoreToIngress::AcceptDelivery { delivery } => {
                let storage = self.storage();
                self.oracle.accepted(delivery.0, &storage)?;
                self.figures.accepted += 1;
            }
            StoreToIngress::RefuseDelivery { delivery, reason } => {
                let number = self.oracle.refused(delivery.0)?;
                self.check_refusal(number, *reason)?;
            }
            StoreToIngress::AnswerReplay(_) => {}
        }
        self.ingress.answers.push_back(answer);
        Ok(())
    }

    pub(super) fn check_refusal(&self, number: usize, reason: DeliveryRefusal) -> Done {
        let arrival = &self.oracle.arrivals[number];
        let client = &self.clients[arrival.client];
        let may_be_forgotten = self.leaving[arrival.client] || self.is_idle(arrival.client);
        let is_client = self.storage().is_registered(&client.address()) && !may_be_forgotten;
        let holds = match reason {
            DeliveryRefusal::UnknownClient => !is_client,
            DeliveryRefusal::UnfitForClient => client.is_of_2021() && arrival.len < 32 && arrival.len != 21,
            DeliveryRefusal::StorageFailed => self.has_trouble,
            DeliveryRefusal::InboxFull => {
                let gives_way = self.oracle.may_give_way(number);
                gives_way || self.was_tight || self.is_tight() || self.may_be_full(arrival.client, arrival.len)
            }
        };
        hold!("mail is refused for the reason that is told (7)", holds, "{number}, for {reason:?}");
        Ok(())
    }

    /// Whether the mail takes so much that shares shrink.
    pub(super) fn is_tight(&self) -> bool {
        let filling = self.storage().filling();
        (filling.alive + self.history.config.window.bytes) * 2 > filling.capacity
    }

    /// Whether the client was not seen for so long that it may be forgotten.
    pub(super) fn is_idle(&self, client: usize) -> bool {
        self.passed.saturating_sub(self.seen[client]) + DOUBT >= self.history.config.client_idle
    }

    /// Whether an inbox may have as much as a newcomer's share, or a client's that was never seen.
    pub(super) fn may_be_full(&self, client: usize, len: usize) -> bool {
        let config = &self.history.config;
        let share = u64::from(config.newcomer_share);
        let (messages, bytes) = self.oracle.most_load(client);
        messages as u64 > config.inbox_messages / share || (bytes + len) as u64 > config.inbox_bytes / share
    }

    pub(super) fn ingress_reads(&mut self) {
        for answer in std::mem::take(&mut self.ingress.answers) {
            if let StoreToIngress::AcceptDelivery { delivery } | StoreToIngress::RefuseDelivery { delivery, .. } =
                answer
                && let Some((_, len, _)) = self.ingress.unanswered.remove(&delivery.0)
            {
                self.ingress.window.give_back(len);
            }
        }
    }

    /// `mix-ingress` dies. Its successor numbers deliveries from the beginning, and knows of none.
    pub(super) fn ingress_dies(&mut self) {
        let window = Credit::new(self.history.config.window);
        self.ingress = Ingress { next: 0, unanswered: Default::default(), window, answers: Default::default() };
        self.oracle.ingress_died();
        self.core().ingress_up();
    }
}
