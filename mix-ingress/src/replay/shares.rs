//! The share of each destination when room for marks is short: the destinations with the most packets give way.
//!
//! An honest client gets about a hundred packets a second. An attacker who wants to use up the room must send far more to few clients
//! of their own, because packets for nobody leave no mark. So each destination has an equal share of what the memory can bear. All
//! shares add up to that amount, so the room lasts.
//!
//! *Trusts* `store` to accept packets for registered clients only: others would count as destinations and shrink the shares.
//! *Holds* a fixed number of counters, found by a secret hash. Two clients with the same counter have one share together; nobody can
//! choose the other client. *Promises*: in an interval a destination gets no more than its share, and what was under way to `store`
//! when its share was used up.

use std::{
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use wire::address::ClientAddress;

/// The number of counters, which take 64 KiB. With 250 greedy destinations, a given client shares its counter with one of them at one
/// start of 66.
const COUNTERS: usize = 1 << 14;

/// After this time the counting begins again.
pub(crate) const INTERVAL: Duration = Duration::from_secs(10);

/// Accepted packets of each destination in this interval.
pub(crate) struct Shares {
    hasher: RandomState,
    accepted: Box<[AtomicU32]>,
    /// Destinations in this interval.
    destinations: AtomicU64,
    /// Destinations in the interval before, so that the first destination of an interval does not get everything.
    destinations_before: AtomicU64,
    packets_per_interval: u64,
}

impl Shares {
    /// Divides so many packets a second among all destinations.
    pub(crate) fn new(packets_per_second: u64) -> Self {
        Self {
            hasher: RandomState::new(),
            accepted: (0..COUNTERS).map(|_| AtomicU32::new(0)).collect(),
            destinations: AtomicU64::new(0),
            destinations_before: AtomicU64::new(0),
            packets_per_interval: packets_per_second.saturating_mul(INTERVAL.as_secs()),
        }
    }

    /// Counts a packet that was accepted.
    pub(crate) fn count(&self, destination: &ClientAddress) {
        if self.counter(destination).is_some_and(|accepted| accepted.fetch_add(1, Relaxed) == 0) {
            self.destinations.fetch_add(1, Relaxed);
        }
    }

    /// Whether a destination may get another packet in this interval.
    pub(crate) fn has_some_left(&self, destination: &ClientAddress) -> bool {
        let destinations = self.destinations.load(Relaxed).max(self.destinations_before.load(Relaxed)).max(1);
        // However many destinations there are, each gets one packet.
        let share = (self.packets_per_interval / destinations).max(1);
        self.counter(destination).is_some_and(|accepted| u64::from(accepted.load(Relaxed)) < share)
    }

    /// Begins a new interval.
    pub(crate) fn begin_interval(&self) {
        self.destinations_before.store(self.destinations.swap(0, Relaxed), Relaxed);
        for accepted in &self.accepted {
            accepted.store(0, Relaxed);
        }
    }

    fn counter(&self, destination: &ClientAddress) -> Option<&AtomicU32> {
        self.accepted.get(self.hasher.hash_one(destination.0) as usize % COUNTERS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GREEDY: ClientAddress = ClientAddress([1; 32]);
    const MODEST: ClientAddress = ClientAddress([2; 32]);

    /// Ten packets a second, and a counter for each of the two.
    fn separate() -> Shares {
        let is_separate = |shares: &Shares| {
            let [greedy, modest] = [GREEDY, MODEST].map(|destination| shares.counter(&destination).unwrap());
            !std::ptr::eq(greedy, modest)
        };
        std::iter::repeat_with(|| Shares::new(10)).find(is_separate).unwrap()
    }

    #[test]
    fn who_gets_most_gives_way_and_others_do_not() {
        let shares = separate();
        for _ in 0..100 {
            assert!(shares.has_some_left(&GREEDY));
            shares.count(&GREEDY);
        }
        assert!(!shares.has_some_left(&GREEDY) && shares.has_some_left(&MODEST));
        shares.count(&MODEST);
        shares.begin_interval();
        for _ in 0..50 {
            assert!(shares.has_some_left(&GREEDY));
            shares.count(&GREEDY);
        }
        assert!(!shares.has_some_left(&GREEDY), "there were two destinations before");
        assert!(shares.has_some_left(&MODEST));
    }

    #[test]
    fn with_too_many_destinations_each_gets_one_packet() {
        let shares = Shares::new(1);
        for number in 0..100 {
            shares.count(&ClientAddress([number; 32]));
        }
        shares.begin_interval();
        assert!(shares.has_some_left(&GREEDY));
        shares.count(&GREEDY);
        assert!(!shares.has_some_left(&GREEDY));
    }
}
