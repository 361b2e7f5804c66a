//! The figures of `mix-egress`.

/// Packets taken that were not sent, by reason.
pub const DROPPED: [&str; 8] = [
    "next_hop_forbidden",
    "next_hop_queue_full",
    "queued_bytes_full",
    "too_many_next_hops",
    "next_hop_unreachable",
    "next_hop_stalled",
    "next_hop_lost",
    "packets_lost_at_death",
];

crate::figures! {
    /// The counters of the process.
    pub struct EgressCounters {
        /// Packets handed over by `mix-ingress` and `client-edge`.
        counter acks_taken = "packets_taken" { origin: "acks" },
        /// Packets handed over by `mix-ingress` and `client-edge`.
        counter clients_packets_taken = "packets_taken" { origin: "clients" },
        /// Packets sent to this process that came to no process, because one end of their link died. As the sender tells.
        counter acks_lost_on_link = "packets_lost_on_link" { origin: "acks" },
        /// Packets sent to this process that came to no process, because one end of their link died. As the sender tells.
        counter clients_packets_lost_on_link = "packets_lost_on_link" { origin: "clients" },
        /// Packets of which the last byte was handed to the kernel.
        counter packets_sent,
        /// Packets dropped because policy forbids their next hop: its address, its port, or this machine.
        counter next_hop_forbidden,
        /// Packets dropped because as many as allowed were already waiting for their next hop.
        counter next_hop_queue_full,
        /// Packets dropped because those that wait for their next hop already hold its share of the bytes that are left.
        counter queued_bytes_full,
        /// Packets dropped with their next hop, which gave its place to another.
        counter too_many_next_hops,
        /// Packets that waited for a next hop that could not be connected, and were dropped when others needed the place
        /// or at the end.
        counter next_hop_unreachable,
        /// Packets dropped because their next hop stopped reading.
        counter next_hop_stalled,
        /// Packets cut off by the end of their connection, or not written by the end of the time for draining.
        counter next_hop_lost,
        /// Packets that a process which died had taken and not sent.
        counter packets_lost_at_death,
        /// Attempts to connect that failed (not packets).
        counter connects_failed,
        /// Memory in use now, in bytes, for packets that wait for next hops.
        gauge queued_memory (bytes),
        /// The most memory for packets that wait for next hops.
        gauge queued_memory_limit (bytes),
        /// Of the memory for packets that wait, that of next hops that have not taken a packet yet, that have, and that cannot be connected.
        gauge queued_for_new (bytes) = "queued_memory_by_next_hop" { state: "new" },
        /// Of the memory for packets that wait, that of next hops that have not taken a packet yet, that have, and that cannot be connected.
        gauge queued_for_proven (bytes) = "queued_memory_by_next_hop" { state: "proven" },
        /// Of the memory for packets that wait, that of next hops that have not taken a packet yet, that have, and that cannot be connected.
        gauge queued_for_unreachable (bytes) = "queued_memory_by_next_hop" { state: "unreachable" },
        /// Packets that wait for next hops.
        gauge packets_waiting,
        /// Next hops in use that have not taken a packet yet, that have, and that cannot be connected.
        gauge hops_new = "next_hops" { state: "new" },
        /// Next hops in use that have not taken a packet yet, that have, and that cannot be connected.
        gauge hops_proven = "next_hops" { state: "proven" },
        /// Next hops in use that have not taken a packet yet, that have, and that cannot be connected.
        gauge hops_unreachable = "next_hops" { state: "unreachable" },
        /// The most next hops at once.
        gauge next_hops_limit,
    }
    refusals {
        next_hop_forbidden, too_many_next_hops, next_hop_stalled, next_hop_lost,
    }
    conditions {
        next_hop_queue_full, queued_bytes_full, next_hop_unreachable,
    }
}

/// Packets that came, by origin.
pub const TAKEN: [&str; 2] = ["acks_taken", "clients_packets_taken"];
