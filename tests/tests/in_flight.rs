//! Messages on their way from the mixnet port to the store: so many and no more, whatever mix nodes send while the store takes
//! none; and none of them is lost, whether the store goes on or is replaced.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use harness::{
    counters::counted,
    deadline::{self, bounded},
    gateway::{Gateway, IPV4},
    home::Home,
    mixnode::FRAMING_2021,
    packet::{FinalHopPacket, expect_in_order},
    process::{Process, TcpSocket, tcp_sockets},
    scene::Scene,
};
use nix::sys::signal::Signal;
use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinHandle, time::sleep};
use wire::{framing::FrameHeader, packet::PacketSize, surb_ack::SURB_ACK_LEN};

/// Packets that the mix node sends: more than the gateway may take.
const PACKETS: usize = 3_000;
/// The same of 32 KB.
const LARGE_PACKETS: usize = 1_200;

/// Packets beyond the window that ingress may hold: 32 batches of 16 that wait for the window, 4 for each core that are unwrapped,
/// and what one read brings.
fn beyond_window() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    16 * (32 + 4 * cores + 2)
}

fn frame(packet: &FinalHopPacket) -> Vec<u8> {
    let header = FrameHeader { framing: FRAMING_2021, size: packet.size }.encode();
    [&*header, &packet.packet].concat()
}

/// A mix node that sends at full speed, watched from outside.
struct Torrent {
    frame_len: usize,
    port: u16,
    mix: u16,
    written: Arc<AtomicU64>,
    task: JoinHandle<Result<TcpStream>>,
}

impl Torrent {
    async fn begin(scene: &Scene, packets: &[FinalHopPacket]) -> Result<Self> {
        let frames: Vec<Vec<u8>> = packets.iter().map(frame).collect();
        let frame_len = frames.first().context("there are packets")?.len();
        let mut stream = TcpStream::connect(scene.gateway.mix).await?;
        let (port, written) = (stream.local_addr()?.port(), Arc::new(AtomicU64::new(0)));
        let counted = written.clone();
        let task = tokio::spawn(async move {
            for bytes in frames.concat().chunks(frame_len) {
                let mut bytes = bytes;
                while !bytes.is_empty() {
                    let len = stream.write_buf(&mut bytes).await?;
                    counted.fetch_add(len as u64, Ordering::Relaxed);
                }
            }
            Ok(stream)
        });
        Ok(Self { frame_len, port, mix: scene.gateway.mix.port(), written, task })
    }

    /// Packets that the gateway has read, and whether there are more to read.
    fn read_by_gateway(&self) -> Result<(usize, bool)> {
        let sockets = tcp_sockets()?;
        // By both ports: connections to another address may come from the same port.
        let find = |port, peer| {
            sockets.iter().find(|socket: &&TcpSocket| !socket.listens && (socket.port, socket.peer) == (port, peer))
        };
        let ours = find(self.port, self.mix).context("the mix node's socket")?;
        let theirs = find(self.mix, self.port).context("the gateway's socket")?;
        let under_way = ours.unsent + theirs.unread;
        let read = self.written.load(Ordering::Relaxed).saturating_sub(under_way);
        Ok((usize::try_from(read)? / self.frame_len, theirs.unread > 0))
    }

    /// Waits until the gateway reads no more, although there is more to read, and returns how many packets it has read.
    async fn wait_until_it_is_read_no_more(&self) -> Result<usize> {
        const STILL: Duration = Duration::from_secs(1);
        let still = async {
            let (mut last, mut since) = (0, Instant::now());
            loop {
                let (read, more) = self.read_by_gateway()?;
                if read != last || !more {
                    (last, since) = (read, Instant::now());
                } else if since.elapsed() > STILL {
                    return anyhow::Ok(read);
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        deadline::soon("the gateway to stop reading", still).await?
    }
}

/// The fate of the stopped store.
enum Then {
    GoesOn,
    Dies,
}

/// Has a mix node send at full speed while the store stands still, and checks that what ingress takes is the window of
/// so many `packets` and `bytes`, and that all comes, in order, and is acknowledged later.
async fn expect_window(packets: usize, bytes: usize, size: PacketSize, then: Then) -> Result<()> {
    const GROWTH: u64 = 4 << 20;
    let len = size.plaintext_len() - SURB_ACK_LEN;
    let window = packets.min(bytes / len);
    let home = Home::init(IPV4).await?;
    home.set_config("limits", "packets_in_flight", &packets.to_string())?;
    home.set_config("limits", "bytes_in_flight", &bytes.to_string())?;
    let mut scene = Scene::around(Gateway::start_in(home, &[]).await?, IPV4).await?;
    let client = scene.client().await?.leave().await?;
    let count = if size == PacketSize::Regular { PACKETS } else { LARGE_PACKETS };
    let sent = scene.packets().make_in_parallel_of(size, client.address(), count).await?;
    // What an ingress at work needs, whatever waits.
    let warm_up = scene.send_many(client.address(), 500).await?;
    scene.mixnode.wait_for_acks(&warm_up).await?;

    let (ingress, store): (Process, Process) = (scene.gateway.worker("mix-ingress")?, scene.gateway.worker("store")?);
    let before = ingress.resident()?;
    store.signal(Signal::SIGSTOP)?;
    let torrent = Torrent::begin(&scene, &sent).await?;
    let read = torrent.wait_until_it_is_read_no_more().await?;
    let after = ingress.resident()?;
    eprintln!("window {window}: {read} packets read, ingress {} KiB before, {} KiB after", before >> 10, after >> 10);
    ensure!((window..=window + beyond_window()).contains(&read), "{read} packets were read with a window of {window}");
    ensure!(after <= before + (window * len) as u64 + GROWTH, "ingress grew from {before} to {after} bytes");
    ensure!(scene.mixnode.count_acked(&sent) == 0, "acknowledged by nobody");

    match then {
        Then::GoesOn => store.signal(Signal::SIGCONT)?,
        Then::Dies => {
            scene.gateway.kill_worker("store").await?;
        }
    }
    let _stream = deadline::soon("the mix node to have sent all", torrent.task).await???;
    scene.mixnode.wait_for_acks(&sent).await?;
    let mut returned = client.authenticate(scene.gateway.clients).await?;
    expect_in_order(&returned.next_messages(warm_up.len()).await?, &warm_up)?;
    expect_in_order(&returned.next_messages(count).await?, &sent)?;
    returned.leave().await?;
    scene.gateway.stop(Signal::SIGTERM).await?;
    let counted = counted(&scene.gateway.log().lines(), "mix-ingress", "window_full");
    ensure!(counted >= 1, "it was not counted that the window was full");
    Ok(())
}

/// A sender that keeps to the window never fills it.
#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_is_large_enough_is_never_counted_as_full() -> Result<()> {
    bounded(async {
        let mut scene = Scene::start().await?;
        let client = scene.client().await?.leave().await?;
        let sent = scene.send_many(client.address(), 500).await?;
        scene.mixnode.wait_for_acks(&sent).await?;
        scene.gateway.stop(Signal::SIGTERM).await?;
        let lines = scene.gateway.log().lines();
        ensure!(counted(&lines, "mix-ingress", "acks_paid") == 500);
        ensure!(counted(&lines, "mix-ingress", "window_full") == 0, "the window was full");
        ensure!(counted(&lines, "store", "client_buffers_full") == 0, "a client's buffer was full");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_store_stops_the_reading_at_packets_in_flight() -> Result<()> {
    bounded(async {
        expect_window(100, 20 << 20, PacketSize::Regular, Then::GoesOn).await?;
        expect_window(1_000, 20 << 20, PacketSize::Regular, Then::GoesOn).await
    })
    .await
}

/// The successor of the store gets all packets.
#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_store_stops_the_reading_at_bytes_in_flight() -> Result<()> {
    bounded(expect_window(8_000, 1 << 20, PacketSize::Regular, Then::Dies)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_of_32_kb_are_bounded_in_bytes_on_their_way() -> Result<()> {
    bounded(expect_window(8_000, 4 << 20, PacketSize::Extended32, Then::GoesOn)).await
}
