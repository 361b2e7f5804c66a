//! Registrations and logins, each with a connection of its own, a fixed number of them at a time.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Result;
use harness::account::Account;
use tokio::task::JoinSet;

use super::rate;
use crate::{
    Era, Scale,
    report::{
        Aim, Round,
        Unit::{Micros, PerSecond},
    },
    rig::{self, PARALLEL, Rig},
    usage::Usage,
};

pub(super) async fn measure(era: Era, scale: Scale) -> Result<Round> {
    let rig = Rig::start(era).await?;
    let _first = rig.register(PARALLEL).await?;
    let mut round = Round::default();

    let before = Usage::now(&rig.gateway)?;
    let (accounts, time) = register(&rig, Duration::from_secs(scale.register_seconds)).await?;
    let (micros, each) = Usage::now(&rig.gateway)?.per_item(&before, accounts.len());
    let count = accounts.len();
    round.add(format!("registrations, {PARALLEL} at a time"), rate(count, time), PerSecond, Aim::AtLeast(1_000.0));
    round.add("processor time per registration", micros, Micros, Aim::None);
    round.notes.push(format!("registration: {each}"));

    rig.settle().await;
    let before = Usage::now(&rig.gateway)?;
    let time = log_in(&rig, accounts).await?;
    let (micros, each) = Usage::now(&rig.gateway)?.per_item(&before, count);
    round.add(format!("logins, {PARALLEL} at a time"), rate(count, time), PerSecond, Aim::None);
    round.add("processor time per login", micros, Micros, Aim::None);
    round.notes.push(format!("login: {each}"));
    Ok(round)
}

/// New clients register and go away, for as long as the time lasts.
async fn register(rig: &Rig, limit: Duration) -> Result<(Vec<Account>, Duration)> {
    let start = Instant::now();
    let mut workers = JoinSet::new();
    for _ in 0..PARALLEL {
        let (era, gateway) = (rig.era, rig.gateway.clone());
        workers.spawn(async move {
            let mut accounts = Vec::new();
            while start.elapsed() < limit {
                let (account, connection) = era.register(&gateway).await?;
                rig::leave(connection).await?;
                accounts.push(account);
            }
            anyhow::Ok(accounts)
        });
    }
    let mut accounts = Vec::new();
    while let Some(some) = workers.join_next().await {
        accounts.append(&mut some??);
    }
    Ok((accounts, start.elapsed()))
}

/// Each of them logs in once and goes away.
async fn log_in(rig: &Rig, accounts: Vec<Account>) -> Result<Duration> {
    let waiting = Arc::new(Mutex::new(accounts));
    let start = Instant::now();
    let mut workers = JoinSet::new();
    for _ in 0..PARALLEL {
        let (era, waiting, gateway) = (rig.era, waiting.clone(), rig.gateway.clone());
        workers.spawn(async move {
            let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop();
            while let Some(account) = next() {
                rig::leave(era.log_in(&account, &gateway).await?).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = workers.join_next().await {
        done??;
    }
    Ok(start.elapsed())
}
