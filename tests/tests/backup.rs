//! The chapter "Back up, move and restore" of the manual, followed to the letter.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it fails")]

use std::process::Command;

use anyhow::{Result, ensure};
use harness::{
    client::{Account, Client, Era, Identity},
    deadline::bounded,
    gateway::{Gateway, IPV4},
    home::Home,
    packet::expect_in_order,
    scene::Scene,
};
use nix::sys::signal::Signal;
use wire::packet::PacketSize;

async fn register(scene: &Scene) -> Result<Client<Account>> {
    Client::register_in(Era::TODAY, &Identity::random(), scene.gateway.clients, &scene.gateway.identity).await
}

/// The folder of a gateway that does not run, copied to another place under the same id.
fn copy(home: &Home) -> Result<Home> {
    let elsewhere = Home::empty()?;
    let copied = Command::new("cp").arg("-a").arg(home.path()).arg(elsewhere.path()).status()?;
    ensure!(copied.success(), "cp: {copied}");
    Ok(elsewhere)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_copied_elsewhere_serves_its_clients() -> Result<()> {
    bounded(async {
        let mut scene = Scene::start().await?;
        let account = register(&scene).await?.leave().await?;
        let stored = scene.send_many(account.address(), 20).await?;
        scene.mixnode.wait_for_acks(&stored).await?;
        scene.gateway.stop(Signal::SIGTERM).await?;
        let elsewhere = copy(&scene.gateway.home)?;
        let old = scene.gateway.home.path();
        std::fs::rename(&old, old.with_extension("gone"))?;

        let gateway = Gateway::start_in(elsewhere, &[]).await?;
        ensure!(gateway.identity == scene.gateway.identity, "it has another identity");
        let mut moved = Scene::around(gateway, IPV4).await?;
        let mut client = Client::log_in(&account, moved.gateway.clients).await?;
        expect_in_order(&client.next_messages(stored.len()).await?, &stored)?;
        let live = moved.send(account.address(), PacketSize::Regular).await?;
        ensure!(client.next_message().await? == live.message, "live mail came as something else");
        Ok(())
    })
    .await
}

/// What the manual says of an old backup: mail comes twice, later clients are unknown, and packets since then are not known as seen.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_backup_knows_nothing_of_what_came_later() -> Result<()> {
    bounded(async {
        let mut scene = Scene::start().await?;
        let account = register(&scene).await?.leave().await?;
        let stored = scene.send_many(account.address(), 3).await?;
        scene.mixnode.wait_for_acks(&stored).await?;
        scene.gateway.stop(Signal::SIGTERM).await?;
        let backup = copy(&scene.gateway.home)?;

        scene.start_again().await?;
        let mut client = Client::log_in(&account, scene.gateway.clients).await?;
        expect_in_order(&client.next_messages(stored.len()).await?, &stored)?;
        let later = scene.send(account.address(), PacketSize::Regular).await?;
        ensure!(client.next_message().await? == later.message, "live mail came as something else");
        client.leave().await?;
        let newcomer = register(&scene).await?.leave().await?;
        scene.gateway.stop(Signal::SIGTERM).await?;

        let mut restored = Scene::around(Gateway::start_in(backup, &[]).await?, IPV4).await?;
        ensure!(Client::log_in(&newcomer, restored.gateway.clients).await.is_err(), "a client of later is known");
        let mut client = Client::log_in(&account, restored.gateway.clients).await?;
        expect_in_order(&client.next_messages(stored.len()).await?, &stored)?;
        // A packet of before the backup is a replay, one of after it is not.
        for packet in [&stored[0], &later] {
            restored.sender.send(packet).await?;
        }
        ensure!(client.next_message().await? == later.message, "the packet of later was taken for a replay");
        client.connection.expect_quiet_and_open().await?;
        Ok(())
    })
    .await
}
