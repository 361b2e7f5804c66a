//! Wants the processor of the process that reads websockets, with frames that say nothing.
//!
//! Spends Pings, Pongs that nobody asked for, and fragments without content, each without end, before a login, and reconnects
//! when it is cut off.
//!
//! Succeeds if a flood goes on for long.

use std::time::Instant;

use anyhow::Result;
use harness::raw_websocket::{self, raw_frame};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
};

use super::{Attack, PAUSE, per_second};
use crate::{
    evidence::Evidence,
    tally::{Tally, Verdict},
};

const ADDRESSES: u16 = 2;
/// Frames that are written at once.
const BATCH: usize = 100;
/// Batches per second of each flood.
const BATCHES: u32 = 50;
/// Frames of one connection, with those that are on their way when it is closed.
const MOST: u64 = 20_000;

pub(super) async fn attack(attack: Attack) -> Result<()> {
    let floods = [
        (Vec::new(), raw_frame(0x89, &[7; 125])),
        (Vec::new(), raw_frame(0x8a, b"")),
        (raw_frame(0x02, b"?"), raw_frame(0, b"")),
    ];
    let mut flooding = JoinSet::new();
    for number in 0..ADDRESSES {
        for (begin, again) in floods.clone() {
            let attack = attack.clone();
            flooding.spawn(async move {
                loop {
                    // The end of the connection is what was to be found out.
                    let _ = flood(&attack, number, &begin, &again.repeat(BATCH)).await;
                    tokio::time::sleep(PAUSE).await;
                }
            });
        }
    }
    while flooding.join_next().await.is_some() {}
    Ok(())
}

pub(super) fn judge(tally: &Tally, evidence: &Evidence) -> Verdict {
    let most = tally.gain("frames of one flood");
    let ended = evidence.counted("client-edge", "frame_floods");
    Verdict::held_if(ended > 0, "no flood was ended")
        .and(Verdict::held_if(most <= MOST, format_args!("a flood went on for {most} frames")))
}

async fn flood(attack: &Attack, number: u16, begin: &[u8], batch: &[u8]) -> Result<()> {
    let mut stream = attack.target.clients(attack.block.address(number)).await?;
    raw_websocket::upgrade(&mut stream).await?;
    attack.tally.spent("websockets", 1);
    let since = Instant::now();
    let (mut reading, mut writing) = stream.into_split();
    let mut pace = per_second(BATCHES);
    let mut written = 0;
    let write = async {
        if writing.write_all(begin).await.is_err() {
            return;
        }
        loop {
            pace.tick().await;
            if writing.write_all(batch).await.is_err() {
                return;
            }
            written += BATCH as u64;
            attack.tally.spent("frames", BATCH as u64);
            attack.tally.reached("frames of one flood", written);
        }
    };
    let mut said = [0; 4_096];
    let read = async { while matches!(reading.read(&mut said).await, Ok(1..)) {} };
    tokio::select! {
        () = write => {}
        () = read => {}
    }
    attack.tally.lasted("ms of one flood", since.elapsed());
    Ok(())
}
