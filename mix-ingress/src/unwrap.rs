//! The unwrapping of packets, on all cores.
//!
//! *Trusts* nothing about a packet. *Holds* the key, the replay filter, and one turn for each read whose packets are under way.
//! *Promises*: a packet that was seen before goes no further than its header; nothing is read without a turn, and a read has its
//! turn until its last batch is handed on. So what all connections together have read and not handed on is bounded, and a store that
//! takes no more stops the reading of bytes. Who has the next turn is decided in [`crate::turns`].

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

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
pub(crate) const BATCH_PACKETS: usize = 32;

/// As many packets are unwrapped where they were read: a tenth of a millisecond, not much more than it takes to wake another
/// thread and to be woken by it.
const SHORT_BATCH: usize = 4;

/// Reads under way for each thread: one whose packets are unwrapped, one that follows, and two that wait to be handed on.
const TURNS_PER_THREAD: usize = 4;

/// Batches of one connection for each thread that are read and not judged: one that is unwrapped, and one that follows.
const BATCHES_PER_THREAD: usize = 2;

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
    work: Work,
    /// That of the read, with its last batch.
    turn: Option<Turn>,
}

/// What comes of a batch; none if the unwrapping panicked.
enum Work {
    Done(Option<Vec<Delivery>>),
    Elsewhere(JoinHandle<Vec<Delivery>>),
}

impl Unwrapper {
    /// Unwraps with `key` on as many of the runtime's blocking threads as it has; that are `threads`.
    pub(crate) fn new(key: Arc<Locked<SphinxKey>>, marker: Marker, threads: usize, counters: Arc<Counters>) -> Self {
        let threads = threads.max(1);
        let (turns, batches) = (threads.saturating_mul(TURNS_PER_THREAD), threads.saturating_mul(BATCHES_PER_THREAD));
        Self { key, marker, turns: Turns::new(turns), batches, counters }
    }

    /// The most batches of one connection that wait to be judged.
    pub(crate) const fn batches(&self) -> usize {
        self.batches
    }

    /// Waits until a connection may read.
    ///
    /// No time limit: turns come as batches before are handed on, and how long `store` takes is `store`'s matter. `None` if there
    /// are no turns any more.
    pub(crate) async fn turn(&self, from: AddressPrefix, record: Record) -> Option<Turn> {
        self.turns.take(from, record).await
    }

    /// Unwraps a batch of a read. The last one brings the read's turn.
    pub(crate) fn begin(&self, frames: Vec<Frame>, turn: Option<Turn>) -> Unwrapping {
        let packets = frames.len();
        let (key, marker, counters) = (Arc::clone(&self.key), self.marker.clone(), Arc::clone(&self.counters));
        let unwrap_all =
            move || frames.into_iter().filter_map(|frame| unwrap(&key, &marker, frame, &counters)).collect();
        let work = if packets <= SHORT_BATCH {
            // Whatever a panic leaves behind is not used again, but for counts and marks, which are whole at any moment.
            Work::Done(catch_unwind(AssertUnwindSafe(unwrap_all)).ok())
        } else {
            Work::Elsewhere(spawn_blocking(unwrap_all))
        };
        Unwrapping { packets, work, turn }
    }
}

impl Unwrapping {
    /// How many packets went in.
    pub(crate) const fn packets(&self) -> usize {
        self.packets
    }

    /// What came out, in the order in which it went in. To be handed on before the turn is dropped.
    pub(crate) async fn done(self, counters: &Counters) -> (Vec<Delivery>, Option<Turn>) {
        let deliveries = match self.work {
            Work::Done(deliveries) => deliveries,
            Work::Elsewhere(work) => work.await.ok(),
        };
        let deliveries = deliveries.unwrap_or_else(|| {
            tracing::error!(packets = self.packets, "unwrapping panicked; the packets of this batch are dropped");
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
