//! A gateway that is full: `kept` registered clients, as many stored messages, clients who are connected and read nothing, and all the mail
//! under way that may wait for them. Its marks of packets seen are as many as it gets packets here, so their memory is not filled.

use anyhow::Result;
use harness::{
    gateway::{Gateway, IPV4},
    home::Home,
    shown::Shown,
};

use super::seed::{LEN, seed};
use crate::{
    Era, Scale, load,
    report::{Aim, Round, Unit::Kib},
    rig::Rig,
    usage::Resident,
};

/// Mix connections over which the mail comes.
const CONNECTIONS: usize = 4;

pub(super) async fn measure(era: Era, scale: Scale) -> Result<Round> {
    let budget = scale.budget;
    let home = Home::init(IPV4).await?;
    home.set_config("limits", "memory", &budget.memory.to_string())?;
    home.set_config("limits", "data_bytes", &budget.data.to_string())?;
    home.set_config("replay", "memory", &budget.marks.to_string())?;
    seed(&home.data(), budget.data, scale.kept, scale.kept)?;
    let rig = Rig::around(era, Gateway::start_in(home, &[]).await?).await?;
    let began = Resident::now(&rig.gateway)?;
    let clients = rig.register(scale.idle_clients).await?;
    let connected = Resident::now(&rig.gateway)?;

    // They read nothing, so their mail fills its part of the memory, and the rest goes to the disk.
    let share = Shown::by(&rig.gateway.home).await?.value("gatewayd_store_pushed_memory_limit_bytes")?;
    let load =
        rig.load(&clients.iter().map(|(account, _)| account).collect::<Vec<_>>(), usize::try_from(share)? / LEN)?;
    let (_, writers) = load.prepare(rig.gateway.mix, CONNECTIONS).await?.start();
    load::finish(writers).await?;
    let full = Resident::now(&rig.gateway)?;
    rig.acks.wait_for(load.packets.len()).await;

    let mut round = Round::default();
    round.add("filled: memory of all processes", full.sum() as f64, Kib, Aim::None);
    round.notes.push(format!("with {} clients registered and as many messages stored {began}", scale.kept));
    round.notes.push(format!("with {} clients connected {connected}", clients.len()));
    round.notes.push(format!("and {} messages for them {full}", load.packets.len()));
    round.faults.extend(rig.acks.faults(&load.packets));
    drop(clients);
    rig.end(&mut round.faults).await?;
    Ok(round)
}
