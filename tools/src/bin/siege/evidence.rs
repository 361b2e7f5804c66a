//! What a siege has left behind, for those who judge it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use harness::oracle::{Figures, Tally as Sums, percentile};

/// The p99 under siege may be so many times the undisturbed one.
const SLOWER: u32 = 3;
/// In per cent: honest mail for clients that are online, taken at first try.
const FIRST_TRY: f64 = 99.0;
/// In a shorter siege a machine that does other things may give an attacker no time for what takes several steps.
const LONG: Duration = Duration::from_secs(50);

/// How long the mail of one time took.
#[derive(Debug)]
pub(crate) struct Phase {
    /// What the phase is called.
    pub(crate) name: &'static str,
    /// Mail for clients that are online.
    pub(crate) online: Figures,
    /// Mail of mix nodes that connect again for each packet.
    pub(crate) newcomers: Figures,
}

/// Two latencies that must not be far apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tail {
    /// Without attackers.
    pub(crate) undisturbed: Duration,
    /// With them.
    pub(crate) besieged: Duration,
}

impl Tail {
    /// Whether the one is within three times the other. Below `floor` it is the machine that is measured.
    pub(crate) fn is_good(&self, floor: Duration) -> bool {
        self.besieged <= SLOWER * self.undisturbed.max(floor)
    }
}

/// All of it.
pub(crate) struct Evidence {
    /// How long the siege lasted.
    pub(crate) lasted: Duration,
    /// What the oracle has seen in all.
    pub(crate) sums: Sums,
    /// The time before.
    pub(crate) undisturbed: Phase,
    /// The siege.
    pub(crate) besieged: Phase,
    /// Honest logins during the siege that were answered with yes.
    pub(crate) logins: usize,
    /// Refusals of honest clients during the siege, by reason.
    pub(crate) refusals: BTreeMap<String, usize>,
    /// The most memory that each process has had resident, in KiB.
    pub(crate) peaks: BTreeMap<String, u64>,
    /// What the gateway says that it may take in all, in KiB.
    pub(crate) budget: u64,
    /// Bytes by which the ledger has grown during the siege.
    pub(crate) ledger_growth: u64,
    /// What the gateway counted.
    pub(crate) counters: BTreeMap<String, BTreeMap<String, u64>>,
    /// What should not be.
    pub(crate) strange: Vec<String>,
    /// Latencies below this say nothing of the gateway.
    pub(crate) floor: Duration,
}

impl Evidence {
    /// What this process has counted of this.
    pub(crate) fn counted(&self, process: &str, counter: &str) -> u64 {
        self.counters.get(process).and_then(|counters| counters.get(counter)).copied().unwrap_or_default()
    }

    /// Whether it lasted so long that every attacker must have come to do what it wants.
    pub(crate) fn was_long(&self) -> bool {
        self.lasted >= LONG
    }

    /// Memory of all processes together, in KiB.
    pub(crate) fn memory(&self) -> u64 {
        self.peaks.values().sum()
    }

    /// Whether all processes together kept within the budget.
    pub(crate) fn is_within_memory(&self) -> bool {
        self.memory() <= self.budget
    }

    /// Honest logins that failed.
    pub(crate) fn failed_logins(&self) -> usize {
        self.refusals.iter().filter(|(reason, _)| reason.starts_with("a login: ")).map(|(_, count)| count).sum()
    }

    /// Messages that were delivered, and for which no acknowledgement came.
    pub(crate) fn unpaid(&self) -> usize {
        self.besieged.online.delivered.saturating_sub(self.besieged.online.acked)
    }

    /// Whether honest mail for clients that are online was taken at first try.
    pub(crate) fn is_taken_at_first_try(&self) -> bool {
        self.besieged.online.percent_acked() >= FIRST_TRY
    }

    /// Whether mix nodes that reconnected were served.
    pub(crate) fn are_newcomers_served(&self) -> bool {
        self.besieged.newcomers.percent_acked() >= FIRST_TRY
    }

    /// From packet to client and from packet to acknowledgement, at p99; none without mail.
    pub(crate) fn tails(&self) -> Option<[Tail; 2]> {
        let tail = |of: fn(&Figures) -> &[Duration]| {
            let p99 = |phase: &Phase| percentile(of(&phase.online), 99);
            Some(Tail { undisturbed: p99(&self.undisturbed)?, besieged: p99(&self.besieged)? })
        };
        Some([tail(|figures| &figures.to_client)?, tail(|figures| &figures.to_ack)?])
    }

    /// Whether both tails are good.
    pub(crate) fn is_fast(&self) -> bool {
        self.tails().is_some_and(|tails| tails.iter().all(|tail| tail.is_good(self.floor)))
    }

    /// Whether nothing happened that must not.
    pub(crate) fn is_nothing_lost(&self) -> bool {
        let Sums { lost, out_of_order, strange, .. } = &self.sums;
        lost.is_empty() && out_of_order.is_empty() && strange.is_empty() && self.strange.is_empty()
    }
}

/// A time with a beginning.
pub(crate) fn since(begin: Instant) -> std::ops::Range<Instant> {
    begin..Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_times_is_allowed_and_below_the_floor_all_are_alike() {
        let millis = Duration::from_millis;
        let tail = |undisturbed, besieged| Tail { undisturbed: millis(undisturbed), besieged: millis(besieged) };
        assert!(tail(10, 30).is_good(millis(5)));
        assert!(!tail(10, 31).is_good(millis(5)));
        assert!(tail(1, 15).is_good(millis(5)));
        assert!(!tail(1, 16).is_good(millis(5)));
    }
}
