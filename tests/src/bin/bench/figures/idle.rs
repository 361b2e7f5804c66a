//! Memory of clients that are connected, authenticated, and do nothing.

use anyhow::Result;

use crate::{
    Era, Scale,
    report::{Aim, Round, Unit::Kib},
    rig::Rig,
    usage::resident_kib,
};

/// Clients before the first look, so that what the first ones cost once is not shared out among the rest.
const FIRST: usize = 100;

pub(super) async fn measure(era: Era, scale: Scale) -> Result<Round> {
    let rig = Rig::start(era).await?;
    let nobody = resident_kib(&rig.gateway)?;
    let _first = rig.register(FIRST).await?;
    rig.settle().await;
    let before = resident_kib(&rig.gateway)?;
    let clients = rig.register(scale.idle_clients).await?;
    rig.settle().await;
    let after = resident_kib(&rig.gateway)?;

    let mut round = Round::default();
    let per_client = (after as f64 - before as f64) / clients.len() as f64;
    round.add("resident memory per idle client", per_client, Kib, Aim::AtMost(10.0));
    round.add("resident memory per 1,000 idle clients", per_client * 1e3, Kib, Aim::AtMost(10_000.0));
    round.notes.push(format!(
        "all processes: {nobody} KiB without clients, {before} KiB with {FIRST}, {after} KiB with {}",
        FIRST + clients.len()
    ));
    Ok(round)
}
