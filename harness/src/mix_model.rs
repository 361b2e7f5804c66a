//! The mix nodes: one of 2021 and one of today. Each sends steadily on one connection, and in surges, and opens another
//! when it breaks. Now and then it sends a packet of before once more, which is to be dropped.

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rand::{rngs::StdRng, seq::IteratorRandom};
use tokio::{net::TcpSocket, sync::watch};
use wire::{framing::Framing, packet::PacketSize};

use crate::{
    addrs::Addrs,
    deadline,
    mix_model::surge::{Stock, Surges},
    mixnode::MixSender,
    oracle::{Inbox, Oracle, Stream},
    packet::{FinalHopPacket, PacketMaker},
    source,
};

mod packets;
pub mod surge;

pub use packets::{Addressee, Kind, make};

/// Packets leave in small bursts, as often as this.
const BEAT: Duration = Duration::from_millis(20);
/// The pause before another connection is tried.
const BEFORE_RETRY: Duration = Duration::from_millis(50);
/// Of so many packets one is kept to be sent again, and after so many one is sent again.
const KEEP_EVERY: u64 = 8;
const REPLAY_EVERY: u64 = 16;
const KEPT: usize = 1_024;
/// Bytes that may wait in the kernel, where the model cannot see whether the gateway takes them.
const ROOM: u32 = 1 << 16;
/// A gateway whose `store` dies again and again takes nothing for half a minute, and closes no connection.
const PATIENCE: Duration = Duration::from_secs(90);
const MADE_UP: Duration = Duration::from_secs(1);

/// All clients. Grows as clients register.
pub type Addressees = watch::Receiver<Vec<Addressee>>;

/// Numbers of connections.
static STREAMS: AtomicU64 = AtomicU64::new(0);

/// How much a mix node sends.
#[derive(Debug, Clone)]
pub struct Load {
    /// Packets per second.
    pub per_second: u32,
    /// To be told of surges, if there are to be any.
    pub surges: Option<Arc<Surges>>,
}

/// A mix node.
pub struct MixModel {
    kind: Kind,
    maker: PacketMaker,
    oracle: Arc<Oracle>,
    to: Addressees,
    addrs: watch::Receiver<Addrs>,
    connected: Option<(MixSender, Stream)>,
    /// Where it connects from, if that is not left to the kernel.
    source: Option<IpAddr>,
    sent: u64,
    kept: VecDeque<(Framing, FinalHopPacket)>,
    random: StdRng,
}

impl MixModel {
    /// A mix node that is not connected yet.
    pub fn new(
        kind: Kind,
        maker: PacketMaker,
        oracle: Arc<Oracle>,
        to: Addressees,
        addrs: watch::Receiver<Addrs>,
    ) -> Self {
        let (kept, random) = (VecDeque::new(), rand::make_rng());
        Self { kind, maker, oracle, to, addrs, connected: None, source: None, sent: 0, kept, random }
    }

    /// Has it connect from this address.
    #[must_use]
    pub fn coming_from(self, source: IpAddr) -> Self {
        Self { source: Some(source), ..self }
    }

    /// Sends to everybody in turn, until told to stop.
    ///
    /// # Errors
    /// If a packet cannot be made.
    pub async fn work(mut self, load: Load, mut stop: watch::Receiver<bool>) -> Result<()> {
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut stock = load.surges.map(|surges| (surges, Stock::new(self.kind, self.maker)));
        let mut owed = 0.0;
        let mut last = Instant::now();
        while !*stop.borrow_and_update() {
            beat.tick().await;
            let everybody = self.to.borrow().clone();
            if let Some((surges, stock)) = &mut stock
                && stock.is_due(&everybody).await?
            {
                self.surge(stock, surges, &stop).await;
                last = Instant::now();
            }
            // What could not be sent for longer than this is left out.
            owed += f64::from(load.per_second) * last.elapsed().min(MADE_UP).as_secs_f64();
            last = Instant::now();
            while owed >= 1.0 && !*stop.borrow() {
                owed -= 1.0;
                let turn = usize::try_from(self.sent)? % everybody.len().max(1);
                let to = everybody.get(turn).context("there is nobody to send to")?;
                let size = self.kind.size_of(self.sent);
                self.connect(&stop).await;
                let (framing, packet) = make(self.kind, self.maker, to.address, size)?;
                self.send(to.inbox, framing, packet).await;
            }
        }
        Ok(())
    }

    /// Sends from stock as fast as the gateway takes it.
    async fn surge(&mut self, stock: &mut Stock, surges: &Surges, stop: &watch::Receiver<bool>) {
        let (number, begin) = (stock.begin(), Instant::now());
        let mut packets = 0;
        while begin.elapsed() < surge::LASTS && !*stop.borrow() {
            let Some((inbox, framing, packet)) = stock.next_packet() else { break };
            self.connect(stop).await;
            self.send(inbox, framing, packet).await;
            packets += 1;
        }
        surges.note(number, begin, packets);
    }

    async fn connect(&mut self, stop: &watch::Receiver<bool>) {
        while self.connected.is_none() && !*stop.borrow() {
            let mix = self.addrs.borrow().mix;
            match connect(self.source, mix).await {
                Ok(sender) => self.connected = Some((sender, STREAMS.fetch_add(1, Ordering::Relaxed))),
                Err(refused) => {
                    self.oracle.turned_away(format!("a mix node: {}", refused.root_cause()));
                    tokio::time::sleep(BEFORE_RETRY).await;
                }
            }
        }
    }

    async fn send(&mut self, inbox: Inbox, framing: Framing, packet: FinalHopPacket) {
        self.sent += 1;
        let Some((sender, stream)) = &mut self.connected else { return };
        self.oracle.sending(inbox, *stream, &packet);
        let mut outcome = sender.send_framed(framing, packet.size, &packet.packet).await;
        if self.sent.is_multiple_of(REPLAY_EVERY)
            && let Some((framing, packet)) = self.kept.iter().choose(&mut self.random)
        {
            self.oracle.replaying(packet);
            outcome = sender.send_framed(*framing, packet.size, &packet.packet).await;
        }
        if outcome.is_err() {
            self.oracle.turned_away("a mix node's connection was closed".into());
            self.oracle.cut(*stream);
            self.connected = None;
        }
        if self.sent.is_multiple_of(KEEP_EVERY) && packet.size == PacketSize::Regular {
            self.kept.truncate(KEPT - 1);
            self.kept.push_front((framing, packet));
        }
    }
}

/// Connects with little room for what the gateway has not taken yet.
async fn connect(source: Option<IpAddr>, mix: SocketAddr) -> Result<MixSender> {
    let socket = match source {
        Some(source) => source::socket(source)?,
        None if mix.is_ipv6() => TcpSocket::new_v6()?,
        None => TcpSocket::new_v4()?,
    };
    socket.set_send_buffer_size(ROOM)?;
    socket.set_nodelay(true)?;
    let stream = deadline::soon("a connection to the mixnet port", socket.connect(mix)).await??;
    Ok(MixSender::on(stream).with_patience(PATIENCE))
}

/// Sends one packet of 2021 on a connection of its own, from this address if there is one, and returns it.
///
/// # Errors
/// If the gateway does not take it.
pub async fn send_one(
    maker: PacketMaker,
    oracle: &Oracle,
    to: Addressee,
    source: Option<IpAddr>,
    mix: SocketAddr,
) -> Result<FinalHopPacket> {
    let (framing, packet) = make(Kind::Of2021, maker, to.address, PacketSize::Regular)?;
    oracle.sending(to.inbox, STREAMS.fetch_add(1, Ordering::Relaxed), &packet);
    connect(source, mix).await?.send_framed(framing, packet.size, &packet.packet).await?;
    Ok(packet)
}
