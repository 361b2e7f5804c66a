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
    pub(super) fn wait(&mut self, now: Instant, put_bytes: u64, bytes: u64) -> Duration {
        let gained = u64::try_from((now - self.since).as_millis()).unwrap_or(0) * RATE / 1_000;
        let put = 2 * put_bytes.saturating_sub(self.put_bytes);
        if gained + put > 0 {
            (self.since, self.put_bytes) = (now, put_bytes);
            self.allowed = (self.allowed + gained + put).min(4 * PIECE + put);
        }
        if self.allowed >= bytes {
            self.allowed -= bytes;
            return Duration::ZERO;
        }
        Duration::from_millis(((bytes - self.allowed) * 1_000 / RATE).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUARTER: Duration = Duration::from_millis(250);

    /// How long to wait for one piece, with nothing put.
    fn wait(pace: &mut Pace, now: Instant) -> Duration {
        pace.wait(now, 100, PIECE)
    }

    #[test]
    fn the_first_piece_is_copied_at_once_and_others_at_the_rate() {
        let mut pace = Pace::new(100);
        let start = pace.since;
        assert_eq!(wait(&mut pace, start), Duration::ZERO);
        assert_eq!(wait(&mut pace, start), QUARTER);
        let almost = start + Duration::from_millis(249);
        assert_eq!(wait(&mut pace, almost), Duration::from_millis(1));
        // One byte is missing, and no wait is shorter.
        assert_eq!(wait(&mut pace, start + QUARTER), Duration::from_millis(1));
        let enough = start + Duration::from_millis(251);
        assert_eq!([(); 2].map(|()| wait(&mut pace, enough)), [Duration::ZERO, Duration::from_millis(249)]);
    }

    #[test]
    fn asking_often_loses_no_part_of_a_millisecond() {
        let mut pace = Pace::new(100);
        let start = pace.since;
        assert_eq!(wait(&mut pace, start), Duration::ZERO);
        assert_eq!(wait(&mut pace, start + Duration::from_micros(900)), QUARTER);
        assert_eq!(wait(&mut pace, start + Duration::from_micros(1_800)), Duration::from_millis(249));
    }

    #[test]
    fn twice_as_much_is_copied_as_comes() {
        let mut pace = Pace::new(100);
        let start = pace.since;
        let after = |pace: &mut Pace, put| pace.wait(start, 100 + put, PIECE);
        assert_eq!([(); 3].map(|()| after(&mut pace, PIECE / 2)), [Duration::ZERO, Duration::ZERO, QUARTER]);
        assert_eq!([(); 2].map(|()| after(&mut pace, PIECE)), [Duration::ZERO, QUARTER]);
    }

    #[test]
    fn four_pieces_are_saved_up_at_the_most() {
        let later = |pace: &Pace| pace.since + Duration::from_hours(1);
        let mut pace = Pace::new(0);
        let now = later(&pace);
        assert_eq!(pace.wait(now, 0, 4 * PIECE), Duration::ZERO);
        assert_eq!(pace.wait(now, 0, PIECE), QUARTER);
        let now = later(&pace);
        assert_eq!(pace.wait(now, PIECE, 6 * PIECE), Duration::ZERO, "and what has come meanwhile");
        assert_eq!(pace.wait(now, PIECE, PIECE), QUARTER);
    }
}
