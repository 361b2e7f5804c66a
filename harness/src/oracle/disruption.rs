//! What was done to the gateway, and when: it explains what would be a broken promise otherwise.

use std::{ops::Range, time::Duration, time::Instant};

/// After its end a disruption may show for so long, on a busy machine.
const AFTERMATH: Duration = Duration::from_secs(5);
/// How long before a disruption a packet that it hit may have been sent.
const ON_THE_WAY: Duration = Duration::from_secs(3);

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// The disk was full, so that mail was refused.
    FullDisk,
    /// This worker was replaced, and what it alone held is lost.
    Lost(&'static str),
    /// This process stood still.
    Stopped(&'static str),
}

impl Harm {
    /// Whether this process was replaced or stood still.
    pub(super) fn is_to(self, process: &str) -> bool {
        matches!(self, Self::Lost(harmed) | Self::Stopped(harmed) if harmed == process)
    }
}

/// Something that was done to the gateway.
#[derive(Debug, Clone)]
pub struct Disruption {
    /// The kind.
    pub harm: Harm,
    /// From its beginning to its end.
    pub when: Range<Instant>,
}

impl Disruption {
    /// Whether it explains something that came to light at this time.
    pub(super) fn shows_at(&self, at: Instant) -> bool {
        self.when.start <= at && at <= self.when.end + AFTERMATH
    }

    /// Whether it explains what became of a packet that was sent at this time.
    pub(super) fn meets(&self, sent: Instant) -> bool {
        self.when.start <= sent + ON_THE_WAY && sent <= self.when.end + AFTERMATH
    }

    /// Whether it was going on at some time between these two.
    pub(super) fn overlaps(&self, from: Instant, to: Instant) -> bool {
        self.when.start <= to && from <= self.when.end
    }
}
