//! Wants the processor: each packet that does not unwrap costs a multiplication on the curve before that is known.
//!
//! Spends frames of random bytes, as fast as the gateway reads them, on connections from several addresses, and opens another
//! when one is closed.
//!
//! Succeeds if a connection that brings nothing but garbage goes on beyond `malformed_mix_packets` and what was on its way.

use anyhow::Result;
use harness::{mixnode::FRAMING_2021, source};
use tokio::{io::AsyncWriteExt, task::JoinSet};
use wire::{framing::FrameHeader, packet::PacketSize};

use super::{Attack, PAUSE, per_second};
use crate::{
    evidence::Evidence,
    tally::{Tally, Verdict},
};

const CONNECTIONS: u16 = 8;
/// Frames that are written at once.
const BATCH: u64 = 50;
/// Batches per second of each connection.
const BATCHES: u32 = 40;
/// Bytes that wait in the attacker's kernel.
const ROOM: u32 = 1 << 16;
/// The setting, and what waits in the kernels and in the gateway's batches.
const MOST: u64 = 1_000 + 3_000;

pub(super) async fn attack(attack: Attack) -> Result<()> {
    let mut flooding = JoinSet::new();
    for number in 0..CONNECTIONS {
        let attack = attack.clone();
        flooding.spawn(async move {
            loop {
                // The end of the connection is what was to be found out.
                let _ = flood(&attack, number).await;
                attack.tally.got("times cut off", 1);
                tokio::time::sleep(PAUSE).await;
            }
        });
    }
    while flooding.join_next().await.is_some() {}
    Ok(())
}

pub(super) fn judge(tally: &Tally, evidence: &Evidence) -> Verdict {
    let most = tally.gain("frames on one connection");
    let unwrapped = evidence.counted("mix-ingress", "unwrap_bad_mac");
    Verdict::held_if(unwrapped > 0, "no garbage was read at all")
        .and(Verdict::held_if(most <= MOST, format_args!("one connection brought {most} frames of garbage")))
}

async fn flood(attack: &Attack, number: u16) -> Result<()> {
    let from = attack.block.address(number);
    let socket = source::socket(from)?;
    socket.set_send_buffer_size(ROOM)?;
    let mut stream = socket.connect(attack.target.seen_from(from).mix).await?;
    attack.tally.spent("connections", 1);
    let frame = || {
        let header = FrameHeader { framing: FRAMING_2021, size: PacketSize::Regular }.encode();
        let mut packet = vec![0; PacketSize::Regular.packet_len()];
        rand::fill(packet.as_mut_slice());
        [&*header, &packet[..]].concat()
    };
    let batch: Vec<u8> = (0..BATCH).flat_map(|_| frame()).collect();
    let mut pace = per_second(BATCHES);
    let mut written = 0;
    loop {
        pace.tick().await;
        stream.write_all(&batch).await?;
        written += BATCH;
        attack.tally.spent("frames", BATCH);
        attack.tally.reached("frames on one connection", written);
    }
}
