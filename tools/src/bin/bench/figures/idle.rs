//! Memory of clients that are connected, authenticated, and do nothing.

use anyhow::Result;

use crate::{
    Era, Scale,
    report::{Aim, Round, Unit::Kib},
    rig::Rig,
    usage::Resident,
};

/// Clients before the first look, so that what the first ones cost once is not shared out among the rest.
const FIRST: usize = 100;

pub(super) async fn measure(era: Era, scale: Scale) -> Result<Round> {
    let rig = Rig::start(era).await?;
    let nobody = Resident::now(&rig.gateway)?;
    let _first = rig.register(FIRST).await?;
    rig.settle().await;
    let before = Resident::now(&rig.gateway)?;
    let clients = rig.register(scale.idle_clients).await?;
    rig.settle().await;
    let after = Resident::now(&rig.gateway)?;

    let mut round = Round::default();
    let per_client = (after.sum() as f64 - before.sum() as f64) / clients.len() as f64;
    round.add("resident memory per idle client", per_client, Kib, Aim::AtMost(10.0));
    round.add("resident memory per 1,000 idle clients", per_client * 1e3, Kib, Aim::None);
    round.notes.push(format!("without clients {nobody}"));
    round.notes.push(format!("with {FIRST} {before}"));
    round.notes.push(format!("with {} {after}", FIRST + clients.len()));
    Ok(round)
}
