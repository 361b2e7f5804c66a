use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::*;

fn hop(a: u8, b: u8, c: u8, d: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([a, b, c, d], port))
}

/// The `n`th of next hops each of which is alone in its network.
fn alone(n: u32) -> SocketAddr {
    let [_, b, c, d] = n.to_be_bytes();
    hop(1 + b, c, d, 1, 1789)
}

#[test]
fn first_connects_displace_the_oldest_of_their_origin() {
    let mut places = HopPlaces::new(2, 2);
    assert_eq!(places.prove(alone(0)).1, None);
    assert_eq!(places.first(Origin::Acks, alone(1)).1, None);
    assert_eq!(places.first(Origin::Clients, alone(2)).1, None);
    assert_eq!(places.first(Origin::Clients, alone(3)).1, None);
    for n in 4..100 {
        assert_eq!(places.first(Origin::Clients, alone(n)).1, Some(alone(n - 2)));
    }
    assert_eq!(places.first(Origin::Acks, alone(100)).1, None);
    assert_eq!(places.first(Origin::Acks, alone(101)).1, Some(alone(1)));
    assert_eq!(places.prove(alone(102)).1, None, "the proven one has kept its place");
}

#[test]
fn a_few_networks_displace_only_their_own() {
    let mut places = HopPlaces::new(100, 1);
    let honest: HashSet<_> = (0..40).map(alone).collect();
    let before: Vec<_> = honest.iter().copied().collect();
    for &hop in &before[..30] {
        assert_eq!(places.prove(hop).1, None);
    }
    let mut displaced = Vec::new();
    for port in 1_024..6_000 {
        // Two attackers, each with one address, and one with an IPv6 network.
        displaced.extend(places.prove(hop(200, 1, 1, 1, port)).1);
        displaced.extend(places.prove(hop(200, 1, 2, 1, port)).1);
        let many = SocketAddr::from(([0x2a01, 1, 1, port, port, 0, 0, 1], 1789));
        displaced.extend(places.prove(many).1);
    }
    for &hop in &before[30..] {
        displaced.extend(places.prove(hop).1);
    }
    assert_eq!(displaced.len(), 30 + 10 + 3 * 4_976 - 100);
    assert!(displaced.iter().all(|hop| !honest.contains(hop)));
}

#[test]
fn of_equal_networks_the_last_to_be_proven_gives_way() {
    let mut places = HopPlaces::new(10, 1);
    for n in 0..10 {
        assert_eq!(places.prove(alone(n)).1, None);
    }
    for n in 10..20 {
        assert_eq!(places.prove(alone(n)).1, Some(alone(n)));
    }
}

#[test]
fn in_the_largest_network_the_last_to_be_proven_gives_way() {
    let mut places = HopPlaces::new(3, 1);
    for n in 1..=3 {
        assert_eq!(places.prove(hop(200, 1, 1, n, 1789)).1, None);
    }
    assert_eq!(places.prove(alone(1)).1, Some(hop(200, 1, 1, 3, 1789)));
    assert_eq!(places.prove(hop(200, 1, 1, 4, 1789)).1, Some(hop(200, 1, 1, 4, 1789)));
}

/// A scan would take 64 times as long with 64 times as many.
#[test]
fn a_new_hop_among_4096_costs_little_more_than_among_64() {
    fn time(size: u32) -> Duration {
        let mut places = HopPlaces::new(size as usize, size as usize);
        for n in 0..size {
            places.prove(alone(n));
            places.first(Origin::Clients, alone(n));
        }
        let start = Instant::now();
        for n in 0..10_000 {
            let new = alone(size + n);
            let (place, displaced) = places.first(Origin::Clients, new);
            assert!(displaced.is_some());
            places.leave(Origin::Clients, new, place);
            assert!(places.prove(new).1.is_some());
            places.first(Origin::Clients, new);
        }
        start.elapsed()
    }
    let best = |size| (0..3).map(|_| time(size)).min().unwrap();
    let (few, many) = (best(64), best(4_096));
    assert!(many < few * 16, "{few:?} among 64, {many:?} among 4,096");
}

proptest! {
    #[test]
    fn places_are_bounded_and_the_order_stays_true(
        steps in prop::collection::vec((0_u8..4, 0_u8..6, 0_u16..4, any::<bool>()), 1..200),
    ) {
        let mut places = HopPlaces::new(5, 3);
        let mut taken: HashMap<SocketAddr, (Origin, HopPlace)> = HashMap::new();
        for (what, network, port, acks) in steps {
            let next_hop = hop(10, 0, network, 1, 1_024 + port);
            let origin = if acks { Origin::Acks } else { Origin::Clients };
            let before = taken.remove(&next_hop);
            if let Some((origin, place)) = before {
                places.leave(origin, next_hop, place);
            }
            let (place, displaced) = match what {
                0 => continue,
                1 => places.first(origin, next_hop),
                _ => places.prove(next_hop),
            };
            taken.insert(next_hop, (origin, place));
            if let Some(displaced) = displaced {
                prop_assert!(taken.remove(&displaced).is_some());
            }
            let proven = taken.values().filter(|(_, place)| matches!(place, HopPlace::Proven(_))).count();
            prop_assert_eq!(places.proven, proven);
            prop_assert!(proven <= 5);
            prop_assert!(places.acks.len() <= 3 && places.clients.len() <= 3);
            prop_assert_eq!(places.acks.len() + places.clients.len() + proven, taken.len());
            let mut order: Vec<_> = places.networks.iter()
                .map(|(&network, members)| (members.len(), *members.last_key_value().unwrap().0, network))
                .collect();
            order.sort_unstable();
            prop_assert_eq!(places.order.iter().copied().collect::<Vec<_>>(), order);
        }
    }
}
