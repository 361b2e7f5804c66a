//! The mix nodes: one of 2021 and one of today. Each sends steadily on one connection, opens another when it breaks, and enters
//! the acks that come back into the books. Now and then it sends a packet of before once more, which is to be dropped.

use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use proto::{
    address::ClientAddress,
    wire::{
        framing::{FrameBuffer, Framing},
        packet::PacketSize,
    },
};
use rand::{rngs::StdRng, seq::IteratorRandom};
use tests::{
    mixnode::{FRAMING_2021, MixSender},
    packet::{FinalHopPacket, PacketMaker},
    packet_today::PacketMakerToday,
};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

use crate::{
    books::{Books, Inbox, Stream},
    place::Place,
};

/// Packets leave in small bursts, as often as this.
const BEAT: Duration = Duration::from_millis(20);
/// Before another connection is tried.
const BEFORE_RETRY: Duration = Duration::from_millis(50);
/// Every so many packets one is of the largest size.
const LARGE_EVERY: u64 = 40;
/// Of so many packets one is kept to be sent again, and after so many one is sent again.
const KEEP_EVERY: u64 = 8;
const REPLAY_EVERY: u64 = 16;
const KEPT: usize = 1_024;
const MADE_UP: Duration = Duration::from_secs(1);
const NEWEST_SPHINX: u16 = 260;

/// Who may be sent something: grows as clients register.
pub(crate) type Addressees = watch::Receiver<Vec<(Inbox, ClientAddress)>>;

/// Numbers of connections.
static STREAMS: AtomicU64 = AtomicU64::new(0);

/// Where acks go.
pub(crate) struct AckPort {
    address: SocketAddr,
    _accepting: JoinSet<()>,
}

impl AckPort {
    /// Listens on a free port.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) async fn start(books: Arc<Books>) -> Result<Self> {
        let listener = TcpListener::bind((IpAddr::V4(Ipv4Addr::LOCALHOST), 0)).await?;
        let address = listener.local_addr()?;
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(collect(stream, books.clone()));
            }
        });
        Ok(Self { address, _accepting: accepting })
    }

    /// Makes packets whose acks come here.
    pub(crate) fn packet_maker(&self, gateway_sphinx_key: [u8; 32]) -> PacketMaker {
        // Nobody opens the acks, so the key at their last hop is anybody's.
        PacketMaker { gateway: gateway_sphinx_key, ack_hop: self.address, ack_key: ACK_KEY }
    }
}

/// The base point of the curve, which is a public key like any other.
const ACK_KEY: [u8; 32] = {
    let mut key = [0; 32];
    key[0] = 9;
    key
};

async fn collect(mut stream: TcpStream, books: Arc<Books>) {
    let mut frames = FrameBuffer::new();
    while matches!(stream.read_buf(&mut frames.space()).await, Ok(1..)) {
        while let Ok(Some((_, packet))) = frames.next_frame() {
            books.acked(&packet);
        }
    }
}

/// How a mix node makes and frames its packets.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// As in 2021.
    Of2021,
    /// As today.
    OfToday,
}

/// A mix node.
pub(crate) struct MixNode {
    kind: Kind,
    maker: PacketMaker,
    books: Arc<Books>,
    connected: Option<(MixSender, Stream)>,
    sent: u64,
    kept: VecDeque<(Framing, FinalHopPacket)>,
    random: StdRng,
}

impl MixNode {
    /// One that is not connected yet.
    pub(crate) fn new(kind: Kind, maker: PacketMaker, books: Arc<Books>) -> Self {
        let (kept, random) = (VecDeque::new(), rand::make_rng());
        Self { kind, maker, books, connected: None, sent: 0, kept, random }
    }

    /// Sends so many packets per second, to everybody in turn, until told to stop.
    ///
    /// # Errors
    /// If a packet cannot be made.
    pub(crate) async fn send_steadily(
        mut self,
        per_second: u32,
        to: Addressees,
        place: watch::Receiver<Place>,
        mut stop: watch::Receiver<bool>,
    ) -> Result<Self> {
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut owed = 0.0;
        let mut last = Instant::now();
        while !*stop.borrow_and_update() {
            beat.tick().await;
            // What could not be sent for longer than this is not made up for.
            owed += f64::from(per_second) * last.elapsed().min(MADE_UP).as_secs_f64();
            last = Instant::now();
            while owed >= 1.0 && !*stop.borrow() {
                owed -= 1.0;
                let to = {
                    let to = to.borrow();
                    let turn = usize::try_from(self.sent)? % to.len().max(1);
                    to.get(turn).copied().context("there is nobody to send to")?
                };
                self.connect(&place, &stop).await;
                self.send(to).await?;
            }
        }
        Ok(self)
    }

    async fn connect(&mut self, place: &watch::Receiver<Place>, stop: &watch::Receiver<bool>) {
        while self.connected.is_none() && !*stop.borrow() {
            let mix = place.borrow().mix;
            match MixSender::connect(mix).await {
                Ok(sender) => self.connected = Some((sender, STREAMS.fetch_add(1, Ordering::Relaxed))),
                Err(_) => tokio::time::sleep(BEFORE_RETRY).await,
            }
        }
    }

    async fn send(&mut self, (inbox, to): (Inbox, ClientAddress)) -> Result<()> {
        self.sent += 1;
        let size = if self.sent.is_multiple_of(LARGE_EVERY) { PacketSize::Extended32 } else { PacketSize::Regular };
        let Some((sender, stream)) = &mut self.connected else { return Ok(()) };
        let (framing, packet) = make(self.kind, self.maker, to, size)?;
        self.books.sending(inbox, *stream, &packet);
        let mut outcome = sender.send_framed(framing, size, &packet.packet).await;
        if self.sent.is_multiple_of(REPLAY_EVERY)
            && let Some((framing, packet)) = self.kept.iter().choose(&mut self.random)
        {
            self.books.replaying(packet);
            outcome = sender.send_framed(*framing, packet.size, &packet.packet).await;
        }
        if outcome.is_err() {
            self.connected = None;
        }
        if self.sent.is_multiple_of(KEEP_EVERY) && size == PacketSize::Regular {
            self.kept.truncate(KEPT - 1);
            self.kept.push_front((framing, packet));
        }
        Ok(())
    }
}

/// Sends one packet of 2021 on a connection of its own, and returns it.
///
/// # Errors
/// If the gateway does not take it.
pub(crate) async fn send_one(
    maker: PacketMaker,
    books: &Books,
    (inbox, to): (Inbox, ClientAddress),
    mix: SocketAddr,
) -> Result<FinalHopPacket> {
    let (framing, packet) = make(Kind::Of2021, maker, to, PacketSize::Regular)?;
    books.sending(inbox, STREAMS.fetch_add(1, Ordering::Relaxed), &packet);
    MixSender::connect(mix).await?.send_framed(framing, packet.size, &packet.packet).await?;
    Ok(packet)
}

fn make(kind: Kind, maker: PacketMaker, to: ClientAddress, size: PacketSize) -> Result<(Framing, FinalHopPacket)> {
    Ok(match kind {
        Kind::Of2021 => (FRAMING_2021, maker.make(to, size)?),
        Kind::OfToday => (Framing::V7, PacketMakerToday::like(maker, NEWEST_SPHINX).make(to, size)?),
    })
}
