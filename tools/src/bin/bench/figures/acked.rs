//! Packets sent at full speed until the last of them is acknowledged: what that costs.

use anyhow::{Context, Result};

use super::rate;
use crate::{
    load::{self, Sending},
    report::{
        Aim, Round,
        Unit::{MicrosPerPacket, PacketsPerSecond},
    },
    rig::Rig,
    usage::Usage,
};

/// What it cost.
pub(super) struct Acked {
    /// Processor time for each packet, in microseconds.
    micros: f64,
    /// The same for each process, in words.
    each: String,
    /// Packets in a second, until the last ack.
    rate: f64,
}

impl Acked {
    /// Sends so many packets, and waits for their acks and until the gateway has nothing left to do.
    ///
    /// # Errors
    /// If none is acknowledged, or the gateway does not take all.
    pub(super) async fn of(rig: &Rig, sending: Sending, packets: usize) -> Result<Self> {
        let before = Usage::now(&rig.gateway)?;
        let (start, writers) = sending.start();
        let last_ack = rig.acks.wait_for(packets).await.context("no SURB-ack came at all")?;
        let _senders = load::finish(writers).await?;
        rig.settle().await;
        let (micros, each) = Usage::now(&rig.gateway)?.per_item(&before, packets);
        Ok(Self { micros, each, rate: rate(packets, last_ack - start) })
    }

    /// Adds this to what a round yields. The aim is that of the processor time.
    pub(super) fn add_to(&self, round: &mut Round, over: &str, aim: Aim) {
        round.add(format!("{over} processor time"), self.micros, MicrosPerPacket, aim);
        round.add(format!("{over} to last ack"), self.rate, PacketsPerSecond, Aim::None);
        round.notes.push(format!("{over} {}", self.each));
    }
}
