//! A limit per minute for each address prefix, and a higher one for each wider network in which prefixes lie. Otherwise a /24
//! would have 256 times the limit.
//!
//! Each network has a token bucket, which is full at first and refills evenly within a minute. A bucket that was not used for a minute
//! is full again, like that of an unknown network, so the bucket can be dropped. Buckets are kept in two generations; every minute the
//! older one is dropped.

use std::{
    collections::HashMap,
    mem,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::prefix::{AddressPrefix, Network};

const PERIOD: Duration = Duration::from_secs(60);

/// Networks in one generation, of about 60 bytes each. An attacker with more networks than this in a minute can have buckets dropped, and
/// so filled. That takes at least a quarter as many /24s, because a prefix whose wider network is used up gets no bucket. With so many
/// networks a limit for each would be no limit anyway.
const GENERATION: usize = 65_536;

/// The limit, and how much of it each network has used.
#[derive(Debug)]
pub struct RateLimit {
    per_period: u32,
    buckets: Mutex<Buckets>,
}

#[derive(Debug)]
struct Buckets {
    young: HashMap<Network, Bucket>,
    old: HashMap<Network, Bucket>,
    turned: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    since: Instant,
}

impl RateLimit {
    /// A limit of `most` a minute for each prefix, all of which may be used at once. For wider networks it is higher: see
    /// [`Network::share`].
    pub fn per_minute(most: u32) -> Self {
        let buckets = Buckets { young: HashMap::new(), old: HashMap::new(), turned: Instant::now() };
        Self { per_period: most, buckets: Mutex::new(buckets) }
    }

    /// Takes one token of the prefix and of each network around it. Returns `false`, and takes none, if one of them has none left.
    pub fn allows(&self, prefix: AddressPrefix, now: Instant) -> bool {
        // The state is consistent at any moment, even after a panic.
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        // Widest first, so that a network that is used up costs no memory for its prefixes.
        let allowed = prefix.networks().all(|network| buckets.left(network, self.share(network), now) >= 1.0);
        if allowed {
            prefix.networks().for_each(|network| buckets.use_one(network));
        }
        allowed
    }

    fn share(&self, network: Network) -> f64 {
        f64::from(network.share(self.per_period))
    }
}

impl Buckets {
    /// Tokens left in the bucket of the network after refilling. A full bucket has `full`.
    fn left(&mut self, network: Network, full: f64, now: Instant) -> f64 {
        if now.saturating_duration_since(self.turned) >= PERIOD || self.young.len() >= GENERATION {
            self.old = mem::take(&mut self.young);
            self.turned = now;
        }
        let known = self.young.remove(&network).or_else(|| self.old.remove(&network));
        let bucket = known.unwrap_or(Bucket { left: full, since: now });
        let gained = now.saturating_duration_since(bucket.since).as_secs_f64() / PERIOD.as_secs_f64() * full;
        let left = full.min(bucket.left + gained);
        self.young.insert(network, Bucket { left, since: now });
        left
    }

    fn use_one(&mut self, network: Network) {
        // The bucket may have been dropped in between, by an attacker with more networks than a generation holds.
        if let Some(bucket) = self.young.get_mut(&network).or_else(|| self.old.get_mut(&network)) {
            bucket.left -= 1.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THIRD_OF_A_MINUTE: Duration = Duration::from_secs(20);

    /// Each from a /48 of its own.
    fn stranger(number: u64) -> AddressPrefix {
        AddressPrefix::V6((number << 16).to_be_bytes())
    }

    #[test]
    fn a_wider_network_has_four_times_the_limit_and_no_more() {
        let neighbours = |limit: &RateLimit, prefixes: &[AddressPrefix]| {
            let now = Instant::now();
            prefixes.iter().cycle().take(10_000).filter(|prefix| limit.allows(**prefix, now)).count()
        };
        let of_24: Vec<_> = (0..=255).map(|last| AddressPrefix::V4([192, 0, 2, last].into())).collect();
        assert_eq!(neighbours(&RateLimit::per_minute(3), &of_24), 12);
        let of_56: Vec<_> = (0..=255).map(|last| AddressPrefix::V6([32, 1, 0, 0, 0, 0, 0, last])).collect();
        assert_eq!(neighbours(&RateLimit::per_minute(3), &of_56), 12);
        let of_48: Vec<_> = (0..=255).map(|last| AddressPrefix::V6([32, 1, 0, 0, 0, 0, last, 0])).collect();
        assert_eq!(neighbours(&RateLimit::per_minute(3), &of_48), 48);
    }

    #[test]
    fn what_a_wide_network_refuses_costs_no_memory() {
        let limit = RateLimit::per_minute(1);
        let now = Instant::now();
        for last in 0..=255 {
            limit.allows(AddressPrefix::V4([192, 0, 2, last].into()), now);
        }
        assert_eq!(limit.buckets.lock().unwrap().young.len(), 5, "one for the /24 and for each who was allowed");
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
        for number in 0..GENERATION as u64 {
            limit.allows(stranger(number), start);
        }
        let kept = |limit: &RateLimit| {
            let buckets = limit.buckets.lock().unwrap();
            buckets.young.len() + buckets.old.len()
        };
        assert!(kept(&limit) <= 2 * (GENERATION + 1), "{}", kept(&limit));
        limit.allows(stranger(1), start + PERIOD);
        limit.allows(stranger(1), start + PERIOD * 2);
        assert_eq!(kept(&limit), 3, "the networks of one prefix");
    }
}
