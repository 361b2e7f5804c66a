//! What became of every packet, by name. Each packet handed to [`Hops::send`](crate::hops::Hops::send) ends in exactly
//! one of the counters that count packets.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts `n` more.
    pub fn add(&self, n: usize) {
        self.0.fetch_add(n as u64, Ordering::Relaxed);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of the process.
#[derive(Debug, Default)]
pub struct Counters {
    /// Packets of which the last byte was handed to the kernel.
    pub packets_sent: Counter,
    /// Packets dropped because policy forbids their next hop.
    pub next_hop_forbidden: Counter,
    /// Packets dropped because as many as allowed were already waiting for their next hop.
    pub next_hop_queue_full: Counter,
    /// Packets dropped because packets for all next hops together held as many bytes as allowed.
    pub queued_bytes_full: Counter,
    /// Packets dropped because as many next hops as allowed were in use.
    pub too_many_next_hops: Counter,
    /// Packets that waited for a next hop that could not be connected, and were dropped when others needed the room or
    /// at the end.
    pub next_hop_unreachable: Counter,
    /// Packets dropped because their next hop stopped reading.
    pub next_hop_stalled: Counter,
    /// Packets cut off by the end of their connection, or not written by the end of the time for draining.
    pub next_hop_lost: Counter,
    /// Attempts to connect that failed (not packets).
    pub connects_failed: Counter,
}

impl Counters {
    /// Every counter with its name, for logs and reports.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        [
            ("packets_sent", &self.packets_sent),
            ("next_hop_forbidden", &self.next_hop_forbidden),
            ("next_hop_queue_full", &self.next_hop_queue_full),
            ("queued_bytes_full", &self.queued_bytes_full),
            ("too_many_next_hops", &self.too_many_next_hops),
            ("next_hop_unreachable", &self.next_hop_unreachable),
            ("next_hop_stalled", &self.next_hop_stalled),
            ("next_hop_lost", &self.next_hop_lost),
            ("connects_failed", &self.connects_failed),
        ]
        .into_iter()
        .map(|(name, counter)| (name, counter.get()))
    }
}
