//! The unwrapping of packets, on all cores.
//!
//! *Trusts* nothing about a packet. *Holds* the key, the replay filter, and one turn for each read whose packets are under way.
//! *Promises*: a packet that was seen before goes no further than its header; nothing is read without a turn, and a read has its
//! turn until its last batch is handed on. So what all connections together have read and not handed on is bounded, and a `store`
//! that takes no more deliveries stops the reading of bytes. [`crate::turns`] decides which connection has the next turn.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use bytes::Bytes;
use figures::Raised;
use ipc::{Opaque, egress::SendPacket};
use sandbox::secret::Locked;
use tokio::task::{JoinHandle, spawn_blocking};
use wire::{
    framing::FrameHeader,
    packet::PacketSize,
    surb_ack::{FinalHopContent, split},
};
use worker::{
    counter::{count, count_many},
    peer::AddressPrefix,
};

use crate::{
    counters::{self, Counters},
    deliver::Delivery,
    replay::{Marker, NoRoom},
    sphinx::{self, FinalHop, SphinxKey, UnwrapError},
    turns::{Record, Turn, Turns},
};

/// Packets in one batch: about a millisecond of one core. A larger batch would delay its first packet and leave the other cores
/// idle.
pub(crate) const BATCH_PACKETS: usize = 32;

/// A batch of at most so many packets is unwrapped on the thread that read them. That takes a tenth of a millisecond, not much more
/// than waking another thread and being woken by it.
const SHORT_BATCH: usize = 4;

/// Reads under way for each thread: one that is unwrapped, one that follows, and two that wait to be handed on.
const TURNS_PER_THREAD: usize = 4;

/// Batches of one connection for each thread that are read and not yet judged: one that is unwrapped, and one that follows.
const BATCHES_PER_THREAD: usize = 2;

/// A frame as received.
pub(crate) type Frame = (FrameHeader, Bytes);

/// Unwraps packets for the connections, on all threads.
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
    /// The turn of the read, in its last batch.
    turn: Option<Turn>,
}

/// The result of a batch, or the task that makes it. None if the unwrapping panicked.
enum Work {
    Done(Option<Vec<Delivery>>),
    Blocking(JoinHandle<Vec<Delivery>>),
}

impl Unwrapper {
    /// Unwraps with `key` on the blocking threads of the runtime, of which there are `threads`.
    pub(crate) fn new(key: Arc<Locked<SphinxKey>>, marker: Marker, threads: usize, counters: Arc<Counters>) -> Self {
        let threads = threads.max(1);
        let (turns, batches) = (threads.saturating_mul(TURNS_PER_THREAD), threads.saturating_mul(BATCHES_PER_THREAD));
        Self { key, marker, turns: Turns::new(turns), batches, counters }
    }

    /// So many batches of one connection may wait to be judged.
    pub(crate) const fn batches(&self) -> usize {
        self.batches
    }

    /// Waits until a connection may read. `None` if the turns are gone.
    ///
    /// There is no time limit: a turn is free when an earlier batch is handed on, and `store` sets that pace.
    pub(crate) async fn turn(&self, from: AddressPrefix, record: Record) -> Option<Turn> {
        self.turns.take(from, record).await
    }

    /// Begins to unwrap a batch. The last batch of a read keeps the turn of that read.
    pub(crate) fn begin(&self, frames: Vec<Frame>, turn: Option<Turn>) -> Unwrapping {
        let packets = frames.len();
        let (key, marker, counters) = (Arc::clone(&self.key), self.marker.clone(), Arc::clone(&self.counters));
        let frames: Vec<_> = frames.into_iter().map(|frame| (frame, counters.packets_in_flight.raise())).collect();
        let unwrap_all =
            move || frames.into_iter().filter_map(|frame| unwrap(&key, &marker, frame, &counters)).collect();
        let work = if packets <= SHORT_BATCH {
            // Only counters and marks are used after a panic, and those are whole at any moment.
            Work::Done(catch_unwind(AssertUnwindSafe(unwrap_all)).ok())
        } else {
            Work::Blocking(spawn_blocking(unwrap_all))
        };
        Unwrapping { packets, work, turn }
    }
}

impl Unwrapping {
    /// How many packets went in.
    pub(crate) const fn packets(&self) -> usize {
        self.packets
    }

    /// The deliveries in the order of their packets. To be handed on before the turn is dropped.
    pub(crate) async fn done(self, counters: &Counters) -> (Vec<Delivery>, Option<Turn>) {
        let deliveries = match self.work {
            Work::Done(deliveries) => deliveries,
            Work::Blocking(work) => work.await.ok(),
        };
        let deliveries = deliveries.unwrap_or_else(|| {
            tracing::error!(
                id = "GWD-I006",
                packets = self.packets,
                "unwrapping panicked; the packets of this batch are dropped"
            );
            count_many(&counters.unwrap_panicked, self.packets);
            Vec::new()
        });
        (deliveries, self.turn)
    }
}

/// Unwraps one packet into a delivery, or counts why not.
///
/// From here until `store` has answered, copies of the packet are refused. A packet that fails is forgotten.
fn unwrap(
    key: &SphinxKey,
    marker: &Marker,
    ((header, packet), in_flight): (Frame, Raised),
    counters: &Counters,
) -> Option<Delivery> {
    let failed = |error: &UnwrapError| counters::unwrap_failed(counters, *error);
    let checked = sphinx::open_header(key, packet).inspect_err(failed).ok()?;
    let Some(mark) = marker.first_sight(&checked.replay_tag()) else {
        count(&counters.replayed);
        return None;
    };
    let FinalHop { destination, plaintext } = checked.unwrap_payload().inspect_err(failed).ok()?;
    let content = split(header.size, sized_to_fit(header.size, plaintext));
    let FinalHopContent { surb_ack, message } =
        content.inspect_err(|error| counters::split_failed(counters, *error)).ok()?;
    let refused = |reason: &NoRoom| counters::no_room_for_mark(counters, *reason);
    marker.admit(&destination).inspect_err(refused).ok()?;
    let ack = surb_ack.map(|ack| SendPacket {
        next_hop: ack.next_hop,
        header: header.for_surb_ack(),
        // A copy, because an ack that waits for its next hop would otherwise hold the memory of the whole message.
        packet: Opaque(Bytes::copy_from_slice(&ack.packet)),
    });
    Some(Delivery { destination, message, ack, mark: Some(mark), _in_flight: in_flight })
}

/// Copies a short plaintext of a large packet. Otherwise it would hold the memory of the packet for as long as `store` takes, and the
/// window of the link counts only the bytes of the message.
fn sized_to_fit(size: PacketSize, plaintext: Bytes) -> Bytes {
    if plaintext.len() < size.plaintext_len() / 2 { Bytes::copy_from_slice(&plaintext) } else { plaintext }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_plaintext_does_not_hold_the_memory_of_its_packet() {
        let size = PacketSize::Extended32;
        let whole = Bytes::from(vec![7; size.plaintext_len()]);
        for (len, is_copied) in
            [(0, true), (100, true), (size.plaintext_len() / 2 - 1, true), (size.plaintext_len() / 2, false)]
        {
            let plaintext = whole.slice(..len);
            let fitting = sized_to_fit(size, plaintext.clone());
            assert_eq!(fitting, plaintext);
            assert_eq!(fitting.as_ptr() != plaintext.as_ptr(), is_copied, "{len}");
        }
    }
}
