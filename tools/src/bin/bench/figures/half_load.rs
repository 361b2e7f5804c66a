//! How long it takes from a packet for a client that is not there to its SURB-ack, which leaves when the message is on disk,
//! at half the rate that the gateway has just been seen to keep up with.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use harness::mixnode::MixSender;
use tokio::time::{MissedTickBehavior, interval};

use super::{rate, stored::CONNECTIONS};
use crate::{
    Era, Scale,
    load::{self, Load},
    report::{
        Aim, Round,
        Unit::{Millis, PacketsPerSecond},
    },
    rig::Rig,
};

const INTERVAL: Duration = Duration::from_millis(2);

pub(super) async fn measure(era: Era, scale: Scale) -> Result<Round> {
    let rig = Rig::start(era).await?;
    let _watching = rig.online_client().await?;
    let accounts = rig.offline_clients(scale.offline_clients).await?;
    let accounts: Vec<_> = accounts.iter().collect();
    let probe = rig.load(&accounts, scale.packets / 2)?;
    let sending = probe.prepare(rig.gateway.mix, CONNECTIONS).await?;
    let (start, writers) = sending.start();
    let last_ack = rig.acks.wait_for(probe.packets.len()).await.context("no SURB-ack came at all")?;
    let _senders = load::finish(writers).await?;
    let half = rate(probe.packets.len(), last_ack - start) / 2.0;
    rig.settle().await;
    rig.acks.clear();

    let load = rig.load(&accounts, scale.packets)?;
    let sent = send(&rig, &load, half).await?;
    rig.acks.wait_for(scale.packets).await.context("no SURB-ack came at all")?;
    let mut round = Round::default();
    let arrivals = rig.acks.arrivals(&load.packets);
    let acked = sent.iter().zip(arrivals).filter_map(|(sent, acked)| Some(acked?.duration_since(*sent)));
    let mut times: Vec<f64> = acked.map(|time| time.as_secs_f64() * 1e3).collect();
    times.sort_by(f64::total_cmp);
    let share = |percent: usize| {
        let index = (times.len() * percent).div_ceil(100).saturating_sub(1);
        times.get(index).copied().context("nothing was acknowledged at all")
    };
    let what = format!("stored, {} clients, packet in to ack out at half load", accounts.len());
    round.add("half of the rate to the last ack", half, PacketsPerSecond, Aim::None);
    round.add(format!("{what}, p50"), share(50)?, Millis, Aim::None);
    round.add(format!("{what}, p99"), share(99)?, Millis, Aim::None);
    round.add(format!("{what}, worst"), share(100)?, Millis, Aim::None);
    round.faults.extend(rig.acks.faults(&load.packets));
    rig.end(&mut round.faults).await?;
    Ok(round)
}

/// Sends on a schedule that waits for nothing, and says when each packet was sent.
async fn send(rig: &Rig, load: &Load, per_second: f64) -> Result<Vec<Instant>> {
    let mut senders = Vec::new();
    for _ in 0..CONNECTIONS {
        senders.push(MixSender::connect(rig.gateway.mix).await?);
    }
    let frames: Vec<_> = load.packets.iter().map(|packet| load.frame(packet)).collect();
    let mut frames = frames.iter();
    let mut schedule = interval(INTERVAL);
    schedule.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut sent = Vec::with_capacity(load.packets.len());
    let (mut due, mut lane) = (0.0, 0);
    while sent.len() < load.packets.len() {
        schedule.tick().await;
        due += per_second * INTERVAL.as_secs_f64();
        while (sent.len() as f64) < due
            && let Some(frame) = frames.next()
        {
            sent.push(Instant::now());
            lane = (lane + 1) % CONNECTIONS;
            senders.get_mut(lane).context("no connection")?.send_raw(frame).await?;
        }
    }
    Ok(sent)
}
