//! Takes packets off the links and hands them to the next hops.
//!
//! *Promises*: no link ever waits for a next hop, so no worker that hands
//! over a packet waits either.

use std::{convert::Infallible, sync::Arc, time::Duration};

use figures::Figures as _;
use ipc::Role;
use tokio::{
    sync::mpsc,
    task::{JoinSet, yield_now},
    time::{Instant, timeout_at},
};
use worker::{
    control_link::{ControlLink, Ending},
    counter,
    duplex::{self, LaneCapacity},
    heartbeat::Heartbeat,
};

use crate::{counters::EgressCounters, hops::Hops, inlet::Inlet, places::Origin};

/// Batches of one link that may wait.
const EVENTS: usize = 8;
/// Nothing is ever sent back.
const NO_ANSWERS: LaneCapacity = LaneCapacity { control: 1, bulk: 1 };
/// Time limit at the end for the packets in the queues.
const LAST_PACKETS: Duration = Duration::from_millis(2_500);

/// First ends of the two links.
#[derive(Debug)]
pub struct Links {
    /// SURB-acks come here.
    pub ingress: std::os::fd::OwnedFd,
    /// Clients' packets come here.
    pub edge: std::os::fd::OwnedFd,
}

/// Hands the packets of both links to the next hops, until dropped.
async fn forward(ingress: &mut Inlet, edge: &mut Inlet, hops: &mut Hops, mut heartbeat: Heartbeat) -> Infallible {
    loop {
        tokio::select! {
            Some(event) = ingress.events.recv() => ingress.handle(event, hops),
            Some(event) = edge.events.recv() => edge.handle(event, hops),
            () = heartbeat.beat() => hops.show(),
        }
        // There is one thread: without this the task of the next hop could not take this batch before the next one comes.
        yield_now().await;
    }
}

/// Serves until the worker is to end. Then sends what is in the queues, within a time limit.
pub async fn serve(mut control: ControlLink, links: Links, mut hops: Hops, counters: Arc<EgressCounters>) -> Ending {
    let (reports_tx, reports) = mpsc::channel(4);
    let mut tasks = JoinSet::new();
    let mut inlet = |peer, origin, first| {
        let (tx, events) = mpsc::channel(EVENTS);
        let ends = control.link_ends(peer, first);
        tasks.spawn(duplex::serve(peer, ends, NO_ANSWERS, tx, reports_tx.clone()));
        Inlet::new(origin, events, Arc::clone(&counters))
    };
    let mut ingress = inlet(Role::MixIngress, Origin::Acks, links.ingress);
    let mut edge = inlet(Role::ClientEdge, Origin::Clients, links.edge);
    tasks.spawn(counter::log_changes(Arc::clone(&counters)));

    let ending = tokio::select! {
        ending = control.follow(reports) => ending,
        never = forward(&mut ingress, &mut edge, &mut hops, Heartbeat::new(reports_tx.clone(), counters.loop_turns.clone())) => match never {},
    };
    if ending == Ending::Drain {
        let deadline = Instant::now() + LAST_PACKETS;
        for inlet in [&mut ingress, &mut edge] {
            // Both peers have ended before, so their last packets come before the end of their links.
            while inlet.is_up()
                && let Ok(Some(event)) = timeout_at(deadline, inlet.events.recv()).await
            {
                inlet.handle(event, &mut hops);
            }
        }
        hops.drain(deadline).await;
        counter::log(&counters.snapshot());
    }
    ending
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ipc::{
        Opaque,
        control::EgressConfig,
        egress::{SendPacket, ToEgress},
    };
    use tokio::{io::AsyncReadExt, net::TcpListener};
    use wire::{
        framing::{FrameHeader, Framing},
        packet::PacketSize,
    };
    use worker::duplex::LinkEvent;

    use super::*;
    use crate::{hops::tests::config, timeouts::Timeouts};

    #[tokio::test]
    async fn batches_in_a_row_for_one_hop_fit_its_queue_on_one_thread() {
        const BATCH: usize = 128;
        let node = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let packet = || {
            ToEgress::SendPacket(SendPacket {
                next_hop: node.local_addr().unwrap(),
                header: FrameHeader { framing: Framing::V7, size: PacketSize::Ack },
                packet: Opaque(Bytes::from(vec![7; PacketSize::Ack.packet_len()])),
            })
        };
        let counters = Arc::new(EgressCounters::default());
        let config = EgressConfig { queue_packets: BATCH as u32, ..config() };
        let mut hops = Hops::new(config, Timeouts::default(), Arc::clone(&counters));
        let (links, events) = mpsc::channel(EVENTS);
        let mut ingress = Inlet::new(Origin::Acks, events, Arc::clone(&counters));
        let mut edge = Inlet::new(Origin::Clients, mpsc::channel(1).1, Arc::clone(&counters));
        let take = async {
            // Opens the connection before the rest comes.
            links.send(LinkEvent::Batch(vec![ToEgress::BeginLink { sent_before: 0 }, packet()])).await.unwrap();
            let (mut stream, _) = node.accept().await.unwrap();
            let one = stream.read(&mut [0; 4_096]).await.unwrap();
            for _ in 0..EVENTS {
                links.try_send(LinkEvent::Batch(vec![packet(); BATCH])).unwrap();
            }
            let mut all = vec![0; one * EVENTS * BATCH];
            stream.read_exact(&mut all).await.unwrap();
        };
        let took = tokio::select! {
            took = tokio::time::timeout(Duration::from_secs(20), take) => took,
            never = forward(&mut ingress, &mut edge, &mut hops, Heartbeat::new(mpsc::channel(1).0, counters.loop_turns.clone())) => match never {},
        };
        assert!(took.is_ok(), "{:?}", counters.snapshot());
    }
}
