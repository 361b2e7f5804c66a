//! How long a packet takes through the gateway at a steady rate that is far from its limit.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use bytes::Bytes;
use harness::{
    connection::{Connection, Incoming},
    mixnode::MixSender,
};
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    Era, Scale,
    era::open_all,
    report::{Aim, Round, Unit::Millis},
    rig::Rig,
};

const PER_SECOND: usize = 500;
const INTERVAL: Duration = Duration::from_millis(2);
/// A message that has not come this long after the one before it never will.
const STALL: Duration = Duration::from_secs(5);

pub(super) async fn measure(era: Era, scale: Scale) -> Result<Round> {
    let rig = Rig::start(era).await?;
    let (account, connection) = rig.online_client().await?;
    let count = PER_SECOND * scale.steady_seconds;
    let load = rig.load(&[&account], count)?;
    let frames: Vec<_> = load.packets.iter().map(|packet| load.frame(packet)).collect();
    let sender = MixSender::connect(rig.gateway.mix).await?;
    // The schedule does not wait for answers.
    let receiving = tokio::spawn(receive(connection, count));
    let sent = tokio::spawn(send(sender, frames)).await??;
    let (sealed, times): (Vec<Bytes>, Vec<Instant>) = receiving.await?.into_iter().unzip();
    let messages = open_all(&account, &sealed)?;
    let arrived: HashMap<_, _> =
        messages.into_iter().zip(times).filter_map(|(message, at)| Some((message?, at))).collect();

    let mut round = Round::default();
    let mut latencies: Vec<f64> = Vec::with_capacity(count);
    for (packet, sent) in load.packets.iter().zip(sent) {
        match arrived.get(packet.message.as_slice()) {
            Some(at) => latencies.push(at.duration_since(sent).as_secs_f64() * 1e3),
            None => round.faults.push(format!("a message of {count} did not arrive")),
        }
    }
    latencies.sort_by(f64::total_cmp);
    let share = |percent: usize| {
        let index = (latencies.len() * percent).div_ceil(100).saturating_sub(1);
        latencies.get(index).copied().context("no message arrived at all")
    };
    let (median, tail) = match era {
        Era::Of2021 => (0.27, 1.3),
        Era::Today => (0.41, 0.7),
    };
    round.add(format!("latency at {PER_SECOND} packets/s, p50"), share(50)?, Millis, Aim::AtMost(median));
    round.add(format!("latency at {PER_SECOND} packets/s, p99"), share(99)?, Millis, Aim::AtMost(tail));
    round.add(format!("latency at {PER_SECOND} packets/s, worst"), share(100)?, Millis, Aim::None);
    Ok(round)
}

async fn send(mut sender: MixSender, frames: Vec<Vec<u8>>) -> Result<Vec<Instant>> {
    let mut schedule = interval(INTERVAL);
    schedule.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut sent = Vec::with_capacity(frames.len());
    for frame in frames {
        schedule.tick().await;
        sent.push(Instant::now());
        sender.send_raw(&frame).await?;
    }
    Ok(sent)
}

async fn receive(mut connection: Connection, count: usize) -> Vec<(Bytes, Instant)> {
    let mut frames = Vec::with_capacity(count);
    while frames.len() < count {
        match tokio::time::timeout(STALL, connection.next_whenever()).await {
            Ok(Incoming::Binary(sealed)) => frames.push((sealed, Instant::now())),
            Ok(Incoming::End) | Err(_) => break,
            Ok(_) => {}
        }
    }
    frames
}
