//! `gatewayd reload` and SIGHUP.

use std::{collections::HashSet, fs, time::Duration};

use anyhow::{Result, ensure};
use harness::{
    audit::part,
    client::Client,
    deadline::{self, bounded},
    gateway::{Gateway, WORKERS},
    packet::{FinalHopPacket, expect_in_order},
    process::Process,
    scene::Scene,
};
use nix::sys::signal::Signal;

use super::told;

/// Exactly these workers were replaced.
async fn replaced_only(gateway: &Gateway, before: &[Process], replaced: &[&str]) -> Result<()> {
    for (name, process) in WORKERS.iter().zip(before) {
        if replaced.contains(name) {
            gateway.wait_for_successor(name, *process).await?;
        } else {
            ensure!(gateway.worker(name)? == *process && process.runs(), "{name} was replaced");
        }
    }
    Ok(())
}

/// Sends packets on one connection, which lasts, while a reload changes `[limits] key`. Returns the packets and what came of them.
async fn under_load(key: &str, value: &str, replaced: &[&str]) -> Result<(Vec<FinalHopPacket>, Vec<Vec<u8>>)> {
    let mut scene = Scene::start().await?;
    let client = scene.client().await?;
    let address = client.address();
    let account = client.leave().await?;
    let before = scene.gateway.workers()?;
    scene.gateway.home.set_config("limits", key, value)?;

    let packets = scene.packets().make_many(address, 2_000)?;
    let sending = async {
        for batch in packets.chunks(10) {
            scene.sender.send_all(batch).await?;
            // The pace: the load lasts longer than the reload.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        anyhow::Ok(())
    };
    let (sent, reloaded) = tokio::join!(sending, told(&scene.gateway.home, "reload", &[]));
    sent?;
    let said = reloaded?.stdout;
    ensure!(said.contains(&format!("[limits] {key}: ")) && said.contains("Replaced: "), "{said}");
    replaced_only(&scene.gateway, &before, replaced).await?;
    scene.mixnode.wait_for_acks(&packets).await?;
    let mut client: Client = account.authenticate(scene.gateway.clients).await?;
    let last = packets.last().map(|packet| packet.message.clone()).unwrap_or_default();
    let received = client.messages_until(&last).await?;
    Ok((packets, received))
}

#[tokio::test(flavor = "multi_thread")]
async fn new_limits_of_the_edge_drop_no_mix_connection_and_no_packet() -> Result<()> {
    bounded(async {
        let (packets, received) = under_load("logins_per_minute", "999999", &["client-edge"]).await?;
        expect_in_order(&received, &packets)
    })
    .await
}

/// The store is told how many sessions there can be. What it has not answered, its successor is asked, so that some may come twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_edge_and_store_drops_no_mix_connection_and_no_packet() -> Result<()> {
    bounded(async {
        let (packets, received) = under_load("max_client_connections", "19000", &["client-edge", "store"]).await?;
        let received: HashSet<&[u8]> = received.iter().map(Vec::as_slice).collect();
        let missing = packets.iter().filter(|packet| !received.contains(&packet.message[..])).count();
        ensure!(missing == 0, "{missing} of {} messages are missing", packets.len());
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_replaces_only_the_workers_that_it_concerns() -> Result<()> {
    bounded(async {
        let scene = Scene::start().await?;
        let home = &scene.gateway.home;
        let before = scene.gateway.workers()?;
        let nothing = told(home, "reload", &[]).await?.stdout;
        ensure!(nothing == "Nothing in the configuration has changed.\n", "{nothing}");

        home.set_config("debug", "maximum_connection_buffer_size", "9000")?;
        let dry = told(home, "reload", &["--dry-run"]).await?.stdout;
        ensure!(dry.contains("Would be replaced: mix-egress. "), "{dry}");
        replaced_only(&scene.gateway, &before, &[]).await?;
        let client = scene.client().await?;
        let said = told(home, "reload", &["--json"]).await?.stdout;
        let report: serde_json::Value = serde_json::from_str(&said)?;
        ensure!(*part(&report, "replaced") == serde_json::json!(["mix-egress"]), "{said}");
        replaced_only(&scene.gateway, &before, &["mix-egress"]).await?;
        // A client of a worker that stays has noticed nothing.
        client.leave().await?;

        // By a signal, the same.
        home.set_config("timeouts", "keepalive", "'26s'")?;
        scene.gateway.supervisor().signal(Signal::SIGHUP)?;
        let in_force = |line: &str| (line.contains("is in force") && line.contains("keepalive")).then_some(());
        scene.gateway.log().wait_for("the changed configuration to be in force", in_force).await?;
        replaced_only(&scene.gateway, &before, &["mix-egress", "client-edge"]).await?;
        scene.client().await?.leave().await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_is_wrong_changes_nothing() -> Result<()> {
    bounded(async {
        let gateway = Gateway::start().await?;
        let (home, before) = (&gateway.home, gateway.workers()?);
        let good = fs::read_to_string(home.config_file())?;
        home.set_config("limits", "inbox_messages", "0")?;
        home.set_config("timeouts", "keepalive", "'soon'")?;
        let wrong = home.gatewayd("reload", &[]).await?;
        ensure!(wrong.code == Some(78), "{wrong:?}");
        for words in ["inbox_messages", "keepalive", "The old configuration stays in force"] {
            ensure!(wrong.stderr.contains(words), "{wrong:?}");
        }
        gateway.supervisor().signal(Signal::SIGHUP)?;
        let told_in_log = |line: &str| line.contains("the old one stays in force").then_some(());
        gateway.log().wait_for("the log to say why", told_in_log).await?;

        fs::write(home.config_file(), &good)?;
        home.set_config("mixnet_endpoint", "listening_address", "'127.0.0.1:1'")?;
        home.set_config("timeouts", "keepalive", "'26s'")?;
        let refused = home.gatewayd("reload", &[]).await?;
        ensure!(refused.code == Some(1), "{refused:?}");
        ensure!(refused.stderr.contains("cannot change [mixnet_endpoint] listening_address; restart"), "{refused:?}");
        replaced_only(&gateway, &before, &[]).await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_reload_is_told_that_the_gateway_is_busy() -> Result<()> {
    bounded(async {
        let gateway = Gateway::start().await?;
        gateway.home.set_config("timeouts", "keepalive", "'26s'")?;
        // It does not finish, and is killed after some seconds.
        let edge = gateway.worker("client-edge")?;
        edge.signal(Signal::SIGSTOP)?;
        let first = told(&gateway.home, "reload", &[]);
        let second = async {
            let taken_over = |line: &str| line.contains("is taken over").then_some(());
            gateway.log().wait_for("the reload to begin", taken_over).await?;
            gateway.home.gatewayd("reload", &[]).await
        };
        let (first, second) = tokio::join!(first, second);
        let second = second?;
        ensure!(second.code == Some(69) && second.stderr.contains("the gateway is busy"), "{second:?}");
        ensure!(first?.stdout.contains("Replaced: client-edge."));
        deadline::until(deadline::SOON, "the end of the old one", || !edge.runs()).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_during_a_reload_is_not_forgotten() -> Result<()> {
    bounded(async {
        let gateway = Gateway::start().await?;
        gateway.home.set_config("timeouts", "keepalive", "'26s'")?;
        // It does not finish, and is killed after some seconds.
        gateway.worker("client-edge")?.signal(Signal::SIGSTOP)?;
        gateway.supervisor().signal(Signal::SIGHUP)?;
        let taken_over = |line: &str| line.contains("is taken over").then_some(());
        gateway.log().wait_for("the reload to begin", taken_over).await?;
        gateway.home.set_config("timeouts", "keepalive", "'27s'")?;
        gateway.supervisor().signal(Signal::SIGHUP)?;
        let put_off = |line: &str| line.contains("is read again later").then_some(());
        gateway.log().wait_for("the second reload to be put off", put_off).await?;
        let in_force = |line: &str| (line.contains("is in force") && line.contains("27s")).then_some(());
        gateway.log().wait_for("the second change to be in force", in_force).await?;
        Ok(())
    })
    .await
}
