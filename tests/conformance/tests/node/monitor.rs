//! The network's monitor (the first one, inside nym-api) gives a gateway the score that decides whether clients choose it.
//!
//! The monitor itself is not published. Its client is, and so the numbers here are the monitor's and everything else is its client's. A
//! route has one hop, the gateway itself, and no mix nodes.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use conformance::{
    client::Client,
    deadline::{self, bounded},
    directory::{describe, route_to, skim},
    gateway::Gateway,
};
use nym_sphinx::{
    forwarding::packet::MixPacket, message::NymMessage, params::PacketSize, receiver::SphinxMessageReceiver,
};
use nym_topology::RoutingNode;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{GOOD, IPV4, ROTATION};

/// For connection, question for the protocol, and registration or login.
const LOGIN: Duration = Duration::from_secs(15);

/// What the monitor has to have after its claim, in bytes.
const BANDWIDTH: i64 = 40_000_000;

const SIZE: PacketSize = PacketSize::RegularPacket;

/// Packets that it sends at once, and how often.
const BATCH: usize = 10;
const PACE: Duration = Duration::from_millis(50);

/// For all packets to come back, from the last one that was sent.
const DELIVERY: Duration = Duration::from_secs(20);

/// The packets by which a gateway is tested: three over each of three routes.
const TEST: usize = 9;

/// The packets by which a route is found to work. If one does not come back, it is none.
const ROUTE: usize = 1_000;

/// The monitor has one identity, and drops its connections without a word.
#[tokio::test(flavor = "multi_thread")]
async fn every_packet_of_the_monitor_comes_back() -> Result<()> {
    bounded(async {
        let gateway = Gateway::start_described(IPV4, &GOOD).await?;
        let node = route_to(&skim(&describe("127.0.0.1", &gateway).await?, ROTATION, 1.0)?)?;

        let mut first = Client::new(node.clone())?;
        ensure_all_come_back(&mut first, TEST).await.context("of a new identity")?;
        let mut second = dropped(first, &node)?;
        ensure_all_come_back(&mut second, ROUTE).await.context("of a route")?;
        let mut third = dropped(second, &node)?;
        ensure_all_come_back(&mut third, TEST).await.context("of the next run")
    })
    .await
}

/// The same identity once more, after its connection was dropped.
fn dropped(client: Client, node: &RoutingNode) -> Result<Client> {
    let again = client.again(node.clone())?;
    drop(client);
    Ok(again)
}

/// Enters, sends itself so many packets, and awaits every one of them.
async fn ensure_all_come_back(monitor: &mut Client, count: usize) -> Result<()> {
    let began = Instant::now();
    timeout(LOGIN, monitor.enter()).await.context("the login took too long")??;
    eprintln!("the monitor entered within {:?}", began.elapsed());
    monitor.inner().claim_initial_bandwidth().await?;
    let bandwidth = monitor.inner().remaining_bandwidth();
    ensure!(bandwidth >= BANDWIDTH, "{bandwidth} bytes are too few");
    monitor.inner().start_listening_for_mixnet_messages()?;

    let packets = packets(monitor, count)?;
    let began = Instant::now();
    send(monitor, packets).await?;
    eprintln!("sent {count} packets in {:?}", began.elapsed());
    let mut back = Vec::new();
    let receive = async {
        while back.len() < count {
            back.push(monitor.pushed().await?);
        }
        anyhow::Ok(())
    };
    let received = timeout(DELIVERY, receive).await;
    eprintln!("{} came back within {:?} of the first", back.len(), began.elapsed());
    received.with_context(|| format!("{} of {count} packets came back", back.len()))??;
    ensure_each_once(monitor, back)
}

/// Packets of the monitor to itself, each with its number.
fn packets(monitor: &Client, count: usize) -> Result<Vec<MixPacket>> {
    let mut packets = Vec::new();
    for number in 0..count {
        let message = NymMessage::new_plain(number.to_string().into_bytes());
        packets.extend(monitor.mail().prepare(&monitor.address(), message, SIZE, ROTATION)?.packets);
    }
    ensure!(packets.len() == count, "{} packets for {count} messages", packets.len());
    Ok(packets)
}

async fn send(monitor: &mut Client, packets: Vec<MixPacket>) -> Result<()> {
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut packets = packets.into_iter();
    while packets.len() > 0 {
        pace.tick().await;
        let batch = packets.by_ref().take(BATCH).collect();
        deadline::soon("a batch to be sent", monitor.inner().batch_send_mix_packets(batch)).await??;
    }
    Ok(())
}

/// Opens what came back: each number once.
fn ensure_each_once(monitor: &Client, back: Vec<Vec<u8>>) -> Result<()> {
    let mut parts = SphinxMessageReceiver::default();
    let mut numbers = HashSet::new();
    let count = back.len();
    for pushed in back {
        let message = monitor.mail().open(&mut parts, pushed)?.context("a part of a message in place of all")?;
        let number: usize = String::from_utf8(message.into_inner_data())?.parse()?;
        ensure!(number < count && numbers.insert(number), "{number} came twice, or was never sent");
    }
    Ok(())
}
