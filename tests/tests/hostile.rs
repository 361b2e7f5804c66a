//! Strangers that send anything: truncated, oversized, flipped and random bytes at both ports. Honest clients must notice
//! nothing meanwhile, and no process may die.
//!
//! The randomness is printed; set `HOSTILE_SEED` to repeat it.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use client_wire::frame;
use harness::{
    client::{Client, Identity, Registration, handshake_text},
    connection::{Connection, Incoming},
    deadline::{self, bounded},
    gateway::Gateway,
    mixnode::MixSender,
    packet::PacketMaker,
    scene::Scene,
};
use rand::{
    Rng, RngExt, SeedableRng,
    rngs::StdRng,
    seq::{IndexedMutRandom, IndexedRandom},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use wire::{framing::MAX_FRAME_LEN, packet::PacketSize};

const ROUNDS: usize = 200;

fn randomness() -> Result<StdRng> {
    let seed = match std::env::var("HOSTILE_SEED") {
        Ok(seed) => seed.parse().context("HOSTILE_SEED is no number")?,
        Err(_) => rand::random(),
    };
    eprintln!("HOSTILE_SEED={seed}");
    Ok(StdRng::seed_from_u64(seed))
}

fn bytes(random: &mut StdRng, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    random.fill_bytes(&mut bytes);
    bytes
}

fn with_flipped_bits(random: &mut StdRng, bytes: &mut [u8]) {
    for _ in 0..random.random_range(1..4) {
        if let Some(byte) = bytes.choose_mut(random) {
            *byte ^= 1 << random.random_range(0..8);
        }
    }
}

/// Talks sense until told to stop: every message must come, once and in order, and every ack.
async fn sensible_conversation(scene: &mut Scene, mut client: Client, stop: &AtomicBool) -> Result<usize> {
    let mut rounds = 0;
    while !stop.load(Ordering::Relaxed) || rounds < 20 {
        let sent = scene.send_many(client.address(), 3).await?;
        for packet in &sent {
            ensure!(client.next_message().await? == packet.message, "the sensible client got something else");
        }
        scene.mixnode.wait_for_acks(&sent).await?;
        let forward = scene.packets().make(Identity::random().address(), PacketSize::Ack)?.packet;
        client.forward(scene.mixnode.address, &forward).await?;
        scene.mixnode.wait_for_packet(&forward).await?;
        rounds += 1;
    }
    client.connection.expect_quiet_and_open().await?;
    Ok(rounds)
}

/// What a stranger writes to the mixnet port in one connection.
fn mix_garbage(random: &mut StdRng, packets: &PacketMaker, to: &Identity) -> Result<Vec<u8>> {
    let mut framed = packets.make(to.address(), PacketSize::Regular)?.packet;
    let header = [1, random.random_range(0..2)];
    framed.splice(0..0, header);
    let len = framed.len();
    match random.random_range(0..6) {
        0 => framed.truncate(random.random_range(0..len)),
        1 => with_flipped_bits(random, &mut framed),
        2 => {
            let more = random.random_range(1..2 * MAX_FRAME_LEN);
            framed.extend(bytes(random, more));
        }
        3 => {
            let size = *[1, 2, 3, 4, 5].choose(random).context("a size")?;
            framed = [&[7, size, 0][..], &bytes(random, 40_000)].concat();
        }
        4 => framed = bytes(random, len),
        _ => {
            // A whole frame whose packet is random: dropped, and the next one is read.
            framed = [&[1, 0][..], &bytes(random, PacketSize::Regular.packet_len())].concat().repeat(3);
        }
    }
    Ok(framed)
}

async fn annoy_mixnet_port(mut random: StdRng, gateway: std::net::SocketAddr, packets: PacketMaker) -> Result<()> {
    let nobody = Identity::random();
    for _ in 0..ROUNDS {
        let garbage = mix_garbage(&mut random, &packets, &nobody)?;
        let mut stream = TcpStream::connect(gateway).await?;
        for piece in garbage.chunks(random.random_range(1..5000)) {
            // The gateway may have closed the connection, as it should.
            if stream.write_all(piece).await.is_err() {
                break;
            }
        }
    }
    Ok(())
}

/// A websocket frame of any form, masked as a client must, or not.
fn websocket_garbage(random: &mut StdRng) -> Vec<u8> {
    let len: usize = random.random_range(0..300);
    let length_byte = u8::try_from(len.min(125)).unwrap_or(125);
    let mut frame = vec![random.random(), 0x80 | length_byte];
    match random.random_range(0..4) {
        0 => frame = bytes(random, len),
        1 => frame = vec![random.random(), random.random()],
        // A length of many gigabytes.
        2 => frame = [&[0x82, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff][..], &bytes(random, len)].concat(),
        _ => {}
    }
    frame.extend(bytes(random, 4 + len.min(125)));
    frame
}

async fn upgraded(gateway: std::net::SocketAddr) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(gateway).await?;
    let request = "GET / HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    let mut response = Vec::new();
    while !response.ends_with(b"\r\n\r\n") {
        let read = deadline::soon("the upgrade", stream.read_buf(&mut response)).await??;
        ensure!(read > 0, "the connection ended within the response");
    }
    Ok(stream)
}

async fn annoy_clients_port(mut random: StdRng, gateway: std::net::SocketAddr) -> Result<()> {
    for round in 0..ROUNDS {
        if round % 2 == 0 {
            let mut stream = TcpStream::connect(gateway).await?;
            let len = random.random_range(0..20_000);
            // The gateway may close the connection, as it should.
            let _ = stream.write_all(&bytes(&mut random, len)).await;
        } else {
            let mut stream = upgraded(gateway).await?;
            for _ in 0..random.random_range(1..5) {
                if stream.write_all(&websocket_garbage(&mut random)).await.is_err() {
                    break;
                }
            }
        }
    }
    Ok(())
}

/// Garbage inside websocket frames that are well made: before, during and after registration.
async fn annoy_protocol(mut random: StdRng, gateway: std::net::SocketAddr, identity: [u8; 32]) -> Result<()> {
    for _ in 0..ROUNDS / 4 {
        let connection = Connection::open(gateway).await?;
        for _ in 0..random.random_range(1..6) {
            let mut text = handshake_text(&Registration::new(Identity::random()).init()).into_bytes();
            with_flipped_bits(&mut random, &mut text);
            let sent = match random.random_range(0..3) {
                0 => connection.send_text(String::from_utf8_lossy(&text)).await,
                1 => {
                    let len = random.random_range(0..3000);
                    connection.send_binary(bytes(&mut random, len)).await
                }
                _ => {
                    let depth = random.random_range(0..5000);
                    connection.send_text("[".repeat(depth)).await
                }
            };
            // The gateway may have closed the connection, as it should.
            if sent.is_err() {
                break;
            }
        }

        let client = Client::register(gateway, &identity).await?;
        for _ in 0..random.random_range(1..6) {
            let len = random.random_range(0..3000);
            let plaintext = bytes(&mut random, len);
            let mut sealed = frame::seal(&client.credentials.key, &plaintext).to_vec();
            if random.random() {
                with_flipped_bits(&mut random, &mut sealed);
            }
            if client.connection.send_binary(sealed).await.is_err() {
                break;
            }
        }
        // A sealed empty frame ended the whole of 0.10.1.
        let _ = client.connection.send_binary(frame::seal(&client.credentials.key, &[])).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_disturbs_nobody() -> Result<()> {
    bounded(async {
        let mut random = randomness()?;
        let mut scene = Scene::start().await?;
        let before = scene.gateway.workers()?;
        let client = scene.client().await?;
        let (mix, clients, identity) = (scene.gateway.mix, scene.gateway.clients, scene.gateway.identity);
        let packets = scene.packets();
        let mut fork = || StdRng::seed_from_u64(random.next_u64());
        let (first, second, third) = (fork(), fork(), fork());
        let done = AtomicBool::new(false);
        let annoy = async {
            let outcome = tokio::try_join!(
                annoy_mixnet_port(first, mix, packets),
                annoy_clients_port(second, clients),
                annoy_protocol(third, clients, identity),
            );
            done.store(true, Ordering::Relaxed);
            outcome
        };
        let (annoyed, talked) = tokio::join!(annoy, sensible_conversation(&mut scene, client, &done));
        annoyed.context("among the hostile")?;
        let rounds = talked.context("in the sensible conversation")?;
        eprintln!("{rounds} rounds of sensible conversation meanwhile");
        ensure!(scene.gateway.workers()? == before, "a worker had to be replaced");
        ensure!(before.iter().all(|worker| worker.runs()), "a worker has died");
        ensure!(scene.mixnode.faults().is_empty());
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_of_unknown_form_closes_its_connection_only() -> Result<()> {
    bounded(async {
        let mut scene = Scene::start().await?;
        let mut client = scene.client().await?;
        for header in [&[0, 0][..], &[6, 0], &[9, 1, 0], &[255, 255], &[1, 2], &[7, 0, 0], &[7, 1, 2], &[8, 1, 0, 3]] {
            let mut stranger = MixSender::connect(scene.gateway.mix).await?;
            stranger.send_raw(header).await?;
            stranger.wait_until_closed().await.with_context(|| format!("after the header {header:?}"))?;
            let sent = scene.send(client.address(), PacketSize::Regular).await?;
            ensure!(client.next_message().await? == sent.message);
            scene.mixnode.wait_for_acks(&[sent]).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packet_that_does_not_open_is_dropped_and_the_next_one_read() -> Result<()> {
    bounded(async {
        let mut scene = Scene::start().await?;
        let mut client = scene.client().await?;
        let mut spoilt = scene.packets().make_many(client.address(), 4)?;
        // In the ephemeral key, the MAC, the routing information and the payload.
        for (packet, at) in spoilt.iter_mut().zip([5, 40, 100, 2000]) {
            if let Some(byte) = packet.packet.get_mut(at) {
                *byte ^= 1;
            }
            scene.sender.send(packet).await?;
        }
        let good = scene.send(client.address(), PacketSize::Regular).await?;
        ensure!(client.next_message().await? == good.message);
        scene.mixnode.wait_for_acks(&[good]).await?;
        client.connection.expect_quiet_and_open().await?;
        ensure!(scene.mixnode.count_acked(&spoilt) == 0, "a packet that does not open was acknowledged");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_message_over_64_kib_is_refused() -> Result<()> {
    bounded(async {
        let gateway = Gateway::start().await?;
        let mut client = Client::register(gateway.clients, &gateway.identity).await?;
        // The largest frame a real client sends.
        client.send_sealed(&[0; 1 + 19 + 33133]).await?;
        client.next_text().await?;
        let before = gateway.workers()?;
        // The gateway may be gone before everything is written.
        let _ = client.connection.send_binary(vec![0; (64 << 10) + 1]).await;
        while client.connection.next().await? != Incoming::End {}
        ensure!(gateway.workers()? == before);
        Ok(())
    })
    .await
}
