//! The balance of packets, looked at once a minute.
//!
//! Packets that pass while a page is read can make a sum uneven for a moment. So a sum that does not come out even is looked at again, and
//! what is shown is the least that any look has found.

use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use figures::balance::{Balance, FORWARDED, RECEIVED};

use crate::launch::FiguresPages;

/// Time between two balances.
const PERIOD: Duration = Duration::from_secs(60);
/// Time between two looks at sums that are uneven.
const PAUSE: Duration = Duration::from_secs(1);
/// Looks before a sum counts as uneven.
const LOOKS: u32 = 5;

/// Looks at the balance when it is due.
#[derive(Debug)]
pub(super) struct BalanceWatch {
    due: Instant,
    looks: u32,
    least: Off,
}

/// By how many packets each sum is off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Off {
    received: u64,
    forwarded: u64,
}

impl Off {
    const MOST: Self = Self { received: u64::MAX, forwarded: u64::MAX };

    fn of(pages: &FiguresPages) -> Self {
        let off = |sum: &Balance| sum.off(&[pages.read(sum.page), pages.read(sum.page)]);
        Self { received: off(&RECEIVED), forwarded: off(&FORWARDED) }
    }

    fn min(self, other: Self) -> Self {
        Self { received: self.received.min(other.received), forwarded: self.forwarded.min(other.forwarded) }
    }

    const fn is_even(self) -> bool {
        self.received == 0 && self.forwarded == 0
    }
}

impl BalanceWatch {
    /// The first balance is due a period after `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self { due: now + PERIOD, looks: 0, least: Off::MOST }
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

    /// Looks if it is time.
    pub(super) fn look(&mut self, pages: &FiguresPages, now: Instant) {
        if self.due > now {
            return;
        }
        self.least = self.least.min(Off::of(pages));
        self.looks += 1;
        if !self.least.is_even() && self.looks < LOOKS {
            self.due = now + PAUSE;
            return;
        }
        let Off { received, forwarded } = self.least;
        if !self.least.is_even() {
            tracing::error!(
                id = "GWD-G023",
                received,
                forwarded,
                "packets are not accounted for; this is a fault of the program"
            );
        }
        pages.own().balance_off_received.store(received, Relaxed);
        pages.own().balance_off_forwarded.store(forwarded, Relaxed);
        *self = Self::new(now);
    }
}

#[cfg(test)]
mod tests {
    use figures::{Page, mix_ingress::Counters};
    use ipc::Role;
    use sandbox::page::map_for_writing;

    use super::*;

    /// The pages of a gateway whose `mix-ingress` has received ten packets and said what became of nine.
    fn pages() -> (FiguresPages, Counters) {
        let pages = FiguresPages::make().unwrap();
        let ingress =
            Counters::take_up(map_for_writing(pages.grant_for(Role::MixIngress).unwrap().1).unwrap()).unwrap();
        ingress.packets_received.fetch_add(10, Relaxed);
        ingress.acks_paid.fetch_add(9, Relaxed);
        (pages, ingress)
    }

    fn shown(pages: &FiguresPages) -> u64 {
        pages.read(Page::Supervisor).value("balance_off_received")
    }

    #[test]
    fn a_packet_that_nobody_counts_is_shown_after_some_looks() {
        let (pages, _ingress) = pages();
        let mut now = Instant::now();
        let mut watch = BalanceWatch::new(now);
        for _ in 0..LOOKS {
            assert_eq!(shown(&pages), 0);
            now = watch.due();
            watch.look(&pages, now);
        }
        assert_eq!(shown(&pages), 1);
    }

    #[test]
    fn a_packet_that_is_counted_a_little_later_is_no_fault() {
        let (pages, ingress) = pages();
        let mut watch = BalanceWatch::new(Instant::now());
        watch.look(&pages, watch.due());
        ingress.replayed.fetch_add(1, Relaxed);
        let second = watch.due();
        watch.look(&pages, second);
        assert_eq!((shown(&pages), watch.due()), (0, second + PERIOD));
    }

    #[test]
    fn what_a_dead_worker_held_is_lost_and_not_missing() {
        let (pages, _dead) = pages();
        let next = Counters::take_up(map_for_writing(pages.grant_for(Role::MixIngress).unwrap().1).unwrap()).unwrap();
        assert_eq!(next.packets_lost_at_death.load(Relaxed), 1);
        let mut watch = BalanceWatch::new(Instant::now());
        let first = watch.due();
        watch.look(&pages, first);
        assert_eq!((shown(&pages), watch.due()), (0, first + PERIOD));
    }
}
