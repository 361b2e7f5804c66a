//! Limits how many new next hops clients may name.
//!
//! *Trusts* no client. A client that names thousands of next hops at which nothing listens would use up the places in which
//! `mix-egress` connects to new ones. The limit is here, because `mix-egress` does not know which client sent a packet.
//!
//! *Holds*: the next hops that any client has named lately, in two generations of bounded size.
//!
//! *Promises*: a next hop among them is free, so clients behind one address that use the same mix nodes count as one; any other
//! next hop counts against the address prefix of its client.

use std::{
    collections::HashSet,
    mem,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use worker::peer::{AddressPrefix, RateLimit};

/// How long a next hop is known at least, unless a generation is full before.
const KNOWN_FOR: Duration = Duration::from_secs(600);

/// Next hops in one generation.
const GENERATION: usize = 8_192;

/// The limit, and the next hops that are known.
#[derive(Debug)]
pub(crate) struct NextHopLimit {
    known: Mutex<Known>,
    new: RateLimit,
}

#[derive(Debug)]
struct Known {
    young: HashSet<SocketAddr>,
    old: HashSet<SocketAddr>,
    turned: Instant,
}

impl NextHopLimit {
    /// At most `most` new next hops a minute for each address prefix.
    pub(crate) fn per_minute(most: u32) -> Self {
        let known = Known { young: HashSet::new(), old: HashSet::new(), turned: Instant::now() };
        Self { known: Mutex::new(known), new: RateLimit::per_minute(most) }
    }

    /// Whether a client of this prefix may have a packet sent to `next_hop`.
    pub(crate) fn allows(&self, prefix: AddressPrefix, next_hop: SocketAddr, now: Instant) -> bool {
        // A next hop is the same in both forms of its address, IPv4 and IPv4 mapped to IPv6.
        let next_hop = SocketAddr::new(next_hop.ip().to_canonical(), next_hop.port());
        // A panic of another task cannot have left the sets half changed.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.turn(now);
        if known.young.contains(&next_hop) {
            return true;
        }
        if !known.old.contains(&next_hop) && !self.new.allows(prefix, now) {
            return false;
        }
        known.young.insert(next_hop);
        true
    }
}

impl Known {
    fn turn(&mut self, now: Instant) {
        if now.saturating_duration_since(self.turned) >= KNOWN_FOR || self.young.len() >= GENERATION {
            self.old = mem::take(&mut self.young);
            self.turned = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: AddressPrefix = AddressPrefix::V6([1; 8]);
    const OTHER: AddressPrefix = AddressPrefix::V6([2; 8]);

    fn hop(n: u16) -> SocketAddr {
        let [high, low] = n.to_be_bytes();
        SocketAddr::from(([9, high, low, 1], 1789))
    }

    #[test]
    fn new_next_hops_are_limited_and_known_ones_are_free() {
        let limit = NextHopLimit::per_minute(3);
        let now = Instant::now();
        for n in 0..3 {
            assert!(limit.allows(ONE, hop(n), now));
        }
        assert!(!limit.allows(ONE, hop(3), now));
        for n in 0..3 {
            for _ in 0..10 {
                assert!(limit.allows(ONE, hop(n), now));
            }
        }
        assert!(limit.allows(OTHER, hop(3), now), "another prefix");
        assert!(limit.allows(ONE, hop(3), now), "known by now");
        let mapped = SocketAddr::new("::ffff:9.0.3.1".parse().unwrap(), 1789);
        assert!(limit.allows(ONE, mapped, now), "the same address in another form");
        assert!(limit.allows(ONE, hop(4), now + Duration::from_secs(20)));
    }

    #[test]
    fn a_next_hop_in_use_stays_known_and_others_are_forgotten() {
        let limit = NextHopLimit::per_minute(2);
        let start = Instant::now();
        assert!(limit.allows(ONE, hop(0), start) && limit.allows(ONE, hop(1), start));
        let mut now = start;
        for _ in 0..10 {
            now += KNOWN_FOR;
            assert!(limit.allows(ONE, hop(0), now));
        }
        let known = limit.known.lock().unwrap();
        assert!(!known.young.contains(&hop(1)) && !known.old.contains(&hop(1)));
    }

    #[test]
    fn the_known_next_hops_are_bounded() {
        let limit = NextHopLimit::per_minute(u32::MAX);
        for n in 0..u16::MAX {
            assert!(limit.allows(ONE, hop(n), Instant::now()));
        }
        let known = limit.known.lock().unwrap();
        assert!(known.young.len() + known.old.len() <= 2 * GENERATION);
    }
}
