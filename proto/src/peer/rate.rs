//! So many a minute for each address prefix.
//!
//! A bucket for each prefix: full at first, it refills evenly within a minute. One that nobody has touched for a minute is full
//! again, which is what an unknown prefix has, so it can be forgotten. Buckets are kept in two generations, and every minute the
//! older one is.

use std::{
    collections::HashMap,
    mem,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::AddressPrefix;

const PERIOD: Duration = Duration::from_secs(60);

/// Prefixes in one generation, of about 50 bytes each. Whoever has more prefixes than this may fill buckets by forgetting
/// them, and gains nothing: with so many prefixes the limit of each is no limit.
const GENERATION: usize = 65_536;

/// The limit and who has used how much of it.
#[derive(Debug)]
pub struct RateLimit {
    per_period: u32,
    buckets: Mutex<Buckets>,
}

#[derive(Debug)]
struct Buckets {
    young: HashMap<AddressPrefix, Bucket>,
    old: HashMap<AddressPrefix, Bucket>,
    turned: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    since: Instant,
}

impl RateLimit {
    /// So many a minute for each prefix, the first of them at once.
    pub fn per_minute(most: u32) -> Self {
        let buckets = Buckets { young: HashMap::new(), old: HashMap::new(), turned: Instant::now() };
        Self { per_period: most, buckets: Mutex::new(buckets) }
    }

    /// Uses one of the prefix's; `false` if there is none left now.
    pub fn allows(&self, prefix: AddressPrefix, now: Instant) -> bool {
        // Whole at any moment, whoever panicked.
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let full = f64::from(self.per_period);
        let mut bucket = buckets.take(&prefix, now).unwrap_or(Bucket { left: full, since: now });
        let gained = now.saturating_duration_since(bucket.since).as_secs_f64() / PERIOD.as_secs_f64() * full;
        bucket = Bucket { left: full.min(bucket.left + gained), since: now };
        let allowed = bucket.left >= 1.0;
        if allowed {
            bucket.left -= 1.0;
        }
        buckets.young.insert(prefix, bucket);
        allowed
    }
}

impl Buckets {
    fn take(&mut self, prefix: &AddressPrefix, now: Instant) -> Option<Bucket> {
        if now.saturating_duration_since(self.turned) >= PERIOD || self.young.len() >= GENERATION {
            self.old = mem::take(&mut self.young);
            self.turned = now;
        }
        self.young.remove(prefix).or_else(|| self.old.remove(prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THIRD_OF_A_MINUTE: Duration = Duration::from_secs(20);

    fn stranger(number: u64) -> AddressPrefix {
        AddressPrefix::V6(number.to_be_bytes())
    }

    #[test]
    fn the_limit_holds_for_each_prefix_and_comes_back_evenly() {
        let limit = RateLimit::per_minute(3);
        let start = Instant::now();
        for _ in 0..3 {
            assert!(limit.allows(stranger(1), start));
        }
        assert!(!limit.allows(stranger(1), start));
        assert!(limit.allows(stranger(2), start), "somebody else");
        assert!(!limit.allows(stranger(1), start + THIRD_OF_A_MINUTE / 2));
        assert!(limit.allows(stranger(1), start + THIRD_OF_A_MINUTE * 3 / 2));
        assert!(!limit.allows(stranger(1), start + THIRD_OF_A_MINUTE * 3 / 2));
    }

    #[test]
    fn nobody_has_more_than_the_limit_after_a_long_time() {
        let limit = RateLimit::per_minute(3);
        let start = Instant::now();
        assert!(limit.allows(stranger(1), start));
        let allowed = (0..9).filter(|_| limit.allows(stranger(1), start + PERIOD * 60)).count();
        assert_eq!(allowed, 3);
    }

    #[test]
    fn a_used_up_bucket_outlives_the_turn_of_a_generation() {
        let limit = RateLimit::per_minute(1);
        let start = Instant::now();
        assert!(limit.allows(stranger(1), start + PERIOD - THIRD_OF_A_MINUTE));
        assert!(!limit.allows(stranger(1), start + PERIOD + THIRD_OF_A_MINUTE / 2));
    }

    #[test]
    fn what_is_kept_is_bounded_and_forgotten_in_time() {
        let limit = RateLimit::per_minute(1);
        let start = Instant::now();
        for number in 0..3 * GENERATION as u64 {
            limit.allows(stranger(number), start);
        }
        let kept = |limit: &RateLimit| {
            let buckets = limit.buckets.lock().unwrap();
            buckets.young.len() + buckets.old.len()
        };
        assert!(kept(&limit) <= 2 * GENERATION, "{}", kept(&limit));
        limit.allows(stranger(1), start + PERIOD);
        limit.allows(stranger(1), start + PERIOD * 2);
        assert_eq!(kept(&limit), 1);
    }
}
