//! The unwrapping of packets, on all cores.
//!
//! *Trusts* nothing about a packet. *Holds* the key, the replay filter, and one turn for each batch that is under way.
//! *Promises*: a packet that was seen before goes no further than its header; the batches under way, of all connections
//! together, are bounded; a batch has its turn until it is handed on, so that a store that takes no more stops the reading of
//! bytes and not the growth of memory. Who has the next turn is decided in [`crate::turns`].

use std::sync::Arc;

use bytes::Bytes;
use proto::{
    counter::count,
    ipc::{Opaque, egress::SendPacket},
    peer::AddressPrefix,
    wire::{
        framing::FrameHeader,
        packet::PacketSize,
        surb_ack::{FinalHopContent, split},
    },
};
use sandbox::secret::Locked;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::{
    counters::{Counters, add},
    deliver::Delivery,
    replay::{Marker, NoRoom},
    sphinx::{self, FinalHop, SphinxKey, UnwrapError},
    turns::{Record, Turn, Turns},
};

/// Packets that are unwrapped in one go: about a millisecond of one core. More would keep the first of them waiting and
/// leave the other cores idle.
pub(crate) const BATCH_PACKETS: usize = 16;

/// Batches under way for each thread: one that is unwrapped, one that follows, and two that wait to be handed on.
const BATCHES_PER_THREAD: usize = 4;

/// A frame as it came from the network.
pub(crate) type Frame = (FrameHeader, Bytes);

/// The threads that unwrap, seen from the connections.
#[derive(Clone)]
pub(crate) struct Unwrapper {
    key: Arc<Locked<SphinxKey>>,
    marker: Marker,
    turns: Turns,
    batches: usize,
    counters: Arc<Counters>,
}

/// A batch under way.
pub(crate) struct Unwrapping {
    packets: usize,
    work: JoinHandle<Vec<Delivery>>,
    turn: Turn,
}

impl Unwrapper {
    /// Unwraps with `key` on as many of the runtime's blocking threads as it has; that are `threads`.
    pub(crate) fn new(key: Arc<Locked<SphinxKey>>, marker: Marker, threads: usize, counters: Arc<Counters>) -> Self {
        let batches = threads.max(1).saturating_mul(BATCHES_PER_THREAD);
        Self { key, marker, turns: Turns::new(batches), batches, counters }
    }

    /// The most batches that can be under way.
    pub(crate) const fn batches(&self) -> usize {
        self.batches
    }

    /// Begins to unwrap `frames`, once it is their turn.
    ///
    /// No time limit: turns come as batches before are handed on, and how long `store` takes is `store`'s matter. `None` if there
    /// are no turns any more.
    pub(crate) async fn begin(&self, from: AddressPrefix, record: Record, frames: Vec<Frame>) -> Option<Unwrapping> {
        let turn = self.turns.take(from, record).await?;
        let packets = frames.len();
        let (key, marker, counters) = (Arc::clone(&self.key), self.marker.clone(), Arc::clone(&self.counters));
        let work = spawn_blocking(move || {
            frames.into_iter().filter_map(|frame| unwrap(&key, &marker, frame, &counters)).collect()
        });
        Some(Unwrapping { packets, work, turn })
    }
}

impl Unwrapping {
    /// How many packets went in.
    pub(crate) const fn packets(&self) -> usize {
        self.packets
    }

    /// What came out, in the order in which it went in. To be handed on before the turn is dropped.
    pub(crate) async fn done(self, counters: &Counters) -> (Vec<Delivery>, Turn) {
        let deliveries = self.work.await.unwrap_or_else(|error| {
            tracing::error!(%error, packets = self.packets, "unwrapping failed; the packets of this batch are dropped");
            add(&counters.unwrap_panicked, self.packets);
            Vec::new()
        });
        (deliveries, self.turn)
    }
}

/// One packet: what is to be delivered, or nothing and a count.
///
/// From here on it is known until `store` has answered, and so are its copies. A packet that comes to nothing is forgotten.
fn unwrap(key: &SphinxKey, marker: &Marker, (header, packet): Frame, counters: &Counters) -> Option<Delivery> {
    let failed = |error: &UnwrapError| counters.unwrap_failed(*error);
    let checked = sphinx::open_header(key, packet).inspect_err(failed).ok()?;
    let Some(mark) = marker.first_sight(&checked.replay_tag()) else {
        count(&counters.replayed);
        return None;
    };
    let FinalHop { destination, plaintext } = checked.unwrap_payload().inspect_err(failed).ok()?;
    let content = split(header.size, sized_to_fit(header.size, plaintext));
    let FinalHopContent { surb_ack, message } = content.inspect_err(|error| counters.split_failed(*error)).ok()?;
    let refused = |reason: &NoRoom| counters.no_room_for_mark(*reason);
    marker.admit(&destination).inspect_err(refused).ok()?;
    let ack = surb_ack.map(|ack| SendPacket {
        next_hop: ack.next_hop,
        header: header.for_surb_ack(),
        // A copy, or an ack that waits for its next hop would hold the whole message's memory.
        packet: Opaque(Bytes::copy_from_slice(&ack.packet)),
    });
    Some(Delivery { destination, message, ack, mark: Some(mark) })
}

/// A short plaintext in a large packet is moved to memory of its own size: otherwise it would hold the packet's for as
/// long as `store` takes, and the window of the link counts only the bytes of the message.
fn sized_to_fit(size: PacketSize, plaintext: Bytes) -> Bytes {
    if plaintext.len() < size.plaintext_len() / 2 { Bytes::copy_from_slice(&plaintext) } else { plaintext }
}
