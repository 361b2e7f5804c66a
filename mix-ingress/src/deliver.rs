//! Delivers messages to `store`, and sends the SURB-ack of each message that is safe.
//!
//! *Trusts* `store` when it accepts a delivery, once per delivery; any other answer ends the link. *Holds* every delivery that is not
//! answered yet, message and SURB-ack, within the window of the link. *Promises*: a SURB-ack leaves after acceptance and never
//! before, and after the packet is marked as seen; a new `store` gets every delivery that its predecessor did not answer, in the same
//! order; when the window is used up nothing more is taken from the connections.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, atomic::Ordering::Relaxed},
};

use bytes::Bytes;
use figures::Raised;
use ipc::{
    Opaque,
    credit::{Credit, Window},
    egress::SendPacket,
    ingress_store::{Ack, DeliveryId, IngressToStore, ReplayAnswer, Rule, StoreToIngress},
};
use tokio::{
    select,
    sync::mpsc::{self, error::TrySendError},
};
use wire::address::ClientAddress;
use worker::{
    counter::{count, count_many},
    drain::Drain,
    duplex::{LinkEvent, LinkSender},
    heartbeat::Heartbeat,
    lossy::LossySender,
};

use crate::{
    counters::{self, Counters},
    replay::{ProvisionalMark, archive::ArchiveLink},
};

/// An event on the link to `store`.
pub(crate) type StoreEvent = LinkEvent<StoreToIngress, IngressToStore>;

/// A message to deliver.
pub(crate) struct Delivery {
    /// The client whose inbox it is for.
    pub(crate) destination: ClientAddress,
    /// The content for the client.
    pub(crate) message: Bytes,
    /// The SURB-ack to send once the message is safe. None if the message is an acknowledgement itself.
    pub(crate) ack: Option<SendPacket>,
    /// Recognises copies of the packet. None once the mark is kept.
    pub(crate) mark: Option<ProvisionalMark>,
    /// Shows the packet as in flight.
    pub(crate) _in_flight: Raised,
}

impl Delivery {
    /// Marks the packet as seen, if it is not marked yet.
    fn keep_mark(&mut self) {
        if let Some(mark) = self.mark.take() {
            mark.keep(&self.destination);
        }
    }
}

/// The state of the link to `store`.
enum Store {
    Down,
    Up(LinkSender<IngressToStore>),
    /// `store` broke a rule, and its answers do not count any more. The sender is kept until the link is down: a link without senders
    /// ends in order, and then the peer would not be replaced.
    BrokeRule {
        _until_down: LinkSender<IngressToStore>,
    },
}

/// All deliveries that are not answered yet, owned by one task.
pub(crate) struct Deliveries {
    store: Store,
    /// Deliveries that were taken from a connection and do not fit into the window yet.
    waiting: VecDeque<Delivery>,
    /// Deliveries within the window. Ids count up, so the order is that of arrival.
    unanswered: BTreeMap<DeliveryId, Delivery>,
    credit: Credit,
    /// A delivery had to wait for the window, and the window has been full since.
    is_full: bool,
    next: u64,
    acks: LossySender,
    /// Gives the keeper of the replay filter a link to each new `store`.
    archive_links: mpsc::Sender<ArchiveLink>,
    /// Takes answers about marks to the keeper.
    replay_answers: Option<mpsc::Sender<ReplayAnswer>>,
    counters: Arc<Counters>,
}

impl Deliveries {
    /// Begins without deliveries and without a link.
    pub(crate) const fn new(
        window: Window,
        acks: LossySender,
        archive_links: mpsc::Sender<ArchiveLink>,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            store: Store::Down,
            waiting: VecDeque::new(),
            unanswered: BTreeMap::new(),
            credit: Credit::new(window),
            is_full: false,
            next: 0,
            acks,
            archive_links,
            replay_answers: None,
            counters,
        }
    }

    /// Delivers until no connection is left, every delivery is answered and the keeper of the replay filter has ended, or the time for
    /// draining is over.
    pub(crate) async fn run(
        mut self,
        mut batches: mpsc::Receiver<Vec<Delivery>>,
        mut events: mpsc::Receiver<StoreEvent>,
        mut heartbeat: Heartbeat,
        drain: Drain,
    ) {
        self.show_window();
        select! {
            () = self.deliver(&mut batches, &mut events, &mut heartbeat) => {}
            () = drain.over() => {}
        }
        batches.close();
        let mut left = self.waiting.len() + self.unanswered.len();
        while let Some(batch) = batches.recv().await {
            left += batch.len();
        }
        count_many(&self.counters.packets_cut_off, left);
    }

    /// An answer has no time limit: `store` may be restarted any number of times, and the window bounds what waits.
    async fn deliver(
        &mut self,
        batches: &mut mpsc::Receiver<Vec<Delivery>>,
        events: &mut mpsc::Receiver<StoreEvent>,
        heartbeat: &mut Heartbeat,
    ) {
        let archive_links = self.archive_links.clone();
        let mut more = true;
        // While a delivery waits, the window is full of others that are not answered.
        while more || !self.unanswered.is_empty() || !archive_links.is_closed() {
            select! {
                // The heartbeat first, which is due once in seconds. Then answers, because they free the window.
                biased;
                () = heartbeat.beat() => {}
                event = events.recv() => match event {
                    Some(event) => self.follow(event).await,
                    None => return,
                },
                batch = batches.recv(), if more && self.waiting.is_empty() => match batch {
                    Some(batch) => self.waiting.extend(batch),
                    None => {
                        more = false;
                        self.keep_all_marks();
                    }
                },
                () = archive_links.closed(), if !archive_links.is_closed() => {}
            }
            self.deliver_waiting();
            self.show_window();
        }
    }

    fn show_window(&self) {
        let left = self.credit.left();
        self.counters.window_messages_left.store(left.messages.into(), Relaxed);
        self.counters.window_size_left.store(left.bytes, Relaxed);
    }

    /// At the end of the worker the keeper saves the marks without waiting for answers. So every delivery that may still be accepted is
    /// marked now.
    fn keep_all_marks(&mut self) {
        self.waiting.iter_mut().chain(self.unanswered.values_mut()).for_each(Delivery::keep_mark);
    }

    async fn follow(&mut self, event: StoreEvent) {
        match event {
            LinkEvent::Up(sender) => {
                self.open_archive_link(sender.clone()).await;
                self.store = Store::Up(sender);
                self.send_again();
            }
            LinkEvent::Down => {
                self.store = Store::Down;
                self.replay_answers = None;
            }
            LinkEvent::Batch(answers) => {
                for answer in answers {
                    self.take_answer(answer);
                }
            }
        }
    }

    /// Does not wait long: the keeper asks one question at a time, and takes a new link whenever no question is open.
    async fn open_archive_link(&mut self, store: LinkSender<IngressToStore>) {
        let (replay_answers, answers) = mpsc::channel(1);
        self.replay_answers = Some(replay_answers);
        // At the end of the worker the keeper has ended.
        let _ = self.archive_links.send(ArchiveLink { store, answers }).await;
    }

    fn take_answer(&mut self, answer: StoreToIngress) {
        if !matches!(self.store, Store::Up(_)) {
            return;
        }
        match answer {
            StoreToIngress::AcceptDelivery { delivery } => {
                let Some(mut delivery) = self.take_answered(delivery) else { return };
                delivery.keep_mark();
                match delivery.ack {
                    None => count(&self.counters.accepted_without_ack),
                    #[cfg(not(feature = "ack-before-acceptance"))]
                    Some(ack) => self.pay(ack),
                    #[cfg(feature = "ack-before-acceptance")]
                    Some(_paid_already) => {}
                }
            }
            StoreToIngress::RefuseDelivery { delivery, reason } => {
                if self.take_answered(delivery).is_some() {
                    counters::refused(&self.counters, reason);
                }
            }
            StoreToIngress::AnswerReplay(answer) => {
                let handed_on = self.replay_answers.as_ref().map(|answers| answers.try_send(answer));
                if let Some(Err(TrySendError::Full(_))) = handed_on {
                    self.report_violation(Rule::UnaskedReplayAnswer);
                }
            }
        }
    }

    fn pay(&self, ack: SendPacket) {
        count(&self.counters.acks_paid);
        self.acks.send(ack);
    }

    /// Removes the delivery that is answered now.
    fn take_answered(&mut self, id: DeliveryId) -> Option<Delivery> {
        let delivery = self.unanswered.remove(&id);
        match &delivery {
            Some(delivery) => self.credit.give_back(delivery.message.len()),
            None => self.report_violation(Rule::UnknownDelivery),
        }
        delivery
    }

    fn deliver_waiting(&mut self) {
        while let Some(delivery) = self.waiting.pop_front() {
            if !self.credit.take(delivery.message.len()) {
                self.waiting.push_front(delivery);
                if !std::mem::replace(&mut self.is_full, true) {
                    count(&self.counters.window_full);
                }
                return;
            }
            let id = DeliveryId(self.next);
            self.next += 1;
            self.send(id, &delivery);
            // Breaks the promise: `store` has not accepted the delivery yet, and may never do.
            #[cfg(feature = "ack-before-acceptance")]
            delivery.ack.iter().cloned().for_each(|ack| self.pay(ack));
            self.unanswered.insert(id, delivery);
        }
        self.is_full &= !self.credit.has_room(1);
    }

    fn send_again(&mut self) {
        let unanswered = std::mem::take(&mut self.unanswered);
        if !unanswered.is_empty() {
            tracing::info!(deliveries = unanswered.len(), "asking the new store what the old one did not answer");
            count_many(&self.counters.deliveries_sent_again, unanswered.len());
        }
        for (id, delivery) in &unanswered {
            self.send(*id, delivery);
        }
        self.unanswered = unanswered;
    }

    /// Sends a delivery if the link is up; otherwise the next `store` gets it.
    fn send(&mut self, delivery: DeliveryId, content: &Delivery) {
        let Store::Up(store) = &self.store else { return };
        let message = IngressToStore::DeliverMessage {
            delivery,
            destination: content.destination,
            ack: if content.ack.is_some() { Ack::Owed } else { Ack::NotOwed },
            message: Opaque(content.message.clone()),
        };
        // The lane holds the whole window, so it is full only if `store` answered deliveries that it did not read.
        if let Err(TrySendError::Full(_)) = store.bulk.try_send(message) {
            self.report_violation(Rule::UnreadDelivery);
        }
    }

    fn report_violation(&mut self, rule: Rule) {
        if let Store::Up(store) = std::mem::replace(&mut self.store, Store::Down) {
            store.drop_link(rule);
            self.store = Store::BrokeRule { _until_down: store };
        }
    }
}

#[cfg(test)]
mod tests;
