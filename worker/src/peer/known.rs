//! Prefixes whose connections were useful lately, in bounded memory.

use std::{collections::HashSet, mem, time::Duration};

use tokio::time::Instant;

use super::prefix::AddressPrefix;

/// A prefix is remembered for at least this long and at most twice as long. A mix node that is being upgraded is back sooner.
const PERIOD: Duration = Duration::from_hours(1);

/// Prefixes in one generation. When a generation is full before its time, the older one is dropped. So an attacker needs twice as many
/// prefixes with full proof to make the gateway forget others.
const GENERATION: usize = 16_384;

/// The prefixes, in two generations. Kept in memory only, without times or counts.
#[derive(Debug)]
pub(super) struct KnownPrefixes {
    young: HashSet<AddressPrefix>,
    old: HashSet<AddressPrefix>,
    turned: Instant,
}

impl KnownPrefixes {
    /// No prefix is known.
    pub(super) fn new(now: Instant) -> Self {
        Self { young: HashSet::new(), old: HashSet::new(), turned: now }
    }

    /// Remembers the prefix.
    pub(super) fn remember(&mut self, prefix: AddressPrefix, now: Instant) {
        self.fade(now);
        if self.young.len() >= GENERATION && !self.young.contains(&prefix) {
            self.turn(now);
        }
        self.young.insert(prefix);
    }

    /// Whether the prefix has proved useful lately.
    pub(super) fn knows(&mut self, prefix: AddressPrefix, now: Instant) -> bool {
        self.fade(now);
        self.young.contains(&prefix) || self.old.contains(&prefix)
    }

    fn fade(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.turned);
        if age >= PERIOD {
            self.turn(now);
        }
        if age >= PERIOD * 2 {
            self.old.clear();
        }
    }

    fn turn(&mut self, now: Instant) {
        self.old = mem::take(&mut self.young);
        self.turned = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(number: u64) -> AddressPrefix {
        AddressPrefix::V6(number.to_be_bytes())
    }

    #[test]
    fn a_prefix_is_known_for_an_hour_and_forgotten_after_two() {
        let start = Instant::now();
        let mut known = KnownPrefixes::new(start);
        known.remember(prefix(1), start + PERIOD / 2);
        assert!(known.knows(prefix(1), start + PERIOD * 3 / 2));
        assert!(!known.knows(prefix(1), start + PERIOD * 5 / 2));
        known.remember(prefix(1), start + PERIOD * 3);
        assert!(!known.knows(prefix(1), start + PERIOD * 6), "nobody asked in between");
    }

    #[test]
    fn the_memory_of_prefixes_is_bounded() {
        let now = Instant::now();
        let mut known = KnownPrefixes::new(now);
        for number in 0..GENERATION as u64 * 4 {
            known.remember(prefix(number), now);
            known.remember(prefix(u64::MAX), now);
        }
        assert!(known.young.len() + known.old.len() <= 2 * GENERATION);
        assert!(known.knows(prefix(u64::MAX), now), "who proves again and again is not pushed out");
        assert!(!known.knows(prefix(0), now));
    }
}
