//! Connections grouped by the networks from which they come, so that the connection to evict is found without a search.
//!
//! *Promises*: joining, leaving and finding the connection to evict take a time that grows with the logarithm of the connections.
//! Nothing is kept of a network without a connection.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
};

use super::prefix::{AddressPrefix, Network};

/// The number of a connection.
pub(super) type Id = u64;

/// Connections by network.
#[derive(Debug, Default)]
pub(super) struct PrefixTree {
    /// All connections. The members are the widest networks.
    whole: Group,
    /// Every network with a connection.
    groups: HashMap<Network, Group>,
}

/// The connections of one network.
#[derive(Debug, Default)]
struct Group {
    connections: usize,
    /// The turn of the connection that joined last, or was moved to the end last.
    turn: u64,
    /// The next narrower networks, or the connections themselves. The last one is evicted first.
    members: BTreeSet<Rank>,
}

/// The order of eviction: more connections, then an earlier turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    connections: usize,
    turn: Reverse<u64>,
    member: Member,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Member {
    Network(Network),
    Connection(Id),
}

impl Group {
    fn rank(&self, network: Network) -> Option<Rank> {
        let Self { connections, turn, .. } = *self;
        (connections > 0).then_some(Rank { connections, turn: Reverse(turn), member: Member::Network(network) })
    }

    fn replace(&mut self, before: Option<Rank>, after: Option<Rank>) {
        if let Some(before) = before {
            self.members.remove(&before);
            self.connections -= before.connections;
        }
        if let Some(after) = after {
            self.members.insert(after);
            self.connections += after.connections;
            self.turn = self.turn.max(after.turn.0);
        }
    }
}

impl PrefixTree {
    /// Adds a connection. Turns count up, and each is used once.
    pub(super) fn join(&mut self, prefix: AddressPrefix, id: Id, turn: u64) {
        self.replace(prefix, None, Some(Self::one(id, turn)));
    }

    /// Removes the connection that joined with this turn.
    pub(super) fn leave(&mut self, prefix: AddressPrefix, id: Id, turn: u64) {
        self.replace(prefix, Some(Self::one(id, turn)), None);
    }

    /// How many connections there are.
    pub(super) const fn connections(&self) -> usize {
        self.whole.connections
    }

    /// How many come from this network.
    pub(super) fn connections_from(&self, network: Network) -> usize {
        self.groups.get(&network).map_or(0, |group| group.connections)
    }

    /// The connection to evict: from the widest network with the most connections, there from the next narrower one with the most, and
    /// so on. Among equals, from the one whose last turn is the longest ago.
    pub(super) fn first_to_go(&self) -> Option<Id> {
        self.first_to_go_of(&self.whole)
    }

    /// As [`first_to_go`](Self::first_to_go), among the connections from `network`.
    pub(super) fn first_to_go_from(&self, network: Network) -> Option<Id> {
        self.first_to_go_of(self.groups.get(&network)?)
    }

    fn first_to_go_of<'a>(&'a self, mut group: &'a Group) -> Option<Id> {
        loop {
            match group.members.last()?.member {
                Member::Connection(id) => return Some(id),
                Member::Network(network) => group = self.groups.get(&network)?,
            }
        }
    }

    const fn one(id: Id, turn: u64) -> Rank {
        Rank { connections: 1, turn: Reverse(turn), member: Member::Connection(id) }
    }

    /// Replaces one member, and with it the rank of every network around it.
    fn replace(&mut self, prefix: AddressPrefix, mut before: Option<Rank>, mut after: Option<Rank>) {
        for network in prefix.networks().rev() {
            let group = self.groups.entry(network).or_default();
            let rank = group.rank(network);
            group.replace(before, after);
            (before, after) = (rank, group.rank(network));
            if after.is_none() {
                self.groups.remove(&network);
            }
        }
        self.whole.replace(before, after);
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn prefix(text: &str) -> AddressPrefix {
        text.parse::<IpAddr>().unwrap().into()
    }

    fn tree(addresses: &[&str]) -> PrefixTree {
        let mut tree = PrefixTree::default();
        for (id, address) in (0..).zip(addresses) {
            tree.join(prefix(address), id, id);
        }
        tree
    }

    #[test]
    fn the_heaviest_network_gives_way_level_by_level() {
        // The /24 with the most has three addresses; the address with the most is elsewhere.
        let tree = tree(&["192.0.2.1", "198.51.100.1", "198.51.100.1", "192.0.2.2", "192.0.2.3", "192.0.2.3"]);
        assert_eq!(tree.first_to_go(), Some(4), "the older one of the address with the most in the /24 with the most");
    }

    #[test]
    fn ipv6_networks_are_compared_at_48_then_56_then_64() {
        let tree = tree(&[
            "2001:db8:1:100::1",
            "2001:db8:2::1",
            "2001:db8:2::1",
            "2001:db8:1:200::1",
            "2001:db8:1:201::1",
            "2001:db8:1:300::1",
        ]);
        assert_eq!(tree.first_to_go(), Some(3));
    }

    #[test]
    fn among_equals_the_oldest_gives_way() {
        let mut tree = tree(&["203.0.113.9", "192.0.2.1", "198.51.100.1"]);
        assert_eq!(tree.first_to_go(), Some(0));
        tree.leave(prefix("203.0.113.9"), 0, 0);
        tree.join(prefix("203.0.113.9"), 0, 7);
        assert_eq!(tree.first_to_go(), Some(1), "the other has moved to the end");
    }

    #[test]
    fn one_network_is_asked_for_itself() {
        let tree = tree(&["192.0.2.1", "192.0.2.2", "198.51.100.1", "198.51.100.1", "198.51.100.1"]);
        let [wide, narrow] = prefix("192.0.2.2").networks().collect::<Vec<_>>()[..] else { panic!() };
        assert_eq!((tree.connections_from(wide), tree.connections_from(narrow)), (2, 1));
        assert_eq!((tree.first_to_go_from(wide), tree.first_to_go_from(narrow)), (Some(0), Some(1)));
    }

    #[test]
    fn nothing_is_kept_of_those_who_have_left() {
        let addresses = ["192.0.2.1", "192.0.2.1", "192.0.2.2", "2001:db8::1"];
        let mut tree = tree(&addresses);
        assert_eq!(tree.connections(), 4);
        for (id, address) in (0..).zip(&addresses) {
            tree.leave(prefix(address), id, id);
        }
        assert_eq!((tree.connections(), tree.first_to_go()), (0, None));
        assert!(tree.groups.is_empty() && tree.whole.members.is_empty());
    }
}
