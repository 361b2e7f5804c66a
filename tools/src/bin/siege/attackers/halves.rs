//! Wants memory and time: half of something is kept until the other half comes.
//!
//! Spends websocket messages of 64 KiB that lack their last byte, before a login and after one, and mix frames that lack a part,
//! each on a connection of its own, and opens another when one is closed.
//!
//! Succeeds if a half is kept for longer than the gateway waits for a whole.

use std::{net::IpAddr, time::Instant};

use anyhow::Result;
use harness::{
    account::Identity,
    era::Era,
    mixnode::FRAMING_2021,
    raw_websocket::{self, raw_frame, raw_head},
};
use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinSet};
use wire::{framing::FrameHeader, packet::PacketSize};

use super::{Attack, PAUSE, until_closed};
use crate::tally::{Tally, Verdict};

const ADDRESSES: u16 = 10;
const EACH: u16 = 10;
/// The most that a message may have.
const MESSAGE: usize = 64 << 10;
/// The time for half a frame, and what a slow machine adds.
const LONGEST: u64 = 36_000;

pub(super) async fn attack(attack: Attack) -> Result<()> {
    let mut halves = JoinSet::new();
    for source in (0..ADDRESSES).flat_map(|number| [number; EACH as usize]) {
        for kind in [Half::OfStranger, Half::OfClient, Half::Frame] {
            let attack = attack.clone();
            halves.spawn(async move {
                loop {
                    // The attacker goes on after a refusal.
                    let _ = send_half(&attack, source, kind).await;
                    tokio::time::sleep(PAUSE).await;
                }
            });
        }
    }
    while halves.join_next().await.is_some() {}
    Ok(())
}

pub(super) fn judge(tally: &Tally) -> Verdict {
    let sent = [Half::OfStranger, Half::OfClient, Half::Frame].iter().all(|kind| tally.spending(kind.name()) > 0);
    let longest = tally.gain("ms that a half was kept");
    Verdict::held_if(sent, "not every kind of half could be sent")
        .and(Verdict::held_if(longest <= LONGEST, format_args!("a half was kept for {longest} ms")))
}

/// Half of what.
#[derive(Debug, Clone, Copy)]
enum Half {
    /// A message of a client that has not logged in.
    OfStranger,
    /// A message of a client.
    OfClient,
    /// A mix frame.
    Frame,
}

impl Half {
    const fn name(self) -> &'static str {
        match self {
            Self::OfStranger => "half messages of strangers",
            Self::OfClient => "half messages of clients",
            Self::Frame => "half frames",
        }
    }

    /// A connection on which it is next, and its bytes.
    async fn prepare(self, attack: &Attack, source: IpAddr) -> Result<(TcpStream, Vec<u8>)> {
        let mut half = raw_head(0x82, MESSAGE);
        half.resize(half.len() + MESSAGE - 1, 0);
        match self {
            Self::OfStranger => Ok((websocket(attack, source).await?, half)),
            Self::OfClient => {
                let account = attack.target.register(source, Era::Of2021, &Identity::random()).await?.leave().await?;
                let mut stream = websocket(attack, source).await?;
                stream.write_all(&raw_frame(0x81, account.login_text().as_bytes())).await?;
                stream.readable().await?;
                Ok((stream, half))
            }
            Self::Frame => {
                let size = PacketSize::Extended32;
                let mut half = FrameHeader { framing: FRAMING_2021, size }.encode().to_vec();
                half.resize(half.len() + size.packet_len() - 1, 7);
                Ok((attack.target.mix(source).await?, half))
            }
        }
    }
}

async fn websocket(attack: &Attack, source: IpAddr) -> Result<TcpStream> {
    let mut stream = attack.target.clients(source).await?;
    raw_websocket::upgrade(&mut stream).await?;
    Ok(stream)
}

async fn send_half(attack: &Attack, source: u16, kind: Half) -> Result<()> {
    let (mut stream, half) = kind.prepare(attack, attack.block.address(source)).await?;
    let begin = Instant::now();
    stream.write_all(&half).await?;
    attack.tally.spent(kind.name(), 1);
    until_closed(&mut stream).await;
    attack.tally.lasted("ms that a half was kept", begin.elapsed());
    Ok(())
}
