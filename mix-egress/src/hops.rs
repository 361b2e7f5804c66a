//! The table of next hops: which packet goes to which task.
//!
//! Trusts nobody who asks: every next hop is checked against the policy, and there are bounds on packets per next hop,
//! next hops, and bytes in all. Promises that sending never waits, and that each packet ends in exactly one counter.
//!
//! A next hop that cannot be connected keeps its packets only as long as nobody else needs the room: otherwise anybody
//! could fill the table for good by naming addresses at which nobody listens.

#[cfg(test)]
mod tests;

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use proto::{counter::count, ipc::egress::SendPacket};
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    task::{AbortHandle, JoinSet},
    time::{Instant, timeout_at},
};

use crate::{
    batch::QueuedFrame,
    config::EgressConfig,
    counters::EgressCounters,
    frame::{OutgoingFrame, WrongLength},
    hop::{Hop, SharedStanding, Standing},
    policy::NextHopPolicy,
    room::Room,
};

/// The table's side of one next hop.
#[derive(Debug)]
struct Entry {
    queue: mpsc::Sender<QueuedFrame>,
    standing: SharedStanding,
    last_used: Instant,
    task: AbortHandle,
}

impl Entry {
    /// The standing if it is such that the hop may give its place to another.
    fn dispensable(&self) -> Option<Standing> {
        match self.standing.get() {
            Standing::Unreachable => Some(Standing::Unreachable),
            // Its task may not have seen a packet that is already in the queue.
            Standing::Idle if self.queue.capacity() == self.queue.max_capacity() => Some(Standing::Idle),
            Standing::Idle | Standing::Busy => None,
        }
    }
}

/// All next hops in use, and the tasks that serve them.
#[derive(Debug)]
pub struct Hops {
    config: Arc<EgressConfig>,
    policy: NextHopPolicy,
    counters: Arc<EgressCounters>,
    room: Room,
    hops: HashMap<SocketAddr, Entry>,
    tasks: JoinSet<()>,
}

impl Hops {
    /// An empty table. Every drop is counted in `counters`.
    pub fn new(config: EgressConfig, counters: Arc<EgressCounters>) -> Self {
        Self {
            policy: NextHopPolicy { allow_private: config.allow_private },
            room: Room::new(config.max_queued_bytes),
            config: Arc::new(config),
            counters,
            hops: HashMap::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Hands the packet to the task of its next hop, which is started if need be; or drops it and counts why. Never
    /// waits. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The packet cannot be framed: whoever asked for it broke a rule of its link.
    pub fn send(&mut self, SendPacket { next_hop, header, packet }: SendPacket) -> Result<(), WrongLength> {
        self.hand_over(next_hop, OutgoingFrame::new(self.config.framing.apply(header), packet)?);
        Ok(())
    }

    /// Sends what is queued and ends, at `deadline` at the latest. What is not sent by then is counted.
    pub async fn drain(mut self, deadline: Instant) {
        // A task whose queue has no other end any more sends what it holds and ends.
        for (_, entry) in self.hops.drain() {
            if entry.standing.get() == Standing::Unreachable {
                entry.task.abort();
            }
        }
        let all_ended = async { while self.tasks.join_next().await.is_some() {} };
        if timeout_at(deadline, all_ended).await.is_err() {
            self.tasks.shutdown().await;
        }
    }

    fn hand_over(&mut self, next_hop: SocketAddr, frame: OutgoingFrame) {
        if let Err(reason) = self.policy.check(next_hop) {
            tracing::trace!(%next_hop, %reason, "next hop refused");
            count(&self.counters.next_hop_forbidden);
            return;
        }
        // One hop has one connection, however its address is written.
        let next_hop = SocketAddr::new(next_hop.ip().to_canonical(), next_hop.port());
        let Some(room) = self.room.take(frame.wire_len()) else {
            count(&self.counters.queued_bytes_full);
            self.dispense_with(Standing::Unreachable);
            return;
        };
        let mut frame = QueuedFrame { frame, _room: room };
        if let Some(entry) = self.hops.get_mut(&next_hop) {
            entry.last_used = Instant::now();
            match entry.queue.try_send(frame) {
                Ok(()) => return,
                Err(TrySendError::Full(_)) => {
                    count(&self.counters.next_hop_queue_full);
                    return;
                }
                // Its task has just ended for want of packets.
                Err(TrySendError::Closed(back)) => frame = back,
            }
        }
        self.start(next_hop, frame);
    }

    fn start(&mut self, next_hop: SocketAddr, first: QueuedFrame) {
        self.reap();
        self.hops.remove(&next_hop);
        if self.hops.len() >= self.config.max_next_hops && !self.dispense_with(Standing::Idle) {
            count(&self.counters.too_many_next_hops);
            return;
        }
        let (queue, packets) = mpsc::channel(self.config.queue_packets.max(1));
        let standing = SharedStanding::new();
        let hop = Hop::new(next_hop, packets, standing.clone(), Arc::clone(&self.config), Arc::clone(&self.counters));
        // Before the task runs: it would end at once if it found nothing to do.
        if queue.try_send(first).is_err() {
            count(&self.counters.next_hop_queue_full);
            return;
        }
        let task = self.tasks.spawn(hop.run());
        self.hops.insert(next_hop, Entry { queue, standing, last_used: Instant::now(), task });
    }

    /// Forgets the hops whose tasks have ended.
    fn reap(&mut self) {
        let mut any = false;
        while let Some(ended) = self.tasks.try_join_next() {
            any = true;
            if let Err(error) = ended
                && error.is_panic()
            {
                tracing::error!(%error, "the task of a next hop panicked; its packets are counted as lost");
            }
        }
        if any {
            self.hops.retain(|_, entry| !entry.queue.is_closed());
        }
    }

    /// Lets go of the hop that can best be done without: an unreachable one before an idle one, the one not used for
    /// longest first, and none that is better than `at_best`. Returns whether there was one.
    fn dispense_with(&mut self, at_best: Standing) -> bool {
        let dispensable = self.hops.iter().filter_map(|(&next_hop, entry)| {
            let standing = entry.dispensable().filter(|standing| *standing <= at_best)?;
            Some((standing, entry.last_used, next_hop))
        });
        let Some((standing, _, next_hop)) = dispensable.min() else { return false };
        if let Some(entry) = self.hops.remove(&next_hop)
            && standing == Standing::Unreachable
        {
            entry.task.abort();
        }
        true
    }
}
