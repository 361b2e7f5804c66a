//! Packets for clients that are not there. A SURB-ack means that the message is on disk.

use anyhow::{Context, Result};

use super::rate;
use crate::{
    Era, Scale,
    load::{self, Mail},
    report::{
        Aim, Round,
        Unit::{MicrosPerPacket, PacketsPerSecond},
    },
    rig::Rig,
    usage::Usage,
};

/// Over which the packets come.
pub(super) const CONNECTIONS: usize = 4;

pub(super) async fn measure(era: Era, scale: Scale) -> Result<Round> {
    let rig = Rig::start(era).await?;
    let _watching = rig.online_client().await?;
    let accounts = rig.offline_clients(scale.offline_clients).await?;
    let load = rig.load(&accounts.iter().collect::<Vec<_>>(), scale.packets)?;
    let sending = load.prepare(rig.gateway.mix, CONNECTIONS).await?;

    let before = Usage::now(&rig.gateway)?;
    let (start, writers) = sending.start();
    let last_ack = rig.acks.wait_for(scale.packets).await.context("no SURB-ack came at all")?;
    let _senders = load::finish(writers).await?;
    rig.settle().await;
    let after = Usage::now(&rig.gateway)?;

    let mut round = Round::default();
    let (micros, each) = after.per_item(&before, scale.packets);
    let over = format!("stored, {} clients, {CONNECTIONS} mix connections:", accounts.len());
    round.add(format!("{over} processor time"), micros, MicrosPerPacket, Aim::UnwrapsAtMost(0.9));
    round.add(format!("{over} to last ack"), rate(scale.packets, last_ack - start), PacketsPerSecond, Aim::None);
    round.notes.push(format!("{over} {each}"));
    round.faults.extend(rig.acks.faults(&load.packets));
    for account in &accounts {
        let due: Vec<_> = load.packets.iter().filter(|packet| packet.to == account.address()).collect();
        let mail = Mail::take(&mut era.log_in(account, &rig.gateway).await?, due.len()).await;
        round.faults.extend(mail.faults(account, due)?);
    }
    rig.end(&mut round.faults).await?;
    Ok(round)
}
