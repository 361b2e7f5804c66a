//! Divides `[limits] memory` into the budgets of all processes. They are computed only here.
//!
//! Each budget is for what others make the gateway hold. Not included are connections without data, the programs, the replay filter and
//! the page cache of the databases, because they do not grow with what others send.

use super::tuning::LimitsSection;

/// The memory is divided into so many parts.
const PARTS: u64 = 24;
/// A message on its way from the mixnet port is in memory three times: in `mix-ingress`, in `store`, and where it is written.
const PLACES_IN_FLIGHT: u64 = 3;

/// The budgets, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryBudgets {
    /// Messages on their way from the mixnet port, in each of three places; at most `bytes_in_flight`.
    pub in_flight: u64,
    /// Messages that clients have been sent and have not proved received.
    pub pushed: u64,
    /// Mail that was read from disk and not sent yet.
    pub read_ahead: u64,
    /// Messages of clients that have begun and not ended.
    pub half_messages: u64,
    /// Mix frames that have begun and not ended.
    pub half_frames: u64,
    /// SURB-acks on their way from `mix-ingress` to `mix-egress`.
    pub acks: u64,
    /// Clients' packets on their way from `client-edge` to `mix-egress`.
    pub packets: u64,
    /// Packets that wait for next hops.
    pub next_hops: u64,
}

impl MemoryBudgets {
    /// The budgets under these limits.
    pub const fn of(limits: &LimitsSection) -> Self {
        let all = limits.memory.get();
        let in_flight = share(all, 2);
        let bytes_in_flight = limits.bytes_in_flight.get();
        Self {
            in_flight: if bytes_in_flight < in_flight { bytes_in_flight } else { in_flight },
            pushed: share(all, 5),
            read_ahead: share(all, 1),
            half_messages: share(all, 2),
            half_frames: share(all, 2),
            acks: share(all, 1),
            packets: share(all, 1),
            next_hops: share(all, 6),
        }
    }

    /// The sum of all budgets, each counted as often as its data is in memory.
    pub const fn sum(&self) -> u64 {
        let to_clients = PLACES_IN_FLIGHT * self.in_flight + self.pushed + self.read_ahead;
        to_clients + self.half_messages + self.half_frames + self.acks + self.packets + self.next_hops
    }
}

const fn share(all: u64, parts: u64) -> u64 {
    (all / PARTS).saturating_mul(parts)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_default_memory_leaves_bytes_in_flight_alone() {
        let limits = LimitsSection::default();
        assert_eq!(MemoryBudgets::of(&limits).in_flight, limits.bytes_in_flight.get());
        assert_eq!(MemoryBudgets::of(&limits).sum(), limits.memory.get());
    }

    proptest! {
        #[test]
        fn budgets_together_never_exceed_the_memory(memory in 1..=u64::MAX / 4, bytes_in_flight in 1..u64::MAX) {
            let [memory_set, bytes_in_flight] = [memory, bytes_in_flight].map(|bytes| NonZeroU64::new(bytes).unwrap());
            let limits = LimitsSection { memory: memory_set, bytes_in_flight, ..LimitsSection::default() };
            prop_assert!(MemoryBudgets::of(&limits).sum() <= memory);
        }
    }
}
