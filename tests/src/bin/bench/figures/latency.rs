//! How long a packet takes through the gateway at a steady rate that is far from its limit.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use tests::{
    connection::{Connection, Incoming},
    mixnode::MixSender,
};
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    Era, Scale,
    era::Account,
    load::Load,
    report::{Aim, Round, Unit::Millis},
    rig::Rig,
};

const PER_SECOND: usize = 500;
const INTERVAL: Duration = Duration::from_millis(2);
/// A message that has not come this long after the one before it never will.
const STALL: Duration = Duration::from_secs(5);

pub(super) async fn measure(era: Era, scale: Scale) -> Result<Round> {
    let rig = Rig::start(era).await?;
    let (account, mut connection) = rig.online_client().await?;
    let count = PER_SECOND * scale.steady_seconds;
    let load = rig.load(&[&account], count)?;
    let mut sender = MixSender::connect(rig.gateway.mix).await?;
    // The schedule does not wait for answers.
    let (sent, arrived) = tokio::join!(send(&mut sender, &load), receive(&mut connection, &account, count));
    let sent = sent?;

    let mut round = Round::default();
    let mut latencies: Vec<f64> = Vec::with_capacity(count);
    for (packet, sent) in load.packets.iter().zip(sent) {
        match arrived.get(&packet.message) {
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
    };
    round.add(format!("latency at {PER_SECOND} packets/s, p50"), share(50)?, Millis, Aim::AtMost(median));
    round.add(format!("latency at {PER_SECOND} packets/s, p99"), share(99)?, Millis, Aim::AtMost(tail));
    round.add(format!("latency at {PER_SECOND} packets/s, worst"), share(100)?, Millis, Aim::None);
    Ok(round)
}

async fn send(sender: &mut MixSender, load: &Load) -> Result<Vec<Instant>> {
    let frames: Vec<_> = load.packets.iter().map(|packet| load.frame(packet)).collect();
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

async fn receive(connection: &mut Connection, account: &Account, count: usize) -> HashMap<Vec<u8>, Instant> {
    let mut frames = Vec::with_capacity(count);
    while frames.len() < count {
        match tokio::time::timeout(STALL, connection.next_whenever()).await {
            Ok(Incoming::Binary(sealed)) => frames.push((sealed, Instant::now())),
            Ok(Incoming::End) | Err(_) => break,
            Ok(_) => {}
        }
    }
    frames.into_iter().filter_map(|(sealed, at)| Some((account.open(sealed).ok()?, at))).collect()
}
