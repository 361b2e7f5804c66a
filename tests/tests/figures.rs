//! What an operator is told of a running gateway: `gatewayd status` and `gatewayd health`.

use std::process::Stdio;

use anyhow::{Context as _, Result, bail, ensure};
use harness::{
    deadline::{self, bounded},
    gateway::{Gateway, IPV4},
    packet::SIZES_2021,
    scene::Scene,
    shown::Shown,
};
use nix::sys::signal::Signal;
use tokio::io::{AsyncBufReadExt as _, BufReader};

/// Every packet has ended, in a way that is counted.
fn is_even_and_empty(shown: &Shown) -> Result<bool> {
    let in_flight = shown.value("gatewayd_mix_ingress_packets_in_flight")?;
    let waiting = shown.value("gatewayd_mix_egress_packets_waiting")?;
    Ok((in_flight, waiting) == (0, 0) && shown.off()?.is_empty())
}

#[tokio::test(flavor = "multi_thread")]
async fn status_counts_clients_mail_and_packets() -> Result<()> {
    bounded(async {
        let mut scene = Scene::start().await?;
        let mut client = scene.client().await?;
        for size in SIZES_2021 {
            let packet = scene.send(client.address(), size).await?;
            ensure!(client.next_message().await? == packet.message);
        }
        let away = scene.client().await?;
        let address = away.address();
        drop(away);
        let home = &scene.gateway.home;
        let attached = "gatewayd_client_edge_clients_attached";
        Shown::until(home, "one client to be left", |shown| Ok(shown.value(attached)? == 1)).await?;
        let stored = scene.send_many(address, 3).await?;
        scene.mixnode.wait_for_acks(&stored).await?;
        let home = &scene.gateway.home;
        let sizes = SIZES_2021.len() as u64;
        let shown = Shown::until(home, "all packets to have ended", is_even_and_empty).await?;
        ensure!(shown.value("gatewayd_mix_ingress_packets_received_total")? == sizes + 3);
        ensure!(shown.value("gatewayd_mix_ingress_packets_in_flight")? == 0);
        ensure!(shown.value("gatewayd_mix_egress_packets_waiting")? == 0);
        ensure!(shown.value("gatewayd_worker_ready")? >= 4);
        let resident = "gatewayd_worker_resident_memory_bytes";
        Shown::until(home, "the memory of workers", |shown| Ok(shown.value(resident)? > 1_000_000)).await?;
        let text = home.gatewayd("status", &[]).await?;
        ensure!(
            text.code == Some(0) && text.stdout.contains("serves") && text.stdout.contains("1 logged in"),
            "{text:?}"
        );
        Ok(())
    })
    .await
}

/// What a worker has counted is in a page that outlives it; what it held is counted as lost.
#[tokio::test(flavor = "multi_thread")]
async fn counters_go_on_after_the_death_of_a_worker() -> Result<()> {
    bounded(async {
        let mut scene = Scene::start().await?;
        let mut client = scene.client().await?;
        let before = scene.send_many(client.address(), 20).await?;
        client.next_messages(20).await?;
        scene.mixnode.wait_for_acks(&before).await?;
        scene.gateway.kill_worker("mix-ingress").await?;
        let mut again = Scene::around(scene.gateway, IPV4).await?;
        let after = again.send_many(client.address(), 5).await?;
        client.next_messages(5).await?;
        again.mixnode.wait_for_acks(&after).await?;
        let home = &again.gateway.home;
        let shown = Shown::until(home, "all packets to have ended", is_even_and_empty).await?;
        ensure!(shown.value("gatewayd_mix_ingress_packets_received_total")? == 25);
        ensure!(shown.value("gatewayd_worker_deaths_total")? == 1);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn status_never_waits_behind_an_audit() -> Result<()> {
    bounded(async {
        let gateway = Gateway::start().await?;
        let mut audit = gateway.home.command("audit", &["--json"])?.stdout(Stdio::null()).spawn()?;
        gateway.log().wait_for("the audit", |line| line.contains("an audit begins").then_some(())).await?;
        Shown::by(&gateway.home).await?;
        let health = gateway.home.gatewayd("health", &[]).await?;
        ensure!(health.code == Some(0), "{health:?}");
        ensure!(audit.try_wait()?.is_none(), "the audit was over before the answer");
        audit.kill().await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn health_tells_by_its_code_and_says_the_reason() -> Result<()> {
    bounded(async {
        let mut gateway = Gateway::start().await?;
        let health = gateway.home.gatewayd("health", &[]).await?;
        ensure!(health.code == Some(0) && health.stdout == "the gateway serves\n", "{health:?}");
        ensure!(gateway.stop(Signal::SIGTERM).await?.success());
        for command in ["health", "status"] {
            let down = gateway.home.gatewayd(command, &[]).await?;
            ensure!(down.code == Some(2) && down.stdout.is_empty(), "{down:?}");
            ensure!(down.stderr.contains("no gateway answers") && down.stderr.contains("gatewayd run"), "{down:?}");
        }
        Ok(())
    })
    .await
}

/// Screens follow each other where there is no terminal, and the end of the gateway is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_watched_gateway_shows_rates_until_it_ends() -> Result<()> {
    bounded(async {
        let mut gateway = Gateway::start().await?;
        let mut watch = gateway.home.command("status", &["--watch"])?.stdout(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(watch.stdout.take().context("no output")?).lines();
        let rates = async {
            while let Some(line) = lines.next_line().await? {
                if line.starts_with("packets in") && line.contains("received 0 (0.0/s)") {
                    return Ok(());
                }
            }
            bail!("there is no screen with rates")
        };
        deadline::soon("a screen with rates", rates).await??;
        ensure!(gateway.stop(Signal::SIGTERM).await?.success());
        ensure!(deadline::soon("the screen to end", watch.wait()).await??.code() == Some(2));
        Ok(())
    })
    .await
}
