//! The mix node to which all SURB-acks go: it keeps them, and knows when the last one came.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Result;
use bytes::Bytes;
use harness::packet::FinalHopPacket;
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};
use wire::framing::FrameBuffer;

/// Acks that have not come this long after the one before them never will.
const STALL: Duration = Duration::from_secs(5);

/// Collects acks. Ends with its value.
pub(crate) struct AckCollector {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    collected: Arc<Mutex<Collected>>,
    count: watch::Receiver<usize>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Collected {
    packets: Vec<(Bytes, Instant)>,
    last: Option<Instant>,
}

impl AckCollector {
    /// Listens on a free port.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let collected = Arc::new(Mutex::new(Collected::default()));
        let (tell, count) = watch::channel(0);
        let accepting = tokio::spawn(accept(listener, collected.clone(), tell));
        Ok(Self { address, collected, count, accepting })
    }

    /// Forgets what came so far.
    pub(crate) fn clear(&self) {
        *lock(&self.collected) = Collected::default();
    }

    /// Waits for as many acks as there are packets, or until no more come. Says when the last one came.
    pub(crate) async fn wait_for(&self, packets: usize) -> Option<Instant> {
        let mut count = self.count.clone();
        while lock(&self.collected).packets.len() < packets {
            if tokio::time::timeout(STALL, count.changed()).await.is_err() {
                break;
            }
        }
        lock(&self.collected).last
    }

    /// When the ack of each of these packets came, if it did.
    pub(crate) fn arrivals(&self, packets: &[FinalHopPacket]) -> Vec<Option<Instant>> {
        let collected = lock(&self.collected);
        let arrived: HashMap<&[u8], Instant> = collected.packets.iter().map(|(ack, at)| (ack.as_ref(), *at)).collect();
        let ack = |packet: &FinalHopPacket| arrived.get(packet.surb_ack.as_ref()?.packet.as_slice()).copied();
        packets.iter().map(ack).collect()
    }

    /// What is wrong with the acks that came since the last [`clear`](Self::clear), if these packets were sent.
    pub(crate) fn faults(&self, packets: &[FinalHopPacket]) -> Vec<String> {
        let collected = lock(&self.collected);
        let mut seen: HashMap<&[u8], usize> = HashMap::new();
        for (ack, _) in &collected.packets {
            *seen.entry(ack).or_default() += 1;
        }
        let acks = packets.iter().filter_map(|packet| packet.surb_ack.as_ref());
        let acked = acks.filter(|ack| seen.get(ack.packet.as_slice()) == Some(&1)).count();
        if acked == packets.len() && collected.packets.len() == packets.len() {
            return Vec::new();
        }
        let frames = collected.packets.len();
        vec![format!("{acked} of {} packets were acknowledged exactly once ({frames} frames came)", packets.len())]
    }
}

impl Drop for AckCollector {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn lock(collected: &Mutex<Collected>) -> MutexGuard<'_, Collected> {
    collected.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, collected: Arc<Mutex<Collected>>, tell: watch::Sender<usize>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(collect(stream, collected.clone(), tell.clone()));
    }
}

async fn collect(mut stream: TcpStream, collected: Arc<Mutex<Collected>>, tell: watch::Sender<usize>) {
    let mut frames = FrameBuffer::new();
    while matches!(stream.read_buf(&mut frames.space()).await, Ok(1..)) {
        let count = {
            let mut collected = lock(&collected);
            while let Ok(Some((_, packet))) = frames.next_frame() {
                collected.packets.push((packet, Instant::now()));
            }
            collected.last = Some(Instant::now());
            collected.packets.len()
        };
        tell.send_replace(count);
    }
}
