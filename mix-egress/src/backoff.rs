//! When a next hop may be tried again.
//!
//! Promises: after the n-th failure in a row the wait is `initial` × 2ⁿ⁻¹, at most `maximum`; after a success there is none.

use std::time::Duration;

use tokio::time::Instant;

/// The waits between attempts to connect to one next hop.
#[derive(Debug)]
pub(crate) struct Backoff {
    initial: Duration,
    maximum: Duration,
    failures: u32,
    not_before: Option<Instant>,
}

impl Backoff {
    pub(crate) const fn new(initial: Duration, maximum: Duration) -> Self {
        Self { initial, maximum, failures: 0, not_before: None }
    }

    /// Counts a failure that happened `now`.
    pub(crate) fn fail(&mut self, now: Instant) {
        let factor = 2_u32.saturating_pow(self.failures);
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now + self.initial.saturating_mul(factor).min(self.maximum));
    }

    /// Forgets all failures.
    pub(crate) const fn succeed(&mut self) {
        self.failures = 0;
        self.not_before = None;
    }

    /// The earliest time of the next attempt, if there has to be a wait at all.
    pub(crate) const fn not_before(&self) -> Option<Instant> {
        self.not_before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_maximum_and_start_anew_after_a_success() {
        let now = Instant::now();
        let mut backoff = Backoff::new(Duration::from_secs(10), Duration::from_secs(300));
        assert_eq!(backoff.not_before(), None);
        let mut waits = Vec::new();
        for _ in 0..40 {
            backoff.fail(now);
            waits.push((backoff.not_before().unwrap() - now).as_secs());
        }
        assert_eq!(waits[..7], [10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(waits.last(), Some(&300));
        backoff.succeed();
        assert_eq!(backoff.not_before(), None);
        backoff.fail(now);
        assert_eq!(backoff.not_before(), Some(now + Duration::from_secs(10)));
    }
}
