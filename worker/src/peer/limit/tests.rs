//! What 41, a thousand and 65,536 addresses get.

use super::*;
use crate::peer::table::USEFUL_FOR;

/// A connection and what became of it.
struct Peer(ConnectionPermit);

impl Peer {
    fn has_to_go(&self) -> bool {
        use std::{
            pin::pin,
            task::{Context, Poll, Waker},
        };
        matches!(pin!(self.0.evicted()).poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(()))
    }
}

/// A limit with a clock of its own.
struct Port {
    limit: ConnectionLimit,
    now: Instant,
}

impl Port {
    fn new(most: u32, most_per_prefix: u32) -> Self {
        Self { limit: ConnectionLimit::new(most, most_per_prefix), now: Instant::now() }
    }

    fn connect(&mut self, from: AddressPrefix) -> Result<Peer, LimitReached> {
        self.now += Duration::from_millis(1);
        self.limit.admit_at(from, self.now).map(|admitted| Peer(admitted.permit))
    }

    fn prove(&mut self, peer: &Peer, times: u32) {
        if times == 0 {
            return;
        }
        self.now += Duration::from_millis(1);
        peer.0.prove_at(times, self.now);
    }

    fn open(&self) -> usize {
        self.limit.shared.state().connections()
    }
}

/// Each in a /24 of its own.
fn stranger(number: u32) -> AddressPrefix {
    AddressPrefix::V4((number << 8).into())
}

/// One who means well, from nowhere near.
fn honest(number: u8) -> AddressPrefix {
    AddressPrefix::V4([203, 0, number, 9].into())
}

/// Has so many connect, and adds those who are let in to the crowd, which those who have to go leave now and then.
fn flood(port: &mut Port, crowd: &mut Vec<Peer>, from: impl IntoIterator<Item = AddressPrefix>, proofs: u32) {
    for (number, prefix) in from.into_iter().enumerate() {
        if let Ok(peer) = port.connect(prefix) {
            port.prove(&peer, proofs);
            crowd.push(peer);
        }
        if number % 32 == 0 {
            crowd.retain(|peer| !peer.has_to_go());
        }
    }
}

#[test]
fn silent_connections_from_41_addresses_keep_nobody_out() {
    let mut port = Port::new(2_000, 512);
    let mut crowd = Vec::new();
    flood(&mut port, &mut crowd, (0..2_050).map(|number| stranger(number % 41)), 0);
    assert_eq!(port.open(), 2_000);
    let nodes: Vec<_> = (0..40).map(|number| port.connect(honest(number)).unwrap()).collect();
    flood(&mut port, &mut crowd, (0..10_000).map(|number| stranger(number % 41)), 0);
    assert!(nodes.iter().all(|node| !node.has_to_go()), "who comes from a light network stays");
    assert_eq!(port.open(), 2_000);
}

#[test]
fn one_packet_for_each_of_many_places_beats_nobody() {
    let mut port = Port::new(2_000, 512);
    let mut crowd = Vec::new();
    flood(&mut port, &mut crowd, (0..2_000).map(|number| stranger(number % 41)), 1);
    let mut nodes = Vec::new();
    flood(&mut port, &mut nodes, (0..40).map(honest), FULL_PROOF);
    flood(&mut port, &mut crowd, (0..10_000).map(stranger), 1);
    assert!(nodes.len() == 40 && nodes.iter().all(|node| !node.has_to_go()));
}

#[test]
fn useful_ones_of_one_network_are_safe_from_strangers() {
    let mut port = Port::new(800, 512);
    let proxy: Vec<_> = (0..500).map(|_| port.connect(honest(1)).unwrap()).collect();
    proxy.iter().for_each(|client| port.prove(client, FULL_PROOF));
    // A botnet: every one from a network of its own.
    let mut bots = Vec::new();
    flood(&mut port, &mut bots, (0..65_536).map(stranger), 0);
    assert!(proxy.iter().all(|client| !client.has_to_go()), "although no other network has as many");
    assert_eq!(port.open(), 800);
}

#[test]
fn who_was_useful_before_comes_in_and_stays_while_bots_come() {
    let mut port = Port::new(800, 512);
    let node = port.connect(honest(1)).unwrap();
    port.prove(&node, FULL_PROOF);
    drop(node);
    let bots: Vec<_> = (0..800).map(|number| port.connect(stranger(number)).unwrap()).collect();
    let (back, new) = (port.connect(honest(1)).unwrap(), port.connect(honest(2)).unwrap());
    drop(bots);
    let more: Vec<_> = (800..1_700).filter_map(|number| port.connect(stranger(number)).ok()).collect();
    assert!(!back.has_to_go(), "its place is none that strangers take");
    assert!(new.has_to_go(), "nobody can tell this one from the bots");
    drop(more);
}

#[test]
fn strangers_always_have_places_to_prove_themselves() {
    let mut port = Port::new(1_600, 1_600);
    let old: Vec<_> = (0..1_600).map(|number| port.connect(stranger(number)).unwrap()).collect();
    old.iter().for_each(|peer| port.prove(peer, FULL_PROOF));
    let new: Vec<_> = (0..100).map(|number| port.connect(honest(number)).unwrap()).collect();
    assert!(new.iter().all(|peer| !peer.has_to_go()));
    let gone = old.iter().filter(|peer| peer.has_to_go()).count();
    assert_eq!(gone, 100);
    drop(old);
}

#[test]
fn a_full_prefix_lets_its_oldest_stranger_go() {
    let mut port = Port::new(100, 3);
    let peers = [0; 3].map(|_| port.connect(honest(1)).unwrap());
    port.prove(&peers[0], 1);
    let _other = port.connect(honest(2)).unwrap();
    let newcomer = port.connect(honest(1)).unwrap();
    assert_eq!(peers.each_ref().map(Peer::has_to_go), [false, true, false]);
    assert!(!newcomer.has_to_go());
}

#[test]
fn among_those_who_all_proved_more_there_is_no_place() {
    let mut port = Port::new(100, 2);
    let peers = [0; 2].map(|_| port.connect(honest(1)).unwrap());
    peers.iter().for_each(|peer| port.prove(peer, 1));
    assert_eq!(port.connect(honest(1)).err(), Some(LimitReached::ForPrefix));
    assert!(peers.iter().all(|peer| !peer.has_to_go()));
    assert_eq!(port.open(), 2);
}

#[test]
fn a_24_has_four_times_the_places_of_an_address() {
    let mut port = Port::new(1_000, 2);
    let peers: Vec<_> =
        (0..20).map(|last| port.connect(AddressPrefix::V4([192, 0, 2, last].into())).unwrap()).collect();
    let gone = peers.iter().filter(|peer| peer.has_to_go()).count();
    assert_eq!(gone, 12);
}

#[test]
fn the_one_useless_for_longest_goes_first() {
    let mut port = Port::new(100, 3);
    let peers = [0; 3].map(|_| port.connect(honest(1)).unwrap());
    port.prove(&peers[0], FULL_PROOF);
    drop(peers);
    // The prefix is known now, so each of them begins with the level of those who proved something.
    let peers = [0; 3].map(|_| port.connect(honest(1)).unwrap());
    port.prove(&peers[0], 1);
    port.prove(&peers[2], 1);
    let _newcomer = port.connect(honest(1)).unwrap();
    assert_eq!(peers.each_ref().map(Peer::has_to_go), [false, true, false]);
}

#[test]
fn usefulness_ends_when_nothing_is_proved_for_long() {
    let mut port = Port::new(80, 80);
    let idle: Vec<_> = (0..75).map(|_| port.connect(honest(1)).unwrap()).collect();
    idle.iter().for_each(|peer| port.prove(peer, FULL_PROOF));
    let busy: Vec<_> = (0..5).map(|_| port.connect(honest(2)).unwrap()).collect();
    port.now += Duration::from_millis(USEFUL_FOR);
    busy.iter().for_each(|peer| port.prove(peer, FULL_PROOF));
    let newcomer = port.connect(honest(3)).unwrap();
    let gone = idle.iter().filter(|peer| peer.has_to_go()).count();
    assert_eq!(gone, 1);
    let of = |level| port.limit.shared.state().connections_of(level);
    assert_eq!((of(ProofLevel::Useful), of(ProofLevel::Proven)), (5, 74));
    drop((busy, newcomer));
}

#[test]
fn what_has_to_go_and_stays_is_bounded() {
    let mut port = Port::new(32, 32);
    let peers: Vec<_> = (0..34).map(|number| port.connect(stranger(number)).unwrap()).collect();
    assert_eq!(port.connect(honest(1)).err(), Some(LimitReached::InAll));
    drop(peers.into_iter().find(Peer::has_to_go));
    assert!(port.connect(honest(1)).is_ok());
}

/// Prints what an eviction takes; fails only where it is a search.
#[test]
fn an_eviction_among_20_000_is_no_search() {
    let mut port = Port::new(20_000, 512);
    let mut peers: Vec<_> = (0..20_000).map(|number| port.connect(stranger(number % 5_000)).unwrap()).collect();
    let began = std::time::Instant::now();
    for number in 0..10_000 {
        peers.extend(port.connect(stranger(number % 5_000)).ok());
        if number % 1_000 == 0 {
            peers.retain(|peer| !peer.has_to_go());
        }
    }
    let each = began.elapsed() / 10_000;
    eprintln!("an eviction takes {each:?}");
    assert!(each < Duration::from_micros(500), "{each:?}");
}
