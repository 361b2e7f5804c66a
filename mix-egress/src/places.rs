//! The places of next hops in the table, and which next hop gives way when the table is full.
//!
//! *Trusts* nobody: any client can name any next hop, a sender of messages can name any next hop for its SURB-ack, and both can
//! listen on as many ports as they like.
//!
//! *Holds*, for each next hop, one of two kinds of place. *First connects* are next hops that have not taken a packet yet, or cannot be
//! reached any more. They are a small number for each [`Origin`], of which the oldest gives way. *Proven* next hops have taken a packet.
//! When there are too many proven next hops, the network with the most of them gives way, and of that network the one that was proven
//! last. Of networks with equally many, the one whose last next hop was proven last gives way.
//!
//! *Promises*: a first connect never displaces a proven next hop, nor a first connect of the other origin. An attacker who listens on
//! ports in a few networks displaces only next hops of those networks. A next hop that was proven before is displaced only if its network
//! has more places than others. Nothing here takes longer than logarithmic time.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, SocketAddr},
};

/// The worker that names a next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `mix-ingress`, for the SURB-ack of an accepted message.
    Acks,
    /// `client-edge`, for a packet of a client.
    Clients,
}

/// An IPv4 /24 or an IPv6 /48, whose next hops most likely have one owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Network {
    V4([u8; 3]),
    V6([u8; 6]),
}

impl Network {
    const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => {
                let [a, b, c, _] = address.octets();
                Self::V4([a, b, c])
            }
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, ..] = address.octets();
                Self::V6([a, b, c, d, e, f])
            }
        }
    }
}

/// The age of a place: later places have greater numbers.
type Since = u64;

/// A place in the table, to be given back with [`HopPlaces::leave`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HopPlace {
    /// Among the first connects.
    First(Since),
    /// Among the proven.
    Proven(Since),
}

/// The places of all next hops.
#[derive(Debug)]
pub(crate) struct HopPlaces {
    max_first: usize,
    max_proven: usize,
    taken: Since,
    acks: BTreeMap<Since, SocketAddr>,
    clients: BTreeMap<Since, SocketAddr>,
    networks: HashMap<Network, BTreeMap<Since, SocketAddr>>,
    /// For each network the number of its proven next hops, and the age of the last of them.
    order: BTreeSet<(usize, Since, Network)>,
    proven: usize,
}

impl HopPlaces {
    /// For `max_proven` proven next hops, and `max_first` first connects of each origin.
    pub(crate) fn new(max_proven: usize, max_first: usize) -> Self {
        Self {
            max_first,
            max_proven,
            taken: 0,
            acks: BTreeMap::new(),
            clients: BTreeMap::new(),
            networks: HashMap::new(),
            order: BTreeSet::new(),
            proven: 0,
        }
    }

    /// Takes a place among the first connects. Returns it, and the next hop that gives way.
    pub(crate) fn first(&mut self, origin: Origin, next_hop: SocketAddr) -> (HopPlace, Option<SocketAddr>) {
        let (since, max) = (self.next(), self.max_first);
        let pool = self.pool(origin);
        let oldest = pool.first_key_value().filter(|_| pool.len() >= max).map(|(&since, &oldest)| (since, oldest));
        if let Some((since, _)) = oldest {
            pool.remove(&since);
        }
        pool.insert(since, next_hop);
        (HopPlace::First(since), oldest.map(|(_, oldest)| oldest))
    }

    /// Takes a place among the proven. Returns it, and the next hop that gives way, which may be this one.
    pub(crate) fn prove(&mut self, next_hop: SocketAddr) -> (HopPlace, Option<SocketAddr>) {
        let since = self.next();
        self.change(Network::of(next_hop.ip()), |members| members.insert(since, next_hop));
        self.proven += 1;
        let displaced = if self.proven > self.max_proven { self.take_from_the_largest() } else { None };
        (HopPlace::Proven(since), displaced)
    }

    /// Gives a place back. Does nothing if the place was taken away already.
    pub(crate) fn leave(&mut self, origin: Origin, next_hop: SocketAddr, place: HopPlace) {
        match place {
            HopPlace::First(since) => {
                self.pool(origin).remove(&since);
            }
            HopPlace::Proven(since) => {
                if self.change(Network::of(next_hop.ip()), |members| members.remove(&since)).is_some() {
                    self.proven -= 1;
                }
            }
        }
    }

    fn take_from_the_largest(&mut self) -> Option<SocketAddr> {
        let &(_, since, network) = self.order.last()?;
        let displaced = self.change(network, |members| members.remove(&since))?;
        self.proven -= 1;
        Some(displaced)
    }

    /// Changes the next hops of a network, and updates the order of networks.
    fn change<R>(&mut self, network: Network, change: impl FnOnce(&mut BTreeMap<Since, SocketAddr>) -> R) -> R {
        let members = self.networks.entry(network).or_default();
        let rank = |members: &BTreeMap<Since, SocketAddr>| {
            members.last_key_value().map(|(&last, _)| (members.len(), last, network))
        };
        let before = rank(members);
        let changed = change(members);
        let after = rank(members);
        if after.is_none() {
            self.networks.remove(&network);
        }
        if let Some(before) = before {
            self.order.remove(&before);
        }
        self.order.extend(after);
        changed
    }

    fn pool(&mut self, origin: Origin) -> &mut BTreeMap<Since, SocketAddr> {
        match origin {
            Origin::Acks => &mut self.acks,
            Origin::Clients => &mut self.clients,
        }
    }

    const fn next(&mut self) -> Since {
        self.taken += 1;
        self.taken
    }
}

#[cfg(test)]
mod tests;
