//! How long marks are kept, and what happens when the memory for them is used up.
//!
//! *Promises*: no generation is dropped before it has ended for `kept_at_least`, whatever is sent. As long as the generations fit into
//! `memory`, they stay for `period`. With `n` generations of `p` packets in the memory, room lasts for ever at
//! `(n - 1) * p / kept_at_least` accepted packets a second, which by default is 25,000. Above that rate room becomes short, and each
//! destination gets an equal share of it. If the last generation is full all the same, nothing is accepted until the oldest one may be
//! dropped.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ipc::{
    control::ReplayConfig,
    ingress_store::{GENERATIONS_LIMIT, ReplayGeneration},
    replay_settings::ReplaySettingsError,
};

use super::generation::{Generation, Shape};

/// The reserve is one part in so many of all generations. Room is short when fewer are free, or when the last one is in use.
const RESERVE: usize = 6;

/// The room that is left for marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// Enough for all packets.
    Ample,
    /// Enough for the share of each destination.
    Short,
    /// None until the oldest generation may be dropped.
    None,
}

/// The rules for dropping marks and beginning generations.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retention {
    /// The size of a generation.
    pub(crate) shape: Shape,
    /// The most generations that are kept at once.
    pub(crate) generations: usize,
    packets: u64,
    period: Duration,
    kept_at_least: Duration,
}

impl Retention {
    /// The rules of a configuration.
    pub(crate) fn of(config: &ReplayConfig) -> Result<Self, ReplaySettingsError> {
        let size = config.generation()?;
        let shape = Shape::of(&size);
        let generations = config.memory / shape.len().max(1);
        Ok(Self {
            shape,
            generations: usize::try_from(generations).unwrap_or(usize::MAX).min(GENERATIONS_LIMIT),
            packets: size.packets.into(),
            period: config.period,
            kept_at_least: config.kept_at_least,
        })
    }

    /// Packets that can be marked, in all generations together.
    pub(crate) fn packets(&self) -> u64 {
        self.packets.saturating_mul(self.generations as u64)
    }

    /// The rate of accepted packets that can last for ever.
    pub(crate) fn packets_per_second(&self) -> u64 {
        let packets = self.packets.saturating_mul(self.generations as u64 - 1);
        packets / self.kept_at_least.as_secs().max(1)
    }

    /// Whether a generation with so many marks is full. Packets that are under way then are still marked in it. They are a window at
    /// most, which raises the rate of false positives by less than its uncertainty.
    pub(crate) const fn is_full(&self, marked: u64) -> bool {
        marked >= self.packets
    }

    /// Whether the current generation is to have a successor.
    pub(crate) fn has_ended(&self, current: &Generation, now: Duration) -> bool {
        self.is_full(current.marked()) || now.saturating_sub(current.begun()) >= self.period
    }

    /// Whether a generation that ended at `ended` is to be dropped.
    pub(crate) fn has_expired(&self, ended: Duration, now: Duration) -> bool {
        now.saturating_sub(ended) >= self.period
    }

    /// Whether a generation that ended at `ended` must stay.
    pub(crate) fn is_young(&self, ended: Duration, now: Duration) -> bool {
        now.saturating_sub(ended) < self.kept_at_least
    }

    /// The room for marks if the older generations ended at these times and the current one has `marked` marks.
    pub(crate) fn room(&self, ended: impl Iterator<Item = Duration>, marked: u64, now: Duration) -> Room {
        let young = ended.filter(|ended| self.is_young(*ended, now)).count().saturating_add(1);
        match self.generations.saturating_sub(young) {
            0 if self.is_full(marked) => Room::None,
            free if free < (self.generations / RESERVE).max(1) => Room::Short,
            _ => Room::Ample,
        }
    }

    /// The time until a generation is to be dropped or begun, if no marks are made.
    pub(crate) fn idle_for(
        &self,
        oldest_ended: Option<Duration>,
        current: &Generation,
        generations: usize,
        now: Duration,
    ) -> Duration {
        let left = |since: Duration, limit: Duration| limit.saturating_sub(now.saturating_sub(since));
        let expires = oldest_ended.map_or(self.period, |ended| left(ended, self.period));
        let begins = if !self.is_full(current.marked()) {
            left(current.begun(), self.period)
        } else if generations < self.generations {
            Duration::ZERO
        } else {
            oldest_ended.map_or(Duration::ZERO, |ended| left(ended, self.kept_at_least))
        };
        expires.min(begins)
    }

    /// Whether saved marks can be used.
    pub(crate) const fn fits(&self, saved: &ReplayGeneration) -> bool {
        self.shape.fits(saved)
    }
}

/// The time since 1970, read once at the start and advanced by a monotonic clock, so that no jump of the clock ages marks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    started: Instant,
    at_start: Duration,
}

impl Clock {
    /// Reads the clock of this machine.
    pub(crate) fn start() -> Self {
        // A clock before 1970 is a clock that was never set.
        let at_start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: Instant::now(), at_start }
    }

    /// The present time.
    pub(crate) fn now(&self) -> Duration {
        self.at_start.saturating_add(self.started.elapsed())
    }
}
