//! The counters of the process. Each packet that is handed over in good order ends in exactly one of the counters of packets.

use ipc::http_api::PacketFigures;
use worker::counter::sum;

worker::counters! {
    /// The counters of the process.
    pub struct EgressCounters {
        /// Packets of which the last byte was handed to the kernel.
        packets_sent,
        /// Packets dropped because policy forbids their next hop: its address, its port, or this machine.
        next_hop_forbidden,
        /// Packets dropped because as many as allowed were already waiting for their next hop.
        next_hop_queue_full,
        /// Packets dropped because those that wait for their next hop already hold its share of the bytes that are left.
        queued_bytes_full,
        /// Packets dropped with their next hop, which gave its place to another.
        too_many_next_hops,
        /// Packets that waited for a next hop that could not be connected, and were dropped when others needed the place
        /// or at the end.
        next_hop_unreachable,
        /// Packets dropped because their next hop stopped reading.
        next_hop_stalled,
        /// Packets cut off by the end of their connection, or not written by the end of the time for draining.
        next_hop_lost,
        /// Attempts to connect that failed (not packets).
        connects_failed,
        /// Memory in use now, in bytes, for packets that wait for next hops.
        queued_memory,
    }
    refusals {
        next_hop_forbidden, too_many_next_hops, next_hop_stalled, next_hop_lost,
    }
    conditions {
        next_hop_queue_full, queued_bytes_full, next_hop_unreachable,
    }
}

impl EgressCounters {
    /// What the public is told.
    pub(crate) fn packets(&self) -> PacketFigures {
        PacketFigures {
            received: 0,
            sent: sum(&[&self.packets_sent]),
            dropped: sum(&[
                &self.next_hop_forbidden,
                &self.next_hop_queue_full,
                &self.queued_bytes_full,
                &self.too_many_next_hops,
                &self.next_hop_unreachable,
                &self.next_hop_stalled,
                &self.next_hop_lost,
            ]),
        }
    }
}
