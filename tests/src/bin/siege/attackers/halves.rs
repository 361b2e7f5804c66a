//! Wants memory and time: half of something is kept until the other half comes.
//!
//! Spends websocket messages of 64 KiB that lack their last byte, before a login, and mix frames that lack a part, each on a
//! connection of its own, and opens another when one is closed.
//!
//! Succeeds if a half is kept for longer than the gateway waits for a whole.

use std::time::Instant;

use anyhow::Result;
use proto::wire::{framing::FrameHeader, packet::PacketSize};
use tests::{
    mixnode::FRAMING_2021,
    raw_websocket::{self, raw_head},
};
use tokio::{io::AsyncWriteExt, task::JoinSet};

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
        for is_message in [true, false] {
            let attack = attack.clone();
            halves.spawn(async move {
                loop {
                    // Being turned away is no reason to give up.
                    let _ = send_half(&attack, source, is_message).await;
                    tokio::time::sleep(PAUSE).await;
                }
            });
        }
    }
    while halves.join_next().await.is_some() {}
    Ok(())
}

pub(super) fn judge(tally: &Tally) -> Verdict {
    let sent = tally.spending("half messages") > 0 && tally.spending("half frames") > 0;
    let longest = tally.gain("ms that a half was kept");
    Verdict::held_if(sent, "not both kinds of halves could be sent")
        .and(Verdict::held_if(longest <= LONGEST, format_args!("a half was kept for {longest} ms")))
}

async fn send_half(attack: &Attack, source: u16, is_message: bool) -> Result<()> {
    let source = attack.block.address(source);
    let (mut stream, half) = if is_message {
        let mut stream = attack.target.clients(source).await?;
        raw_websocket::upgrade(&mut stream).await?;
        let mut half = raw_head(0x82, MESSAGE);
        half.resize(half.len() + MESSAGE - 1, 0);
        (stream, half)
    } else {
        let size = PacketSize::Extended32;
        let mut half = FrameHeader { framing: FRAMING_2021, size }.encode().to_vec();
        half.resize(half.len() + size.packet_len() - 1, 7);
        (attack.target.mix(source).await?, half)
    };
    let begin = Instant::now();
    stream.write_all(&half).await?;
    attack.tally.spent(if is_message { "half messages" } else { "half frames" }, 1);
    until_closed(&mut stream).await;
    attack.tally.lasted("ms that a half was kept", begin.elapsed());
    Ok(())
}
