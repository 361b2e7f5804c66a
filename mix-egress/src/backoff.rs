//! The waits between attempts to connect to a next hop.
//!
//! A next hop that has never worked is tried again after `initial`, and the wait doubles up to `maximum`. A next hop that has
//! worked before is most likely restarting: it is tried again at once, after 250 ms, 1 s and 4 s, and only then as above. While
//! it is down, a further packet for it may ask for an attempt 4 s after the last one.
//!
//! *Promises*: no wait is longer than `maximum`, and none of the quick ones is longer than `initial`; after a success there is
//! no wait.

use std::time::Duration;

use tokio::time::Instant;

/// The first waits of a next hop that has worked before.
const QUICK: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(250), Duration::from_secs(1), Duration::from_secs(4)];

/// After this time since a failure, a packet may ask for the next attempt.
const ASK_AFTER: Duration = Duration::from_secs(4);

/// The failures of one next hop, and the wait that follows from them.
#[derive(Debug)]
pub(crate) struct Backoff {
    initial: Duration,
    maximum: Duration,
    has_worked: bool,
    /// Quick waits used since the last success.
    quick: usize,
    /// Long waits used since the last success.
    long: u32,
    wait: Option<Wait>,
}

/// The wait for the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wait {
    /// The end of the wait.
    pub(crate) until: Instant,
    /// From this moment on a packet may end the wait.
    pub(crate) may_ask: Option<Instant>,
}

impl Backoff {
    pub(crate) const fn new(initial: Duration, maximum: Duration, has_worked: bool) -> Self {
        Self { initial, maximum, has_worked, quick: 0, long: 0, wait: None }
    }

    /// Counts a failure. Returns whether the next hop is still expected back soon.
    pub(crate) fn fail(&mut self, now: Instant) -> bool {
        let quick = QUICK.get(self.quick).filter(|_| self.has_worked).copied();
        let length = match quick {
            Some(quick) => {
                self.quick += 1;
                quick.min(self.initial)
            }
            None => self.next_long(),
        };
        let may_ask = self.has_worked.then_some(now + ASK_AFTER);
        self.wait = Some(Wait { until: now + length.min(self.maximum), may_ask });
        quick.is_some()
    }

    /// Counts a failure that is no restart, so that no quick attempt follows.
    pub(crate) fn fail_for_long(&mut self, now: Instant) {
        self.quick = QUICK.len();
        self.fail(now);
    }

    /// Forgets all failures.
    pub(crate) const fn succeed(&mut self) {
        self.has_worked = true;
        self.quick = 0;
        self.long = 0;
        self.wait = None;
    }

    /// The wait before the next attempt. None if the next hop may be tried at once.
    pub(crate) const fn wait(&self) -> Option<Wait> {
        self.wait
    }

    fn next_long(&mut self) -> Duration {
        let factor = 2_u32.saturating_pow(self.long);
        self.long = self.long.saturating_add(1);
        self.initial.saturating_mul(factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(backoff: &mut Backoff, now: Instant) -> Vec<u128> {
        let mut one = || {
            backoff.fail(now);
            (backoff.wait().unwrap().until - now).as_millis()
        };
        (0..40).map(|_| one()).collect()
    }

    #[test]
    fn waits_double_up_to_the_maximum() {
        let now = Instant::now();
        let mut backoff = Backoff::new(Duration::from_secs(10), Duration::from_secs(300), false);
        assert_eq!(backoff.wait(), None);
        let waits = waits(&mut backoff, now);
        assert_eq!(waits[..7], [10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000]);
        assert_eq!(waits.last(), Some(&300_000));
        assert_eq!(backoff.wait().unwrap().may_ask, None);
    }

    #[test]
    fn a_hop_that_has_worked_is_tried_soon_and_may_be_asked_for() {
        let now = Instant::now();
        let mut backoff = Backoff::new(Duration::from_secs(10), Duration::from_secs(300), false);
        for _ in 0..2 {
            backoff.succeed();
            assert_eq!(backoff.wait(), None);
            let waits = waits(&mut backoff, now);
            assert_eq!(waits[..6], [0, 250, 1_000, 4_000, 10_000, 20_000]);
            assert_eq!(waits.last(), Some(&300_000));
            assert_eq!(backoff.wait().unwrap().may_ask, Some(now + ASK_AFTER));
        }
    }

    #[test]
    fn a_hop_that_stalled_is_not_tried_soon() {
        let now = Instant::now();
        let mut backoff = Backoff::new(Duration::from_secs(10), Duration::from_secs(300), false);
        backoff.succeed();
        backoff.fail_for_long(now);
        assert_eq!(backoff.wait().unwrap().until, now + Duration::from_secs(10));
    }

    #[test]
    fn no_quick_wait_is_longer_than_the_first_long_one() {
        let now = Instant::now();
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(50), false);
        backoff.succeed();
        assert_eq!(waits(&mut backoff, now)[..7], [0, 20, 20, 20, 20, 40, 50]);
    }
}
