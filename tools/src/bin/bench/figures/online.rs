//! Packets pushed to one online client, over one mix connection and over four.

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

pub(super) async fn measure(era: Era, scale: Scale) -> Result<Round> {
    let mut round = Round::default();
    for connections in [1, 4] {
        let rig = Rig::start(era).await?;
        let (account, mut connection) = rig.online_client().await?;
        let load = rig.load(&[&account], scale.packets)?;
        let sending = load.prepare(rig.gateway.mix, connections).await?;

        let before = Usage::now(&rig.gateway)?;
        let (start, writers) = sending.start();
        let mail = Mail::take(&mut connection, scale.packets).await;
        let last_ack = rig.acks.wait_for(scale.packets).await.context("no SURB-ack came at all")?;
        let _senders = load::finish(writers).await?;
        rig.settle().await;
        let after = Usage::now(&rig.gateway)?;

        let (micros, each) = after.per_item(&before, scale.packets);
        let over = format!("online, {connections} mix connection{}:", if connections == 1 { "" } else { "s" });
        round.add(format!("{over} processor time per packet"), micros, MicrosPerPacket, Aim::UnwrapsAtMost(0.75));
        let pushed = rate(scale.packets, mail.last()? - start);
        round.add(format!("{over} packets, to the last message"), pushed, PacketsPerSecond, Aim::None);
        let acked = rate(scale.packets, last_ack - start);
        round.add(format!("{over} packets, to the last ack"), acked, PacketsPerSecond, Aim::None);
        round.notes.push(format!("{over} {each}"));
        round.faults.extend(mail.faults(&account, &load.packets)?);
        round.faults.extend(rig.acks.faults(&load.packets));
        rig.end(&mut round.faults).await?;
    }
    Ok(round)
}
