//! Packets pushed to many online clients in turn: each message to another than the one before.

use anyhow::Result;
use tokio::task::JoinSet;

use super::{acked::Acked, stored::CONNECTIONS};
use crate::{
    Era, Scale,
    load::Mail,
    report::{Aim, Round},
    rig::Rig,
};

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
    let acked = Acked::of(&rig, sending, scale.packets).await?;

    let mut round = Round::default();
    acked.add_to(&mut round, &format!("online, each to another of {}:", scale.idle_clients), Aim::UnwrapsAtMost(1.3));
    round.faults.extend(rig.acks.faults(&load.packets));
    while let Some(read) = readers.join_next().await {
        let (account, mail, _connection) = read?;
        let due = load.packets.iter().filter(|packet| packet.to == account.address());
        round.faults.extend(mail.faults(&account, due)?);
    }
    rig.end(&mut round.faults).await?;
    Ok(round)
}
