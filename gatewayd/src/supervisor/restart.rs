//! The delay before a dead worker is started again.

use std::time::Duration;

/// The delay after the first short life.
const FIRST: Duration = Duration::from_millis(100);
/// The longest delay.
const LONGEST: Duration = Duration::from_secs(10);
/// After this uptime a restart is immediate and resets the backoff.
const LONG_LIFE: Duration = Duration::from_secs(60);

/// The restart delays of one worker.
#[derive(Clone, Copy, Debug)]
pub(super) struct RestartDelay {
    next: Duration,
}

impl RestartDelay {
    /// For a worker that never died.
    pub(super) const fn new() -> Self {
        Self { next: FIRST }
    }

    /// The delay after a death at the age of `lived`. Each short life doubles the next delay.
    pub(super) fn after(&mut self, lived: Duration) -> Duration {
        if lived >= LONG_LIFE {
            *self = Self::new();
            return Duration::ZERO;
        }
        let delay = self.next;
        self.next = (delay * 2).min(LONGEST);
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_up_to_a_limit_and_a_long_life_resets_it() {
        let mut delay = RestartDelay::new();
        let waits: Vec<_> = (0..9).map(|_| delay.after(Duration::from_secs(59)).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(delay.after(LONG_LIFE), Duration::ZERO);
        assert_eq!(delay.after(Duration::ZERO), FIRST);
    }
}
