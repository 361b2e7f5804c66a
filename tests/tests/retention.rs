//! What is kept for too long goes: old messages, and clients that never come back; but not by a clock that is in doubt.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use harness::{
    client::{Account, Client, Era, Identity},
    deadline::{self, bounded},
    log::field,
    packet::expect_in_order,
    scene::Scene,
};
use nix::sys::signal::Signal;
use wire::packet::PacketSize;

async fn scene_with(limit: &str, value: &str) -> Result<Scene> {
    let mut scene = Scene::start().await?;
    scene.gateway.stop(Signal::SIGTERM).await?;
    scene.gateway.home.set_config("limits", limit, value)?;
    scene.gateway.home.set_config("limits", "short_retention", "true")?;
    scene.start_again().await?;
    Ok(scene)
}

async fn register(scene: &Scene, era: Era) -> Result<Client<Account>> {
    Client::register_in(era, &Identity::random(), scene.gateway.clients, &scene.gateway.identity).await
}

/// What all sweeps so far say they have removed.
fn removed(scene: &Scene, what: &str) -> u64 {
    let lines = scene.gateway.log().lines();
    let sweeps = lines.iter().filter(|line| line.contains("removed old messages"));
    sweeps.filter_map(|line| field(line, what)?.parse::<u64>().ok()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn old_messages_are_removed_for_good_and_newer_ones_come() -> Result<()> {
    bounded(async {
        let mut scene = scene_with("message_age", "'6s'").await?;
        let mut accounts = Vec::new();
        for era in [Era::Of2021, Era::TODAY] {
            accounts.push(register(&scene, era).await?.leave().await?);
        }
        for account in &accounts {
            // More than one page of the sweep.
            let old = scene.send_many(account.address(), 700).await?;
            scene.mixnode.wait_for_acks(&old).await?;
        }
        deadline::until(2 * deadline::SOON, "all old mail to go", || removed(&scene, "messages") == 1_400).await?;
        let sweeps = scene.gateway.log().lines().iter().filter(|line| line.contains("removed old messages")).count();
        ensure!(sweeps < 20, "{sweeps} lines about it");

        // What is said to be removed is removed for good, whatever happens next.
        scene.gateway.kill_supervisor().await?;
        scene.gateway.home.set_config("limits", "message_age", "'30days'")?;
        scene.start_again().await?;
        for account in &accounts {
            let new = scene.send_many(account.address(), 5).await?;
            scene.mixnode.wait_for_acks(&new).await?;
            let mut client = Client::log_in(account, scene.gateway.clients).await?;
            expect_in_order(&client.next_messages(5).await?, &new)?;
            client.leave().await?;
        }
        scene.gateway.stop(Signal::SIGTERM).await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_never_come_back_are_removed_with_their_mail() -> Result<()> {
    bounded(async {
        let mut scene = scene_with("client_idle", "'8s'").await?;
        let mut stays = register(&scene, Era::TODAY).await?;
        let mut gone = Vec::new();
        for era in [Era::Of2021, Era::Version(3), Era::TODAY] {
            let account = register(&scene, era).await?.leave().await?;
            let mail = scene.send_many(account.address(), 10).await?;
            scene.mixnode.wait_for_acks(&mail).await?;
            gone.push(account);
        }
        deadline::until(2 * deadline::SOON, "the clients to go", || removed(&scene, "clients") == 3).await?;
        for account in &gone {
            let refused = Client::log_in(account, scene.gateway.clients).await;
            ensure!(refused.is_err(), "a client of {} is still registered", account.era);
            scene.send(account.address(), PacketSize::Regular).await?;
        }
        // It never sent anything; to be there for longer than the limit is enough.
        tokio::time::sleep(Duration::from_secs(9)).await;
        let live = scene.send(stays.address(), PacketSize::Regular).await?;
        ensure!(stays.next_message().await? == live.message);
        ensure!(removed(&scene, "clients") == 3);

        // They can come again, as new ones.
        let back = gone.first().map(|account| (account.era, account.identity.clone()));
        if let Some((era, identity)) = back {
            let (clients, gateway) = (scene.gateway.clients, scene.gateway.identity);
            let mut client = Client::register_in(era, &identity, clients, &gateway).await?;
            let first = scene.send(client.address(), PacketSize::Regular).await?;
            ensure!(client.next_message().await? == first.message, "old mail came");
        }
        scene.gateway.stop(Signal::SIGTERM).await?;
        let ledger = scene.gateway.home.ledger()?;
        for account in gone.iter().skip(1) {
            for tree in ledger.tree_names() {
                let left = ledger.open_tree(&tree)?.scan_prefix(account.address().as_bytes()).count();
                ensure!(left == 0, "{left} records in {} of the ledger", String::from_utf8_lossy(&tree));
            }
        }
        Ok(())
    })
    .await
}

/// Has the gateway have last run at other times, in seconds before now, by the form that the store keeps them in.
fn ran(scene: &Scene, form: u8, ago: &[u64]) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let times = ago.iter().flat_map(|ago| (now - ago).to_be_bytes());
    let ledger = scene.gateway.home.ledger()?;
    let before = ledger.open_tree("clock")?.insert("last run", [form].into_iter().chain(times).collect::<Vec<_>>())?;
    ensure!(before.is_some(), "the gateway has not written down when it ran");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_has_leapt_removes_nothing_until_it_is_believed() -> Result<()> {
    const DAY: u64 = 86_400;
    bounded(async {
        let mut scene = Scene::start().await?;
        let account = register(&scene, Era::TODAY).await?.leave().await?;
        let mail = scene.send_many(account.address(), 10).await?;
        scene.mixnode.wait_for_acks(&mail).await?;
        scene.gateway.stop(Signal::SIGTERM).await?;
        scene.gateway.home.set_config("limits", "message_age", "'2s'")?;
        scene.gateway.home.set_config("limits", "short_retention", "true")?;
        // By that, this machine's clock is two months ahead.
        ran(&scene, 1, &[60 * DAY])?;
        scene.start_again().await?;
        let warnings = |scene: &Scene| {
            scene.gateway.log().lines().iter().filter(|line| line.contains("the clock has leapt")).count()
        };
        deadline::until(deadline::SOON, "a warning", || warnings(&scene) == 1).await?;
        // Nothing would be late by then: it is gone through twice a second.
        tokio::time::sleep(Duration::from_secs(4)).await;
        ensure!(removed(&scene, "messages") == 0, "mail was removed by a clock in doubt");
        ensure!(warnings(&scene) == 1, "{} warnings", warnings(&scene));
        scene.gateway.stop(Signal::SIGTERM).await?;

        // The same clock, but it has gone on like this for four days.
        ran(&scene, 2, &[64 * DAY, 4 * DAY, DAY / 2])?;
        scene.start_again().await?;
        deadline::until(deadline::SOON, "the mail to go", || removed(&scene, "messages") == 10).await
    })
    .await
}
