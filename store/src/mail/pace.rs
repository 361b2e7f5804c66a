//! How fast the log is cleaned while that is not urgent.

use std::time::{Duration, Instant};

/// Bytes of messages that are copied at once, and synced: a large write would slow the commits' syncs.
pub(super) const PIECE: u64 = 1024 * 1024;
/// Bytes copied in a second at the least, if there are as many.
const RATE: u64 = 4 * 1024 * 1024;

/// The pace of cleaning while that is not urgent: [`RATE`], and twice the rate at which mail comes.
#[derive(Debug)]
pub(super) struct Pace {
    since: Instant,
    put_bytes: u64,
    /// Bytes that may be copied now.
    allowed: u64,
}

impl Pace {
    pub(super) fn new(put_bytes: u64) -> Self {
        Self { since: Instant::now(), put_bytes, allowed: PIECE }
    }

    /// As fast as it goes.
    #[cfg(test)]
    pub(super) fn unlimited() -> Self {
        Self { allowed: u64::MAX / 4, ..Self::new(0) }
    }

    /// How long to wait until so many bytes may be copied; if that is no time they count as copied.
    pub(super) fn wait(&mut self, put_bytes: u64, bytes: u64) -> Duration {
        let gained = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(0) * RATE / 1_000;
        let put = 2 * put_bytes.saturating_sub(self.put_bytes);
        if gained + put > 0 {
            (self.since, self.put_bytes) = (Instant::now(), put_bytes);
            self.allowed = (self.allowed + gained + put).min(4 * PIECE + put);
        }
        if self.allowed >= bytes {
            self.allowed -= bytes;
            return Duration::ZERO;
        }
        Duration::from_millis(((bytes - self.allowed) * 1_000 / RATE).max(1))
    }
}
