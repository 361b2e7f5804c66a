//! Remembers which next hops have worked before.
//!
//! A mix node that restarts ends its connection, and so the task of the next hop ends. This memory tells the next task that the node is
//! most likely back soon. *Holds* addresses in two generations; when the younger one is full, the older one is forgotten. An attacker
//! who fills both makes the others wait as long as if they had never worked.

use std::{collections::HashSet, mem, net::SocketAddr};

#[derive(Debug)]
pub(crate) struct WorkedBefore {
    per_generation: usize,
    young: HashSet<SocketAddr>,
    old: HashSet<SocketAddr>,
}

impl WorkedBefore {
    /// Remembers at least `next_hops`, and at most twice as many.
    pub(crate) fn new(next_hops: usize) -> Self {
        Self { per_generation: next_hops.max(1), young: HashSet::new(), old: HashSet::new() }
    }

    pub(crate) fn insert(&mut self, next_hop: SocketAddr) {
        if self.young.len() >= self.per_generation {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(next_hop);
    }

    pub(crate) fn contains(&self, next_hop: SocketAddr) -> bool {
        self.young.contains(&next_hop) || self.old.contains(&next_hop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_promised_are_remembered_and_no_more_than_twice() {
        let hop = |port| SocketAddr::from(([192, 0, 2, 1], port));
        let mut worked = WorkedBefore::new(100);
        for port in 1..=1_000 {
            worked.insert(hop(port));
            assert!((port.saturating_sub(99).max(1)..=port).all(|port| worked.contains(hop(port))));
            assert!(worked.young.len() + worked.old.len() <= 200);
        }
        assert!(!worked.contains(hop(1)));
    }
}
