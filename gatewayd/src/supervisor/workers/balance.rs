//! The balance of packets, looked at once a minute.
//!
//! Packets that pass while pages are read can make a sum uneven for a moment. So a sum that does not come out even is looked at again, and
//! what is shown is the least that any look has found.
//!
//! What is on the way between two workers is compared with what was sent some minutes ago. When a worker ends, what is on the way is counted
//! as lost only once its successor has its links. So that comparison begins again whenever a worker is not at work.

#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use figures::balance::{ALL, ON_THE_WAY, Snapshot};

use crate::launch::FiguresPages;

/// Time between two balances.
const PERIOD: Duration = Duration::from_secs(60);
/// Time between two looks at sums that are uneven.
const PAUSE: Duration = Duration::from_secs(1);
/// Looks before a sum counts as uneven.
const LOOKS: u32 = 5;

/// By how many packets each sum is off, in the order of [`ALL`].
type Off = [u64; ALL.len()];
const EVEN: Off = [0; ALL.len()];
/// Before the first look.
const MOST: Off = [u64::MAX; ALL.len()];

/// Looks at the balance when it is due.
#[derive(Debug)]
pub(super) struct BalanceWatch {
    due: Instant,
    looks: u32,
    least: Off,
    /// What pages showed at the end of earlier balances, the oldest first. All workers have been at work since.
    earlier: VecDeque<(Instant, Snapshot)>,
}

impl BalanceWatch {
    /// The first balance is due a period after `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self { due: now + PERIOD, looks: 0, least: MOST, earlier: VecDeque::new() }
    }

    /// When to look next.
    pub(super) const fn due(&self) -> Instant {
        self.due
    }

    /// Has the next look be due at `now`, and not later.
    pub(super) fn hasten(&mut self, now: Instant) {
        self.due = self.due.min(now);
    }

    /// Whether the latest looks have come to a result.
    pub(super) const fn is_settled(&self) -> bool {
        self.looks == 0
    }

    /// Looks if it is time. Must be called after each end of a worker, when not all of them are at work.
    pub(super) fn look(&mut self, pages: &FiguresPages, all_at_work: bool, now: Instant) {
        if !all_at_work {
            self.earlier.clear();
        }
        if self.due > now {
            return;
        }
        let off = self.off(pages, now);
        self.least.iter_mut().zip(off).for_each(|(least, off)| *least = off.min(*least));
        self.looks += 1;
        if self.least != EVEN && self.looks < LOOKS {
            self.due = now + PAUSE;
            return;
        }
        show(pages, self.least);
        // Of those that are old, the latest is the one to compare with.
        while self.earlier.get(1).is_some_and(|(at, _)| is_old(*at, now)) {
            self.earlier.pop_front();
        }
        if all_at_work {
            self.earlier.push_back((now, Snapshot::of(pages.read_all())));
        }
        (self.due, self.looks, self.least) = (now + PERIOD, 0, MOST);
    }

    fn off(&self, pages: &FiguresPages, now: Instant) -> Off {
        let nothing = Snapshot::default();
        let old = self.earlier.iter().rev().find(|(at, _)| is_old(*at, now));
        let earlier = old.map_or(&nothing, |(_, earlier)| earlier);
        let readings = [pages.read_all(), pages.read_all()].map(Snapshot::of);
        ALL.map(|sum| sum.off(earlier, &readings))
    }
}

/// Whether nothing of that time can be on the way any more.
fn is_old(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) >= ON_THE_WAY
}

fn show(pages: &FiguresPages, off: Off) {
    let uneven = ALL.into_iter().zip(off).filter(|(_, off)| *off > 0);
    let uneven: Vec<String> = uneven.map(|(sum, off)| format!("{off} {}", sum.name)).collect();
    if !uneven.is_empty() {
        tracing::error!(
            id = "GWD-G023",
            sums = uneven.join(", "),
            "packets are not accounted for; this is a fault of the program"
        );
    }
    for (number, off) in pages.own().balance_off().into_iter().zip(off) {
        number.store(off, Relaxed);
    }
}
