//! Clients that stop reading or vanish without a word: what they cost the gateway, and others, and what they find when they
//! come back.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::{
    black_hole::BlackHole,
    client::{Client, Sealing},
    deadline::bounded,
    gateway::{Gateway, IPV4, WORKERS},
    home::Home,
    packet::FinalHopPacket,
    process::Process,
    scene::Scene,
    trace::Tracer,
};
use tokio::time::sleep;
use wire::{address::ClientAddress, packet::PacketSize};

/// Packets that wait to be acknowledged at once.
const CHUNK: usize = 1_000;

/// The processes of a gateway, and their names.
fn processes(gateway: &Gateway) -> Result<Vec<(&'static str, Process)>> {
    let mut all = vec![("gatewayd", gateway.supervisor())];
    for name in WORKERS {
        all.push((name, gateway.worker(name)?));
    }
    Ok(all)
}

/// By this messages are told apart; they begin with a number.
fn mark(message: &[u8]) -> Vec<u8> {
    message.iter().take(16).copied().collect()
}

/// Sends packets as fast as they are acknowledged, and returns the marks of their messages.
async fn send_and_wait(scene: &mut Scene, to: ClientAddress, count: usize) -> Result<Vec<Vec<u8>>> {
    let mut marks = Vec::with_capacity(count);
    let mut next = scene.packets().make_in_parallel(to, CHUNK.min(count)).await?;
    while marks.len() < count {
        let chunk = std::mem::take(&mut next);
        marks.extend(chunk.iter().map(|packet| mark(&packet.message)));
        let more = scene.packets().make_in_parallel(to, CHUNK.min(count - marks.len()));
        let (made, sent) = tokio::join!(more, async {
            scene.sender.send_all(&chunk).await?;
            scene.mixnode.wait_for_acks(&chunk).await
        });
        sent.with_context(|| format!("of the {} packets sent last", chunk.len()))?;
        next = made?;
    }
    Ok(marks)
}

/// Takes mail until all of `marks` has come. A message may come again, but none before an earlier one has come.
async fn expect_all<C: Sealing>(client: &mut Client<C>, marks: &[Vec<u8>]) -> Result<()> {
    let mut due = 0;
    while let Some(expected) = marks.get(due) {
        let came = mark(&client.next_message().await.with_context(|| format!("{due} messages came"))?);
        if came == *expected {
            due += 1;
        } else {
            ensure!(marks.iter().take(due).any(|mark| *mark == came), "something else came instead of message {due}");
        }
    }
    Ok(())
}

/// Sends packets for a client that does not read, while each sync of the store takes `slower` at least.
async fn send_to_a_stalled_client(packets: usize, slower: Option<Duration>) -> Result<()> {
    const GROWTH: u64 = 16 << 20;
    /// While syncs are slow all that may be in flight waits for them: 20 MiB, and a commit with the engine's buffers for it.
    const GROWTH_ON_A_SLOW_DISK: u64 = 48 << 20;
    let growth = if slower.is_some() { GROWTH_ON_A_SLOW_DISK } else { GROWTH };
    /// The engine of the store fills its page cache and its buffers, and glibc its arenas, with the first packets of any
    /// client; that is the size of the store, 32 MiB more than at its start, and no growth.
    const WARM_UP: usize = 10_000;
    bounded(async {
        if slower.is_some() && !need::strace(23) {
            return Ok(());
        }
        let home = Home::init(IPV4).await?;
        home.set_config("delivery", "receipt_timeout", "'1h'")?;
        let mut scene = Scene::around(Gateway::start_in(home, &[]).await?, IPV4).await?;
        let offline = scene.client().await?.leave().await?;
        send_and_wait(&mut scene, offline.address(), WARM_UP).await?;
        let stalled = scene.client().await?;
        stalled.connection.read_socket(false);

        let _slow_disk = match slower {
            Some(by) => Some(Tracer::attach_slow_disk(scene.gateway.worker("store")?, by).await?),
            None => None,
        };
        let mut before = Vec::new();
        for (name, process) in processes(&scene.gateway)? {
            process.forget_peak()?;
            before.push((name, process, process.resident()?));
        }
        let marks = send_and_wait(&mut scene, stalled.address(), packets).await?;
        let mut too_large = Vec::new();
        for (name, process, before) in before {
            let (peak, after) = (process.peak()?, process.resident()?);
            eprintln!("{name}: {} KiB before, {} KiB at most, {} KiB after", before >> 10, peak >> 10, after >> 10);
            if peak > before + growth {
                too_large.push(name);
            }
        }
        ensure!(too_large.is_empty(), "too large: {too_large:?}");

        let credentials = stalled.credentials.clone();
        let mut returned = credentials.authenticate(scene.gateway.clients).await?;
        expect_all(&mut returned, &marks).await?;
        drop(stalled);
        Ok(())
    })
    .await
}

/// All packets are there when the client returns.
#[tokio::test(flavor = "multi_thread")]
async fn fifty_thousand_packets_for_a_stalled_client_grow_no_process() -> Result<()> {
    send_to_a_stalled_client(50_000, None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_client_on_a_slow_disk_grows_no_process() -> Result<()> {
    send_to_a_stalled_client(20_000, Some(Duration::from_millis(150))).await
}

/// The gateway disconnects it within the time that is set.
#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_client_is_disconnected_and_finds_all_in_order() -> Result<()> {
    bounded(async {
        let home = Home::init(IPV4).await?;
        home.set_config("delivery", "receipt_timeout", "'1s'")?;
        let mut scene = Scene::around(Gateway::start_in(home, &[]).await?, IPV4).await?;
        let stalled = scene.client().await?;
        let credentials = stalled.credentials.clone();
        stalled.connection.read_socket(false);
        let edge = scene.gateway.worker("client-edge")?;
        let sockets = || edge.sockets().map_or(0, |sockets| sockets.len());
        let with_stalled = sockets();
        let asked = Instant::now();
        let marks = send_and_wait(&mut scene, stalled.address(), 3 * CHUNK).await?;

        // The gateway closes the connection by itself, before another connection claims to be the client.
        harness::deadline::until(harness::deadline::SOON, "the end of the stalled connection", || {
            sockets() < with_stalled
        })
        .await?;
        let took = asked.elapsed();
        ensure!(took >= Duration::from_secs(1), "a client was disconnected after {took:?}");
        let mut returned = credentials.authenticate(scene.gateway.clients).await?;
        expect_all(&mut returned, &marks).await?;
        let sent = scene.send(credentials.address(), PacketSize::Regular).await?;
        ensure!(returned.next_message().await? == sent.message);
        drop(stalled);
        Ok(())
    })
    .await
}

/// For no more than a second.
#[tokio::test(flavor = "multi_thread")]
async fn a_half_open_connection_keeps_its_client_out_for_a_second() -> Result<()> {
    const ROUNDS: usize = 5;
    const LIMIT: Duration = Duration::from_secs(1);
    bounded(async {
        let mut scene = Scene::start().await?;
        let credentials = scene.client().await?.leave().await?;
        let mut waits = Vec::new();
        for round in 0..ROUNDS {
            let way = BlackHole::before(scene.gateway.clients).await?;
            let mut lost = credentials.authenticate(way.address).await?;
            let sent = scene.send(lost.address(), PacketSize::Regular).await?;
            ensure!(lost.next_message().await? == sent.message);
            lost.connection.expect_quiet_and_open().await?;
            way.swallow();
            // Without undelivered mail, and with more of it than the gateway buffers.
            let waiting = send_and_wait(&mut scene, lost.address(), if round % 2 == 0 { 0 } else { CHUNK }).await?;

            let asked = Instant::now();
            let mut returned = credentials.authenticate(scene.gateway.clients).await?;
            waits.push(asked.elapsed());
            expect_all(&mut returned, &waiting).await?;
            returned.leave().await?;
            drop((lost, way));
        }
        eprintln!("kept out for {waits:?}");
        ensure!(waits.iter().all(|wait| *wait <= LIMIT), "a client that came back was kept out for {waits:?}");
        Ok(())
    })
    .await
}

/// Adds to `took` how long messages took from the mixnet port to the client, sent one by one, each behind one for another client.
async fn add_latencies(
    scene: &mut Scene,
    client: &mut Client,
    packets: &[FinalHopPacket],
    others: &mut impl Iterator<Item = FinalHopPacket>,
    took: &mut Vec<Duration>,
) -> Result<()> {
    for packet in packets {
        scene.sender.send(&others.next().context("there is one for somebody else")?).await?;
        let sent = Instant::now();
        scene.sender.send(packet).await?;
        ensure!(client.next_message().await? == packet.message);
        took.push(sent.elapsed());
        sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

/// Samples in groups that are spread over the whole run. What the machine does besides differs from group to group, and what the gateway
/// does is the same in each.
#[derive(Default)]
struct Groups([Vec<Duration>; Groups::COUNT]);

impl Groups {
    const COUNT: usize = 5;

    fn of_phase(&mut self, phase: usize) -> &mut Vec<Duration> {
        let [first, second, third, fourth, fifth] = &mut self.0;
        match phase % Self::COUNT {
            0 => first,
            1 => second,
            2 => third,
            3 => fourth,
            _ => fifth,
        }
    }

    /// Of each group this percentile, the smallest first.
    fn percentiles(&mut self, percent: usize) -> [Duration; Self::COUNT] {
        let mut found = self.0.each_mut().map(|samples| {
            samples.sort_unstable();
            samples.get(samples.len() * percent / 100).copied().unwrap_or(Duration::MAX)
        });
        found.sort_unstable();
        found
    }
}

/// The groups with a client that reads say how far the machine alone puts them apart: the slowest of them is what others are compared with.
#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_client_less_than_doubles_the_latency_of_another() -> Result<()> {
    /// Short and in turn, so that whatever else the machine does is spread over both.
    const PHASES: usize = 120;
    const SAMPLES: usize = 15;
    bounded(async {
        let home = Home::init(IPV4).await?;
        // Stalled to the end.
        home.set_config("delivery", "receipt_timeout", "'1h'")?;
        let mut scene = Scene::around(Gateway::start_in(home, &[]).await?, IPV4).await?;
        let mut client = scene.client().await?;
        let mut reading = scene.client().await?;
        let stalled = scene.client().await?;
        stalled.connection.read_socket(false);
        // More than the gateway buffers for one client, so that it has stalled before the first sample.
        send_and_wait(&mut scene, stalled.address(), 2 * CHUNK).await?;
        let make = |to, count| scene.packets().make_in_parallel(to, count);
        let packets = make(client.address(), PHASES * SAMPLES).await?;
        let mut for_reading = make(reading.address(), PHASES * SAMPLES / 2).await?.into_iter();
        let mut for_stalled = make(stalled.address(), PHASES * SAMPLES / 2).await?.into_iter();
        let reader = tokio::spawn(async move { while let Ok(Some(_)) = reading.next_message_or_end().await {} });

        let (mut undisturbed, mut disturbed) = (Groups::default(), Groups::default());
        for (pair, phases) in packets.chunks(2 * SAMPLES).enumerate() {
            let (first, second) = phases.split_at(SAMPLES);
            add_latencies(&mut scene, &mut client, first, &mut for_reading, undisturbed.of_phase(pair)).await?;
            add_latencies(&mut scene, &mut client, second, &mut for_stalled, disturbed.of_phase(pair)).await?;
        }
        reader.abort();
        let mut found = Vec::new();
        for percent in [50, 90, 99] {
            let (before, after) = (undisturbed.percentiles(percent), disturbed.percentiles(percent));
            eprintln!("p{percent} {before:?} with a client that reads, {after:?} with one that has stalled");
            let ([.., slowest], [_, _, middle, ..]) = (before, after);
            if middle >= 2 * slowest {
                found.push((percent, before, after));
            }
        }
        ensure!(found.is_empty(), "a stalled client disturbs another: percentile, before, and with it: {found:?}");
        drop(stalled);
        Ok(())
    })
    .await
}
