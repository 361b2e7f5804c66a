//! How much was simulated.

use std::time::Duration;

use super::event::DAY;

/// What was simulated.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figures {
    pub(super) events: u64,
    pub(super) time: Duration,
    pub(super) accepted: u64,
    pub(super) received: u64,
    pub(super) starts: u64,
}

impl Figures {
    pub(super) fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.time += other.time;
        self.accepted += other.accepted;
        self.received += other.received;
        self.starts += other.starts;
    }

    /// In a few words.
    pub(super) fn tell(&self, seeds: u64, took: Duration) -> String {
        let Self { events, time, accepted, received, starts } = self;
        let (seconds, days) = (took.as_secs_f64(), time.as_secs_f64() / DAY.as_secs_f64());
        format!(
            "{seeds} seeds in {seconds:.0} s, {:.0} a second: {events} events, {days:.0} simulated days, {starts} starts of the store, \
             {accepted} messages accepted and {received} received",
            seeds as f64 / seconds
        )
    }
}
