//! What may be wrong with a gateway, played by a relay between it and those who use it: a test sees by that whether it is judged.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, Result};
use bytes::{Bytes, BytesMut};
use harness::{addrs::Addrs, process::Process};
use nix::sys::signal::Signal;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::{JoinHandle, JoinSet},
};
use wire::framing::FrameBuffer;

/// Every so many packets of a connection one is spoiled.
const EVERY: usize = 50;
/// When `mix-egress` stops reading, and for how long, so that a surge finds it deaf.
const DEAF_AFTER: Duration = Duration::from_secs(2);
const DEAF_FOR: Duration = Duration::from_secs(8);

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// A connection over which SURB-acks come ends in the middle of one.
    TornAck,
    /// A SURB-ack does not come.
    LostAck,
    /// A SURB-ack has another last byte.
    ChangedAck,
    /// A mix node's connection is closed.
    ClosedConnection,
    /// A packet is dropped in silence.
    LostPacket,
    /// Of two messages for a client the later comes first.
    TurnedOrder,
    /// `mix-egress` takes nothing for a while.
    DeafEgress,
}

/// Whose connections are spoiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Acks,
    MixNodes,
    Clients,
}

impl Flaw {
    const ALL: [Self; 7] = [
        Self::TornAck,
        Self::LostAck,
        Self::ChangedAck,
        Self::ClosedConnection,
        Self::LostPacket,
        Self::TurnedOrder,
        Self::DeafEgress,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::TornAck => "torn-ack",
            Self::LostAck => "lost-ack",
            Self::ChangedAck => "changed-ack",
            Self::ClosedConnection => "closed-connection",
            Self::LostPacket => "lost-packet",
            Self::TurnedOrder => "turned-order",
            Self::DeafEgress => "deaf-egress",
        }
    }

    /// The flaw of this name.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn named(name: &str) -> Result<Self> {
        let known = || Self::ALL.map(Self::name).join(", ");
        let flaw = Self::ALL.into_iter().find(|flaw| flaw.name() == name);
        flaw.with_context(|| format!("no flaw is called {name:?}; there are {}", known()))
    }

    const fn side(self) -> Option<Side> {
        match self {
            Self::TornAck | Self::LostAck | Self::ChangedAck => Some(Side::Acks),
            Self::ClosedConnection | Self::LostPacket => Some(Side::MixNodes),
            Self::TurnedOrder => Some(Side::Clients),
            Self::DeafEgress => None,
        }
    }
}

/// Where the gateway is for those who use it, and where SURB-acks go: a relay stands before one of the three at the most.
pub(crate) struct Relays {
    /// The gateway.
    pub(crate) addrs: watch::Sender<Addrs>,
    /// Where SURB-acks go.
    pub(crate) acks: SocketAddr,
    _working: JoinSet<()>,
}

impl Relays {
    /// Around a gateway at `addrs`, whose SURB-acks go to `acks`.
    ///
    /// # Errors
    /// If there is no port.
    pub(crate) async fn around(
        ip: IpAddr,
        mut addrs: watch::Receiver<Addrs>,
        acks: SocketAddr,
        flaw: Option<Flaw>,
    ) -> Result<Self> {
        let listener = TcpListener::bind((ip, 0)).await?;
        let (relay, side) = (listener.local_addr()?, flaw.and_then(Flaw::side));
        let seen = move |addrs: Addrs| match side {
            Some(Side::MixNodes) => Addrs { mix: relay, ..addrs },
            Some(Side::Clients) => Addrs { clients: relay, ..addrs },
            _ => addrs,
        };
        let shown = watch::Sender::new(seen(*addrs.borrow()));
        let mut working = JoinSet::new();
        let (show, mut moved) = (shown.clone(), addrs.clone());
        working.spawn(async move {
            while moved.changed().await.is_ok() {
                show.send_replace(seen(*moved.borrow_and_update()));
            }
        });
        if let (Some(flaw), Some(side)) = (flaw, side) {
            working.spawn(async move {
                let mut ways = JoinSet::new();
                while let Ok((from, _)) = listener.accept().await {
                    let gateway = *addrs.borrow_and_update();
                    let to = match side {
                        Side::Acks => acks,
                        Side::MixNodes => gateway.mix,
                        Side::Clients => gateway.clients,
                    };
                    ways.spawn(carry(from, to, flaw));
                }
            });
        }
        let acks = if side == Some(Side::Acks) { relay } else { acks };
        Ok(Self { addrs: shown, acks, _working: working })
    }
}

/// Stops a process for a while, without a note in the oracle.
pub(crate) fn deafen(egress: Process) -> JoinHandle<()> {
    tokio::spawn(async move {
        tokio::time::sleep(DEAF_AFTER).await;
        let stopped = egress.signal(Signal::SIGSTOP);
        tokio::time::sleep(DEAF_FOR).await;
        // One that is gone is none to go on.
        let _ = stopped.and_then(|()| egress.signal(Signal::SIGCONT));
    })
}

/// Carries a connection, until either side ends.
async fn carry(from: TcpStream, to: SocketAddr, flaw: Flaw) {
    let Ok(to) = TcpStream::connect(to).await else { return };
    let ((asks, hears), (answers, is_asked)) = (from.into_split(), to.into_split());
    let (forth, back) =
        (pass(asks, is_asked, flaw, flaw != Flaw::TurnedOrder), pass(answers, hears, flaw, flaw == Flaw::TurnedOrder));
    // When one end closes, both see it.
    tokio::select! {
        _ = forth => {}
        _ = back => {}
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, flaw: Flaw, is_spoiled: bool) -> io::Result<()> {
    match (is_spoiled, flaw) {
        (false, _) => tokio::io::copy(&mut from, &mut to).await.map(|_| ()),
        (true, Flaw::TurnedOrder) => turn_order(from, to).await,
        (true, _) => spoil_packets(from, to, flaw).await,
    }
}

async fn spoil_packets(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, flaw: Flaw) -> io::Result<()> {
    let (mut frames, mut passed) = (FrameBuffer::new(), 0_usize);
    while from.read_buf(&mut frames.space()).await? > 0 {
        while let Some((header, packet)) = frames.next_frame().map_err(io::Error::other)? {
            let mut frame = [&*header.encode(), &packet].concat();
            passed += 1;
            if passed.is_multiple_of(EVERY) {
                match flaw {
                    Flaw::LostAck | Flaw::LostPacket => continue,
                    Flaw::ClosedConnection => return Ok(()),
                    Flaw::TornAck => {
                        frame.truncate(frame.len() / 2);
                        return to.write_all(&frame).await;
                    }
                    _ => frame.last_mut().into_iter().for_each(|last| *last ^= 1),
                }
            }
            to.write_all(&frame).await?;
        }
    }
    Ok(())
}

/// Once in each session, turns two messages around that come together.
async fn turn_order(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
    const FINAL_BINARY: u8 = 0x82;
    let (mut unread, mut is_upgraded, mut is_turned) = (BytesMut::new(), false, false);
    while from.read_buf(&mut unread).await? > 0 {
        if !is_upgraded {
            let Some(end) = unread.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
            to.write_all(&unread.split_to(end + 4)).await?;
            is_upgraded = true;
        }
        let mut frames: Vec<Bytes> = Vec::new();
        while let Some(len) = frame_len(&unread).filter(|len| *len <= unread.len()) {
            frames.push(unread.split_to(len).freeze());
        }
        let is_message = |frame: &Bytes| frame.first() == Some(&FINAL_BINARY);
        let pair = frames.windows(2).position(|pair| pair.iter().all(is_message)).filter(|_| !is_turned);
        if let Some(at) = pair {
            frames.swap(at, at + 1);
            is_turned = true;
        }
        to.write_all(&frames.concat()).await?;
    }
    Ok(())
}

/// The length of the frame with which these bytes begin, if that much of it is there. What a gateway sends is not masked.
fn frame_len(bytes: &[u8]) -> Option<usize> {
    Some(match bytes.get(1)? {
        126 => 4 + usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)),
        127 => 10 + usize::try_from(u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?)).ok()?,
        short => 2 + usize::from(*short),
    })
}
