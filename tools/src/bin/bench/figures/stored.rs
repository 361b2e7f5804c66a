//! Packets for clients that are not there. A SURB-ack means that the message is on disk.

use anyhow::Result;

use super::acked::Acked;
use crate::{
    Era, Scale,
    load::Mail,
    report::{Aim, Round},
    rig::Rig,
};

/// Over which the packets come.
pub(super) const CONNECTIONS: usize = 4;

pub(super) async fn measure(era: Era, scale: Scale) -> Result<Round> {
    let rig = Rig::start(era).await?;
    let _watching = rig.online_client().await?;
    let accounts = rig.offline_clients(scale.offline_clients).await?;
    let load = rig.load(&accounts.iter().collect::<Vec<_>>(), scale.packets)?;
    let sending = load.prepare(rig.gateway.mix, CONNECTIONS).await?;

    let acked = Acked::of(&rig, sending, scale.packets).await?;

    let mut round = Round::default();
    let over = format!("stored, {} clients, {CONNECTIONS} mix connections:", accounts.len());
    acked.add_to(&mut round, &over, Aim::UnwrapsAtMost(0.9));
    round.faults.extend(rig.acks.faults(&load.packets));
    for account in &accounts {
        let due: Vec<_> = load.packets.iter().filter(|packet| packet.to == account.address()).collect();
        let mail = Mail::take(&mut era.log_in(account, &rig.gateway).await?, due.len()).await;
        round.faults.extend(mail.faults(account, due)?);
    }
    rig.end(&mut round.faults).await?;
    Ok(round)
}
