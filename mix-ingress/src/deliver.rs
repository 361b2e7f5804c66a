//! The way of a message to `store`, and of its SURB-ack once the message is safe.
//!
//! *Trusts* `store`'s word that a delivery is accepted, once per delivery; any other answer ends the link. *Holds* every
//! delivery that is not answered yet, message and SURB-ack, within the window of the link. *Promises*: a SURB-ack leaves
//! after acceptance and never before, and after the packet is marked as seen; a new `store` is asked everything its predecessor did not answer, in the same order;
//! when the window is used up nothing more is taken from the connections.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use proto::{
    address::ClientAddress,
    counter::count,
    ipc::{
        Opaque,
        egress::SendPacket,
        ingress_store::{Ack, DeliveryId, IngressToStore, ReplayAnswer, StoreToIngress},
    },
    link::{
        Credit, Window,
        duplex::{LinkEvent, LinkSender},
        heartbeat::Heartbeat,
        lossy::LossySender,
    },
};
use tokio::{
    select,
    sync::mpsc::{self, error::TrySendError},
};

use crate::{
    counters::{Counters, add},
    drain::Drain,
    replay::{ProvisionalMark, archive::Line},
};

/// What happens on the link to `store`.
pub(crate) type StoreEvent = LinkEvent<StoreToIngress, IngressToStore>;

const RULE_UNKNOWN: &str = "an answer to a delivery that is not outstanding";
const RULE_UNREAD: &str = "answers to deliveries that were not read";
const RULE_UNASKED: &str = "an answer about marks that nobody asked for";

/// A message to deliver.
pub(crate) struct Delivery {
    /// Whose inbox it is for.
    pub(crate) destination: ClientAddress,
    /// What the client is to get.
    pub(crate) message: Bytes,
    /// What to send once the message is safe. None if the message is an acknowledgement itself.
    pub(crate) ack: Option<SendPacket>,
    /// By which copies of the packet are known. None once it is kept.
    pub(crate) mark: Option<ProvisionalMark>,
}

impl Delivery {
    /// Marks the packet as seen, if that has not been done yet.
    fn keep_mark(&mut self) {
        if let Some(mark) = self.mark.take() {
            mark.keep(&self.destination);
        }
    }
}

/// The link to `store`, as far as deliveries are concerned.
enum Store {
    Down,
    Up(LinkSender<IngressToStore>),
    /// It broke a rule: nothing it says counts any more. The sender is kept until the link is down, because a link without
    /// senders ends in peace, and its peer would not be replaced.
    Condemned {
        _until_down: LinkSender<IngressToStore>,
    },
}

/// All deliveries that are not answered yet. One task owns them.
pub(crate) struct Deliveries {
    store: Store,
    /// Taken from a connection, but beyond the window.
    waiting: VecDeque<Delivery>,
    /// Within the window, in the order in which they came: ids count up.
    unanswered: BTreeMap<DeliveryId, Delivery>,
    credit: Credit,
    /// Something had to wait for an answer, and there has been no room to spare since.
    is_full: bool,
    next: u64,
    acks: LossySender<SendPacket>,
    /// Where the keeper of the replay filter gets its line to each new `store`.
    lines: mpsc::Sender<Line>,
    /// Where answers about marks go: the line to the present `store`.
    about_marks: Option<mpsc::Sender<ReplayAnswer>>,
    counters: Arc<Counters>,
}

impl Deliveries {
    /// Nothing delivered yet, and no link.
    pub(crate) const fn new(
        window: Window,
        acks: LossySender<SendPacket>,
        lines: mpsc::Sender<Line>,
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
            lines,
            about_marks: None,
            counters,
        }
    }

    /// Delivers until no connection is left, everything is answered and the replay filter is kept no more, or the time for
    /// draining is over.
    pub(crate) async fn run(
        mut self,
        mut batches: mpsc::Receiver<Vec<Delivery>>,
        mut events: mpsc::Receiver<StoreEvent>,
        mut heartbeat: Heartbeat,
        drain: Drain,
    ) {
        select! {
            () = self.deliver(&mut batches, &mut events, &mut heartbeat) => {}
            () = drain.over() => {}
        }
        batches.close();
        let mut left = self.waiting.len() + self.unanswered.len();
        while let Some(batch) = batches.recv().await {
            left += batch.len();
        }
        add(&self.counters.packets_cut_off, left);
    }

    /// No time limit on an answer: `store` may be started anew any number of times, and the window bounds what waits.
    async fn deliver(
        &mut self,
        batches: &mut mpsc::Receiver<Vec<Delivery>>,
        events: &mut mpsc::Receiver<StoreEvent>,
        heartbeat: &mut Heartbeat,
    ) {
        let lines = self.lines.clone();
        let mut more = true;
        while more || !self.waiting.is_empty() || !self.unanswered.is_empty() || !lines.is_closed() {
            select! {
                // The heartbeat is due once in seconds. Then answers: they make room.
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
                () = lines.closed(), if !lines.is_closed() => {}
            }
            self.deliver_waiting();
        }
    }

    /// At the end of the worker the keeper saves what is marked, and waits for no answer: what may still be accepted is marked.
    fn keep_all_marks(&mut self) {
        self.waiting.iter_mut().chain(self.unanswered.values_mut()).for_each(Delivery::keep_mark);
    }

    async fn follow(&mut self, event: StoreEvent) {
        match event {
            LinkEvent::Up(sender) => {
                self.open_line(sender.clone()).await;
                self.store = Store::Up(sender);
                self.send_again();
            }
            LinkEvent::Down => {
                self.store = Store::Down;
                self.about_marks = None;
            }
            LinkEvent::Batch(answers) => {
                for answer in answers {
                    self.take_answer(answer);
                }
            }
        }
    }

    /// The keeper asks one thing at a time, and takes a new line whenever it waits for no answer.
    async fn open_line(&mut self, store: LinkSender<IngressToStore>) {
        let (about_marks, answers) = mpsc::channel(1);
        self.about_marks = Some(about_marks);
        // At the end of the worker nobody keeps the filter any more.
        let _ = self.lines.send(Line { store, answers }).await;
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
                    self.counters.refused(reason);
                }
            }
            StoreToIngress::AnswerReplay(answer) => {
                let handed_on = self.about_marks.as_ref().map(|about_marks| about_marks.try_send(answer));
                if let Some(Err(TrySendError::Full(_))) = handed_on {
                    self.condemn(RULE_UNASKED);
                }
            }
        }
    }

    fn pay(&self, ack: SendPacket) {
        let cost = ack.cost();
        self.acks.send(ack, cost);
        count(&self.counters.acks_paid);
    }

    /// The delivery that is answered now.
    fn take_answered(&mut self, id: DeliveryId) -> Option<Delivery> {
        let delivery = self.unanswered.remove(&id);
        match &delivery {
            Some(delivery) => self.credit.give_back(delivery.message.len()),
            None => self.condemn(RULE_UNKNOWN),
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
            // Breaks the promise: `store` has not accepted it yet, and may never do.
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
            add(&self.counters.deliveries_sent_again, unanswered.len());
        }
        for (id, delivery) in &unanswered {
            self.send(*id, delivery);
        }
        self.unanswered = unanswered;
    }

    /// Sends a delivery if there is somebody to send it to; otherwise the next `store` gets it.
    fn send(&mut self, delivery: DeliveryId, content: &Delivery) {
        let Store::Up(store) = &self.store else { return };
        let message = IngressToStore::DeliverMessage {
            delivery,
            destination: content.destination,
            ack: if content.ack.is_some() { Ack::Owed } else { Ack::NotOwed },
            message: Opaque(content.message.clone()),
        };
        // The lane holds the whole window, so it is full only if more was answered than was read.
        if let Err(TrySendError::Full(_)) = store.bulk.try_send(message) {
            self.condemn(RULE_UNREAD);
        }
    }

    fn condemn(&mut self, rule: &'static str) {
        if let Store::Up(store) = std::mem::replace(&mut self.store, Store::Down) {
            store.drop_link(rule);
            self.store = Store::Condemned { _until_down: store };
        }
    }
}
