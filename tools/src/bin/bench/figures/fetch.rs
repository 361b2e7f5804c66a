//! One client comes back to a large inbox.

use std::time::Instant;

use anyhow::Result;
use harness::connection::Connection;

use super::stored::CONNECTIONS;
use crate::{
    Era, Scale,
    load::{self, Mail},
    report::{
        Aim, Round,
        Unit::{Millis, Seconds},
    },
    rig::{self, Rig},
};

pub(super) async fn measure(era: Era, scale: Scale) -> Result<Round> {
    let rig = Rig::start(era).await?;
    let (account, connection) = rig.online_client().await?;
    rig::leave(connection).await?;
    let load = rig.load(&[&account], scale.waiting)?;
    let (_, writers) = load.prepare(rig.gateway.mix, CONNECTIONS).await?.start();
    rig.acks.wait_for(scale.waiting).await;
    load::finish(writers).await?;
    let mut faults = rig.acks.faults(&load.packets);
    rig.settle().await;

    let mut connection = Connection::open(rig.gateway.clients).await?;
    let login = era.login_text(&account)?;
    let start = Instant::now();
    connection.send_text(login).await?;
    let answer = connection.next_text().await?;
    let answered = start.elapsed();
    account.expect_yes(&answer)?;
    let mail = Mail::take(&mut connection, scale.waiting).await;
    let fetched = mail.last()? - start;

    let mut round = Round::default();
    let what = format!("login to last of {} stored messages", scale.waiting);
    round.add(what, fetched.as_secs_f64(), Seconds, Aim::AtMost(0.3));
    let what = "login to its answer while they wait";
    round.add(what, answered.as_secs_f64() * 1e3, Millis, Aim::AtMost(20.0));
    faults.extend(mail.faults(&account, &load.packets)?);
    rig.end(&mut faults).await?;
    round.faults = faults;
    Ok(round)
}
