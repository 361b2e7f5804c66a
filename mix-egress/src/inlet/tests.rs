//! Links that begin, end and lie.

use bytes::Bytes;
use ipc::{Opaque, egress::SendPacket};
use wire::{
    framing::{FrameHeader, Framing},
    packet::PacketSize,
};

use super::*;
use crate::{hops::tests::config, timeouts::Timeouts};

/// A packet for a next hop that the policy forbids.
fn packet() -> ToEgress {
    ToEgress::SendPacket(SendPacket {
        next_hop: "0.0.0.0:1".parse().unwrap(),
        header: FrameHeader { framing: Framing::V7, size: PacketSize::Ack },
        packet: Opaque(Bytes::from(vec![7; PacketSize::Ack.packet_len()])),
    })
}

const fn begin(sent_before: u64) -> ToEgress {
    ToEgress::BeginLink { sent_before }
}

fn inlet(origin: Origin, counters: &Arc<EgressCounters>) -> (Inlet, Hops) {
    let hops = Hops::new(config(), Timeouts::default(), Arc::clone(counters));
    (Inlet::new(origin, mpsc::channel(1).1, Arc::clone(counters)), hops)
}

fn taken_and_lost(counters: &EgressCounters, origin: Origin) -> [u64; 2] {
    let (taken, lost) = counters::of_link(counters, origin);
    [taken.load(Relaxed), lost.load(Relaxed)]
}

#[tokio::test]
async fn what_did_not_come_over_earlier_links_is_lost_once() {
    for (origin, other) in [(Origin::Acks, Origin::Clients), (Origin::Clients, Origin::Acks)] {
        let counters = Arc::new(EgressCounters::default());
        // Each life of the process takes up the same figures.
        for (sent_before, packets, expected) in
            [(0, 3, [3, 0]), (5, 1, [4, 2]), (6, 0, [4, 2]), (9, 2, [6, 5]), (11, 0, [6, 5])]
        {
            let (mut inlet, mut hops) = inlet(origin, &counters);
            assert_eq!(inlet.take(begin(sent_before), &mut hops), Ok(()));
            for _ in 0..packets {
                assert_eq!(inlet.take(packet(), &mut hops), Ok(()));
            }
            assert_eq!(taken_and_lost(&counters, origin), expected);
        }
        assert_eq!(taken_and_lost(&counters, other), [0, 0]);
    }
}

#[tokio::test]
async fn a_link_begins_once_and_before_its_first_packet() {
    let counters = Arc::new(EgressCounters::default());
    let (mut inlet, mut hops) = inlet(Origin::Acks, &counters);
    assert_eq!(inlet.take(packet(), &mut hops), Err(Rule::Beginning));
    assert_eq!(inlet.take(begin(0), &mut hops), Ok(()));
    assert_eq!(inlet.take(begin(7), &mut hops), Err(Rule::Beginning));
    assert_eq!(taken_and_lost(&counters, Origin::Acks), [0, 0]);
}

/// A process that was taken over sent more than it counted. Its successor is believed and served, and the balance shows it.
#[tokio::test]
async fn a_sender_pays_nothing_for_the_lies_of_the_one_before() {
    let counters = Arc::new(EgressCounters::default());
    let (mut inlet, mut hops) = inlet(Origin::Acks, &counters);
    assert_eq!(inlet.take(begin(u64::MAX), &mut hops), Ok(()));
    assert_eq!(inlet.take(packet(), &mut hops), Ok(()));
    inlet.has_begun = false;
    assert_eq!(inlet.take(begin(0), &mut hops), Ok(()));
    assert_eq!(inlet.take(packet(), &mut hops), Ok(()));
    assert_eq!(taken_and_lost(&counters, Origin::Acks), [2, u64::MAX]);
}
