//! The table of next hops: which packet goes to which task.
//!
//! *Trusts* no caller: every next hop is checked against the policy, and there are bounds on packets per next hop, next hops, and bytes
//! in all. [`places`](crate::places) decides which next hop gives way when there are too many, and [`budget`](crate::budget) how bytes
//! are shared. First connects have bytes of their own, so that next hops at which nobody listens take no bytes from those that work.
//!
//! *Promises*: sending never waits, and each packet ends in exactly one counter.

#[cfg(test)]
pub(crate) mod tests;

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use figures::Number;
use ipc::{
    control::EgressConfig,
    egress::{Rule, SendPacket},
};
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    task::{AbortHandle, JoinSet},
    time::{Instant, timeout_at},
};
use worker::counter::count;

use crate::{
    batch::QueuedFrame,
    budget::{HopBudget, HopBytes},
    counters::{self, EgressCounters},
    frame::OutgoingFrame,
    hop::Hop,
    hop_state::{HopState, News, SharedState},
    places::{HopPlace, HopPlaces, Origin},
    policy::NextHopPolicy,
    timeouts::Timeouts,
    worked_before::WorkedBefore,
};

/// The first connects of each origin have one part in so many of all next hops, and the same part of all bytes.
const FIRST_CONNECTS: usize = 8;

/// The least number of first connects of each origin.
const FEWEST_FIRST_CONNECTS: usize = 16;

/// The table's side of one next hop.
#[derive(Debug)]
struct Entry {
    queue: mpsc::Sender<QueuedFrame>,
    state: SharedState,
    bytes: HopBytes,
    origin: Origin,
    place: HopPlace,
    task: AbortHandle,
}

/// Bytes of packets that wait for next hops of each kind.
#[derive(Debug)]
struct Budgets {
    acks: HopBudget,
    clients: HopBudget,
    proven: HopBudget,
}

impl Budgets {
    fn new(bytes: usize, proven: usize, first_connects: usize, gauge: &Number) -> Self {
        let of_first = bytes / FIRST_CONNECTS;
        Self {
            acks: HopBudget::new(of_first, first_connects, gauge.clone()),
            clients: HopBudget::new(of_first, first_connects, gauge.clone()),
            proven: HopBudget::new(bytes.saturating_sub(2 * of_first), proven, gauge.clone()),
        }
    }

    const fn of(&self, origin: Origin, place: HopPlace) -> &HopBudget {
        match (place, origin) {
            (HopPlace::Proven(_), _) => &self.proven,
            (HopPlace::First(_), Origin::Acks) => &self.acks,
            (HopPlace::First(_), Origin::Clients) => &self.clients,
        }
    }
}

/// All next hops in use, and the tasks that serve them.
#[derive(Debug)]
pub struct Hops {
    config: EgressConfig,
    timeouts: Timeouts,
    policy: NextHopPolicy,
    counters: Arc<EgressCounters>,
    budgets: Budgets,
    hops: HashMap<SocketAddr, Entry>,
    places: HopPlaces,
    news: News,
    worked_before: WorkedBefore,
    tasks: JoinSet<SocketAddr>,
}

impl Hops {
    /// An empty table. Every drop is counted in `counters`.
    pub fn new(config: EgressConfig, timeouts: Timeouts, counters: Arc<EgressCounters>) -> Self {
        let queued_bytes = usize::try_from(config.queued_bytes).unwrap_or(usize::MAX);
        let next_hops = config.max_next_hops as usize;
        counters.queued_memory_limit.store(config.queued_bytes, Relaxed);
        counters.next_hops_limit.store(config.max_next_hops.into(), Relaxed);
        let first_connects = (next_hops / FIRST_CONNECTS).max(FEWEST_FIRST_CONNECTS);
        Self {
            policy: NextHopPolicy {
                allow_private: config.allow_private,
                ports: config.ports.clone(),
                own: config.own.clone(),
            },
            budgets: Budgets::new(queued_bytes, next_hops, first_connects, &counters.queued_memory),
            places: HopPlaces::new(next_hops, first_connects),
            worked_before: WorkedBefore::new(next_hops),
            config,
            timeouts,
            counters,
            hops: HashMap::new(),
            news: News::default(),
            tasks: JoinSet::new(),
        }
    }

    /// Hands the packet to the task of its next hop, which is started if need be, or drops the packet and counts why. Never waits.
    /// Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// If the packet cannot be framed. Its sender broke a rule of the link.
    pub fn send(&mut self, origin: Origin, packet: SendPacket) -> Result<(), Rule> {
        let SendPacket { next_hop, header, packet } = packet;
        let frame = OutgoingFrame::new(self.config.framing.apply(header), packet)?;
        count(counters::of_link(&self.counters, origin).0);
        self.hand_over(origin, next_hop, frame);
        Ok(())
    }

    /// Shows how many next hops there are and how many bytes wait for them, by state.
    pub fn show(&self) {
        let mut states = [(0, 0); 3];
        for entry in self.hops.values().filter(|entry| !entry.queue.is_closed()) {
            let [new, proven, unreachable] = &mut states;
            let (hops, queued) = match entry.state.get() {
                HopState::New => new,
                HopState::Proven => proven,
                HopState::Unreachable => unreachable,
            };
            *hops += 1;
            *queued += entry.bytes.in_use();
        }
        let shown = &self.counters;
        let gauges = [
            (&shown.hops_new, &shown.queued_for_new),
            (&shown.hops_proven, &shown.queued_for_proven),
            (&shown.hops_unreachable, &shown.queued_for_unreachable),
        ];
        for ((hops, queued), (of_hops, of_queued)) in states.into_iter().zip(gauges) {
            of_hops.store(hops, Relaxed);
            of_queued.store(queued, Relaxed);
        }
    }

    /// Sends what is queued, and ends at `deadline` at the latest. Packets that are not sent by then are counted.
    pub async fn drain(mut self, deadline: Instant) {
        // A task whose queue has no sender left sends what it holds and ends.
        for (_, entry) in self.hops.drain() {
            if entry.state.get() == HopState::Unreachable {
                entry.task.abort();
            }
        }
        let all_ended = async { while self.tasks.join_next().await.is_some() {} };
        if timeout_at(deadline, all_ended).await.is_err() {
            self.tasks.shutdown().await;
        }
    }

    fn hand_over(&mut self, origin: Origin, next_hop: SocketAddr, frame: OutgoingFrame) {
        if let Err(reason) = self.policy.check(next_hop) {
            tracing::trace!(%next_hop, %reason, "next hop refused");
            count(&self.counters.next_hop_forbidden);
            return;
        }
        self.hear_news();
        // One hop has one connection, however its address is written.
        let next_hop = SocketAddr::new(next_hop.ip().to_canonical(), next_hop.port());
        match self.hops.get(&next_hop) {
            Some(entry) if !entry.queue.is_closed() => {
                if let Some(frame) = self.queue(entry, frame) {
                    self.start(origin, next_hop, frame);
                }
            }
            _ => self.start(origin, next_hop, frame),
        }
    }

    /// Gives the frame to the task of the hop, or drops and counts it. Returns the frame if the task has just ended because it was idle.
    fn queue(&self, entry: &Entry, frame: OutgoingFrame) -> Option<OutgoingFrame> {
        entry.state.ask();
        let budget = self.budgets.of(entry.origin, entry.place);
        let Some(bytes) = budget.take(&entry.bytes, frame.wire_len()) else {
            count(&self.counters.queued_bytes_full);
            return None;
        };
        match entry.queue.try_send(QueuedFrame {
            frame,
            _bytes: bytes,
            _waiting: self.counters.packets_waiting.raise(),
        }) {
            Ok(()) => None,
            Err(TrySendError::Full(_)) => {
                count(&self.counters.next_hop_queue_full);
                None
            }
            Err(TrySendError::Closed(back)) => Some(back.frame),
        }
    }

    fn start(&mut self, origin: Origin, next_hop: SocketAddr, first: OutgoingFrame) {
        self.reap();
        self.forget(next_hop);
        let (place, displaced) = self.places.first(origin, next_hop);
        if let Some(displaced) = displaced {
            self.displace(displaced);
        }
        let (queue, packets) = mpsc::channel(self.config.queue_packets.max(1) as usize);
        let state = SharedState::new(next_hop, self.news.clone());
        let has_worked = self.worked_before.contains(next_hop);
        let counters = Arc::clone(&self.counters);
        let hop = Hop::new(next_hop, packets, state.clone(), has_worked, &self.config, self.timeouts, counters);
        let bytes = HopBytes::default();
        // The packet is queued before the task runs: without a packet the task would end at once.
        let Some(taken) = self.budgets.of(origin, place).take(&bytes, first.wire_len()) else {
            count(&self.counters.queued_bytes_full);
            self.places.leave(origin, next_hop, place);
            return;
        };
        if queue
            .try_send(QueuedFrame { frame: first, _bytes: taken, _waiting: self.counters.packets_waiting.raise() })
            .is_err()
        {
            count(&self.counters.next_hop_queue_full);
            self.places.leave(origin, next_hop, place);
            return;
        }
        let task = self.tasks.spawn(hop.run());
        self.hops.insert(next_hop, Entry { queue, state, bytes, origin, place, task });
    }

    /// Moves the hops whose state has changed to the places that belong to their new state.
    fn hear_news(&mut self) {
        for next_hop in self.news.take() {
            // A hop whose task has ended needs no other place.
            let Some(entry) = self.hops.get_mut(&next_hop).filter(|entry| !entry.queue.is_closed()) else { continue };
            let displaced = match (entry.state.look(), entry.place) {
                (HopState::Proven, place @ HopPlace::First(_)) => {
                    self.worked_before.insert(next_hop);
                    self.places.leave(entry.origin, next_hop, place);
                    let (place, displaced) = self.places.prove(next_hop);
                    entry.place = place;
                    displaced
                }
                (HopState::Unreachable, place @ HopPlace::Proven(_)) => {
                    self.places.leave(entry.origin, next_hop, place);
                    let (place, displaced) = self.places.first(entry.origin, next_hop);
                    entry.place = place;
                    displaced
                }
                _ => None,
            };
            if let Some(displaced) = displaced {
                self.displace(displaced);
            }
        }
    }

    /// Removes the hops whose tasks have ended.
    fn reap(&mut self) {
        while let Some(ended) = self.tasks.try_join_next() {
            match ended {
                // Another task may serve the same next hop by now; its queue is open.
                Ok(next_hop) if self.hops.get(&next_hop).is_some_and(|entry| entry.queue.is_closed()) => {
                    self.forget(next_hop);
                }
                Err(error) if error.is_panic() => {
                    tracing::error!(
                        id = "GWD-E001", %error,
                        "the task of a next hop panicked; its packets are counted as lost"
                    );
                }
                Ok(_) | Err(_) => {}
            }
        }
    }

    fn forget(&mut self, next_hop: SocketAddr) {
        let Some(entry) = self.hops.remove(&next_hop) else { return };
        self.places.leave(entry.origin, next_hop, entry.place);
        if entry.state.get() == HopState::Proven {
            self.worked_before.insert(next_hop);
        }
    }

    /// Ends a hop whose place was taken away.
    fn displace(&mut self, next_hop: SocketAddr) {
        if let Some(entry) = self.hops.remove(&next_hop) {
            entry.state.displace();
            entry.task.abort();
        }
    }
}
