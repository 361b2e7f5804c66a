//! Packets pushed to many online clients in turn: each message to another than the one before.

use anyhow::{Context, Result};
use tokio::task::JoinSet;

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
const CONNECTIONS: usize = 4;

pub(super) async fn measure(era: Era, scale: Scale) -> Result<Round> {
    let rig = Rig::start(era).await?;
    let _watching = rig.online_client().await?;
    let clients = rig.register(scale.idle_clients).await?;
    let load = rig.load(&clients.iter().map(|(account, _)| account).collect::<Vec<_>>(), scale.packets)?;
    let sending = load.prepare(rig.gateway.mix, CONNECTIONS).await?;

    let each = |client: usize| (client..scale.packets).step_by(scale.idle_clients).count();
    let mut readers = JoinSet::new();
    for (client, (account, mut connection)) in clients.into_iter().enumerate() {
        let due = each(client);
        readers.spawn(async move { (account, Mail::take(&mut connection, due).await, connection) });
    }
    let before = Usage::now(&rig.gateway)?;
    let (start, writers) = sending.start();
    let last_ack = rig.acks.wait_for(scale.packets).await.context("no SURB-ack came at all")?;
    let _senders = load::finish(writers).await?;
    rig.settle().await;
    let after = Usage::now(&rig.gateway)?;

    let mut round = Round::default();
    let (micros, each) = after.per_item(&before, scale.packets);
    let over = format!("online, each to another of {}:", scale.idle_clients);
    round.add(format!("{over} processor time"), micros, MicrosPerPacket, Aim::UnwrapsAtMost(1.3));
    round.add(format!("{over} to last ack"), rate(scale.packets, last_ack - start), PacketsPerSecond, Aim::None);
    round.notes.push(format!("{over} {each}"));
    round.faults.extend(rig.acks.faults(&load.packets));
    while let Some(read) = readers.join_next().await {
        let (account, mail, _connection) = read?;
        let due = load.packets.iter().filter(|packet| packet.to == account.address());
        round.faults.extend(mail.faults(&account, due)?);
    }
    rig.end(&mut round.faults).await?;
    Ok(round)
}
