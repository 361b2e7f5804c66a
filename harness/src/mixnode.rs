//! A mix node as the gateway's neighbour: it sends packets, and collects what the gateway sends, SURB-acks above all.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use sphinx_01::crypto::{PrivateKey, PublicKey};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};
use wire::{
    framing::{FrameBuffer, FrameHeader, Framing},
    packet::{PacketSize, PacketType},
};

use crate::{
    deadline,
    packet::{AckId, FinalHopPacket, PacketMaker, unwrap_final_hop},
};

/// The header of 2021, for a packet to be delayed as usual.
pub const FRAMING_2021: Framing = Framing::Unversioned(PacketType::Mix);

/// What the gateway sent in one frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedFrame {
    /// The header, as it came.
    pub header: Vec<u8>,
    /// The Sphinx packet.
    pub packet: Vec<u8>,
}

#[derive(Debug, Default)]
struct Received {
    frames: Vec<ReceivedFrame>,
    times_seen: HashMap<Vec<u8>, usize>,
    faults: Vec<String>,
}

/// A listener that collects frames. Ends with its value.
#[derive(Debug)]
pub struct MixNode {
    /// Where it listens.
    pub address: SocketAddr,
    secret: Arc<PrivateKeyHolder>,
    public: [u8; 32],
    received: Arc<Mutex<Received>>,
    changed: watch::Receiver<usize>,
    accepting: JoinHandle<()>,
}

struct PrivateKeyHolder(PrivateKey);

impl std::fmt::Debug for PrivateKeyHolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PrivateKey")
    }
}

impl MixNode {
    /// Listens on a free port.
    ///
    /// # Errors
    /// If there is none.
    pub async fn start(ip: IpAddr) -> Result<Self> {
        let listener = TcpListener::bind((ip, 0)).await.with_context(|| format!("a mix node cannot listen on {ip}"))?;
        let address = listener.local_addr()?;
        let secret = PrivateKey::new();
        let public = *PublicKey::from(&secret).as_bytes();
        let received = Arc::new(Mutex::new(Received::default()));
        let (tell, changed) = watch::channel(0);
        let accepting = tokio::spawn(accept(listener, received.clone(), Arc::new(tell)));
        Ok(Self { address, secret: Arc::new(PrivateKeyHolder(secret)), public, received, changed, accepting })
    }

    /// Makes packets whose SURB-acks come here.
    pub fn packet_maker(&self, gateway_sphinx_key: [u8; 32]) -> PacketMaker {
        PacketMaker { gateway: gateway_sphinx_key, ack_hop: self.address, ack_key: self.public }
    }

    fn received(&self) -> MutexGuard<'_, Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything that has come so far, in order of arrival.
    pub fn frames(&self) -> Vec<ReceivedFrame> {
        self.received().frames.clone()
    }

    /// Connections that carried something else than frames.
    pub fn faults(&self) -> Vec<String> {
        self.received().faults.clone()
    }

    /// Whether the packet's SURB-ack has come.
    pub fn has_ack(&self, packet: &FinalHopPacket) -> bool {
        self.times_acked(packet) > 0
    }

    /// How many times the packet's SURB-ack has come.
    pub fn times_acked(&self, packet: &FinalHopPacket) -> usize {
        let received = self.received();
        packet.surb_ack.as_ref().and_then(|ack| received.times_seen.get(&ack.packet)).copied().unwrap_or(0)
    }

    /// How many of these have been acknowledged.
    pub fn count_acked(&self, packets: &[FinalHopPacket]) -> usize {
        packets.iter().filter(|packet| self.has_ack(packet)).count()
    }

    /// What a SURB-ack for this mix node says.
    ///
    /// # Errors
    /// If the packet was not made for this mix node.
    pub fn open_ack(&self, packet: &[u8]) -> Result<AckId> {
        let plaintext = unwrap_final_hop(packet, &self.secret.0)?;
        plaintext.try_into().map_err(|other: Vec<u8>| anyhow::anyhow!("an ack of {} bytes", other.len()))
    }

    /// Waits until every one of these has been acknowledged.
    ///
    /// # Errors
    /// If it takes too long.
    pub async fn wait_for_acks(&self, packets: &[FinalHopPacket]) -> Result<()> {
        let mut changed = self.changed.clone();
        let complete = changed.wait_for(|_| packets.iter().all(|packet| self.has_ack(packet)));
        let outcome = tokio::time::timeout(deadline::SOON, complete).await.map(|changed| changed.is_ok());
        match outcome {
            Ok(true) => Ok(()),
            _ => bail!("{} of {} packets were acknowledged in time", self.count_acked(packets), packets.len()),
        }
    }

    /// Waits until at least `count` frames have come in all.
    ///
    /// # Errors
    /// If it takes too long.
    pub async fn wait_for_frames(&self, count: usize) -> Result<Vec<ReceivedFrame>> {
        let mut changed = self.changed.clone();
        let what = format!("{count} frames at the mix node");
        deadline::soon(&what, changed.wait_for(|frames| *frames >= count)).await??;
        Ok(self.frames())
    }

    /// Waits for the frame that carries exactly this packet.
    ///
    /// # Errors
    /// If it takes too long.
    pub async fn wait_for_packet(&self, packet: &[u8]) -> Result<ReceivedFrame> {
        let find = || self.received().frames.iter().find(|frame| frame.packet == packet).cloned();
        let mut changed = self.changed.clone();
        deadline::soon("a packet at the mix node", changed.wait_for(|_| find().is_some())).await??;
        find().context("a packet that came is gone")
    }
}

impl Drop for MixNode {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, received: Arc<Mutex<Received>>, tell: Arc<watch::Sender<usize>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(collect(stream, received.clone(), tell.clone()));
    }
}

async fn collect(mut stream: TcpStream, received: Arc<Mutex<Received>>, tell: Arc<watch::Sender<usize>>) {
    let mut frames = FrameBuffer::new();
    loop {
        let read = { stream.read_buf(&mut frames.space()).await };
        if !matches!(read, Ok(1..)) {
            return;
        }
        loop {
            let next = frames.next_frame();
            let mut received = received.lock().unwrap_or_else(PoisonError::into_inner);
            match next {
                Ok(Some((header, packet))) => {
                    let packet = packet.to_vec();
                    *received.times_seen.entry(packet.clone()).or_default() += 1;
                    received.frames.push(ReceivedFrame { header: header.encode().to_vec(), packet });
                }
                Ok(None) => break,
                Err(error) => {
                    received.faults.push(error.to_string());
                    return;
                }
            }
        }
        let count = received.lock().unwrap_or_else(PoisonError::into_inner).frames.len();
        tell.send_replace(count);
    }
}

/// A mix node's connection to the gateway. It only ever writes.
#[derive(Debug)]
pub struct MixSender {
    stream: TcpStream,
    /// How long the gateway may take nothing.
    patience: Duration,
}

impl MixSender {
    /// Connects to the gateway's mixnet port.
    ///
    /// # Errors
    /// If nothing listens there.
    pub async fn connect(gateway: SocketAddr) -> Result<Self> {
        let connect = deadline::soon("a connection to the mixnet port", TcpStream::connect(gateway)).await?;
        let stream = connect.with_context(|| format!("cannot connect to the mixnet port at {gateway}"))?;
        stream.set_nodelay(true)?;
        Ok(Self::on(stream))
    }

    /// Takes a connection that is there.
    pub const fn on(stream: TcpStream) -> Self {
        Self { stream, patience: deadline::SOON }
    }

    /// Waits so long until the gateway takes a frame.
    pub const fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Sends one packet with the header of 2021.
    ///
    /// # Errors
    /// If the connection is broken.
    pub async fn send(&mut self, packet: &FinalHopPacket) -> Result<()> {
        self.send_framed(FRAMING_2021, packet.size, &packet.packet).await
    }

    /// Sends packets with the header of 2021, in order.
    ///
    /// # Errors
    /// If the connection is broken.
    pub async fn send_all(&mut self, packets: &[FinalHopPacket]) -> Result<()> {
        for packet in packets {
            self.send(packet).await?;
        }
        Ok(())
    }

    /// Sends one packet with any header.
    ///
    /// # Errors
    /// If the connection is broken.
    pub async fn send_framed(&mut self, framing: Framing, size: PacketSize, packet: &[u8]) -> Result<()> {
        let header = FrameHeader { framing, size }.encode();
        self.send_raw(&[&*header, packet].concat()).await
    }

    /// Sends any bytes.
    ///
    /// # Errors
    /// If the connection is broken.
    pub async fn send_raw(&mut self, bytes: &[u8]) -> Result<()> {
        deadline::within(self.patience, "the mixnet port to take a frame", self.stream.write_all(bytes)).await??;
        Ok(())
    }

    /// Waits until the gateway closes the connection.
    ///
    /// # Errors
    /// If it does not, or says something: mix nodes are never answered.
    pub async fn wait_until_closed(&mut self) -> Result<()> {
        let mut said = [0; 16];
        match deadline::soon("the gateway to close a mix connection", self.stream.read(&mut said)).await? {
            Ok(0) | Err(_) => Ok(()),
            Ok(count) => bail!("the mixnet port answered with {count} bytes"),
        }
    }
}
