//! Tests over real TCP on the loopback interface. Every wait for an event has a time limit.

use std::{net::Ipv6Addr, sync::atomic::AtomicU64, time::Duration};

use bytes::Bytes;
use figures::Figures as _;
use ipc::{Opaque, control::OwnAddresses, ports::PortRange};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    time::{sleep, timeout},
};
use wire::{
    framing::{FrameHeader, Framing, FramingChoice},
    packet::PacketSize,
};

use super::*;

mod bounds;
mod connections;
mod draining;

const ACK_HEADER: FrameHeader = FrameHeader { framing: Framing::V7, size: PacketSize::Ack };
const HOUR: Duration = Duration::from_secs(3_600);

pub(crate) fn config() -> EgressConfig {
    EgressConfig {
        connect_timeout: Duration::from_millis(1_500),
        initial_backoff: Duration::from_millis(20),
        maximum_backoff: Duration::from_millis(200),
        queue_packets: 128,
        allow_private: true,
        ports: vec![PortRange::ALL],
        own: OwnAddresses::default(),
        max_next_hops: 1_024,
        framing: FramingChoice::AsGiven,
        queued_bytes: 8 << 30,
    }
}

fn hops(config: EgressConfig) -> (Hops, Arc<EgressCounters>) {
    hops_with(config, Timeouts::default())
}

fn hops_with(config: EgressConfig, timeouts: Timeouts) -> (Hops, Arc<EgressCounters>) {
    let counters = Arc::new(EgressCounters::default());
    (Hops::new(config, timeouts, Arc::clone(&counters)), counters)
}

/// A SURB-ack's frame that carries a number.
fn frame(number: u32) -> OutgoingFrame {
    sized_frame(number, 386)
}

fn sized_frame(number: u32, len: usize) -> OutgoingFrame {
    let mut packet = vec![0; len];
    packet[..4].copy_from_slice(&number.to_be_bytes());
    OutgoingFrame::of_any_length(ACK_HEADER, Bytes::from(packet))
}

fn value(counter: &AtomicU64) -> u64 {
    counter.load(Relaxed)
}

/// The sum of all counters of packets, which must be the number of packets handed over.
fn accounted(counters: &EgressCounters) -> u64 {
    counters
        .snapshot()
        .into_iter()
        .filter(|(name, _)| !["connects_failed", "queued_memory"].contains(name))
        .map(|(_, count)| count)
        .sum()
}

async fn soon<T>(event: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), event).await.expect("it should have happened by now")
}

async fn until(mut condition: impl FnMut() -> bool) {
    soon(async {
        while !condition() {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// A mix node.
struct Node {
    listener: TcpListener,
    address: SocketAddr,
}

impl Node {
    async fn new() -> Self {
        Self::at("127.0.0.1:0").await
    }

    async fn at(address: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        Self { address: listener.local_addr().unwrap(), listener }
    }

    async fn accept(&self) -> TcpStream {
        soon(self.listener.accept()).await.unwrap().0
    }
}

/// A port at which nobody listens, and which stays taken.
fn deaf_socket() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// The number of the next packet.
async fn read_packet(stream: &mut TcpStream) -> u32 {
    let mut wire = [0; 389];
    soon(stream.read_exact(&mut wire)).await.unwrap();
    assert_eq!(wire[..3], [7, 2, 0]);
    u32::from_be_bytes(wire[3..7].try_into().unwrap())
}

async fn has_ended(stream: &mut TcpStream) -> bool {
    matches!(soon(stream.read(&mut [0; 1])).await, Ok(0) | Err(_))
}
