//! Where all SURB-acks go: a mix node that enters them into the oracle.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Result;
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use wire::framing::FrameBuffer;

use crate::{
    oracle::{Link, Oracle},
    packet::PacketMaker,
};

/// Numbers of connections.
static LINKS: AtomicU64 = AtomicU64::new(0);

/// Where acks go.
pub struct AckPort {
    address: SocketAddr,
    _accepting: JoinSet<()>,
}

impl AckPort {
    /// Listens on a free port of this address.
    ///
    /// # Errors
    /// If there is none.
    pub async fn start(ip: IpAddr, oracle: Arc<Oracle>) -> Result<Self> {
        let listener = TcpListener::bind((ip, 0)).await?;
        let address = listener.local_addr()?;
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(collect(stream, LINKS.fetch_add(1, Ordering::Relaxed), oracle.clone()));
            }
        });
        Ok(Self { address, _accepting: accepting })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes packets whose acks come here.
    pub fn packet_maker(&self, gateway_sphinx_key: [u8; 32]) -> PacketMaker {
        // The acks are never opened, so any key will do at their last hop.
        PacketMaker { gateway: gateway_sphinx_key, ack_hop: self.address, ack_key: ACK_KEY }
    }
}

/// The base point of the curve, which is a public key like any other.
const ACK_KEY: [u8; 32] = {
    let mut key = [0; 32];
    key[0] = 9;
    key
};

async fn collect(mut stream: TcpStream, link: Link, oracle: Arc<Oracle>) {
    let mut frames = FrameBuffer::new();
    while matches!(stream.read_buf(&mut frames.space()).await, Ok(1..)) {
        loop {
            match frames.next_frame() {
                Ok(Some((_, packet))) => oracle.acked(link, &packet),
                Ok(None) => break,
                Err(wrong) => return oracle.sent_garbage(&wrong.to_string()),
            }
        }
    }
    if frames.holds_partial_frame() {
        oracle.acked_in_part(frames.partial_len());
    }
}
