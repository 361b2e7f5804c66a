//! Ctrl-C in a terminal reaches the gateway more than once (the process, its group, a wrapper); an impatient operator presses it
//! again.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::{deadline::bounded, gateway::Gateway, scene::Scene};
use nix::sys::signal::Signal;

/// How often the impatient press it. It sets the pace; nothing waits for it.
const IMPATIENCE: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread")]
async fn two_signals_at_once_are_one_order_to_end() -> Result<()> {
    bounded(async {
        let mut scene = Scene::start().await?;
        // The goodbye waits for a receipt that does not come, so that the second signal finds the gateway at it.
        let mut silent = scene.client().await?;
        silent.connection.answer_pings(false);
        let unproved = scene.send_many(silent.address(), 1).await?;
        ensure!(silent.next_messages(1).await?.len() == unproved.len());
        scene.gateway.supervisor().signal(Signal::SIGTERM)?;
        let status = scene.gateway.stop(Signal::SIGINT).await?;
        ensure!(status.code() == Some(0), "it ended in {status}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_signal_means_haste() -> Result<()> {
    bounded(async {
        let mut gateway = Gateway::start().await?;
        // A worker that cannot finish; the gateway would give it ten seconds.
        gateway.worker("mix-egress")?.signal(Signal::SIGSTOP)?;
        let supervisor = gateway.supervisor();
        let press = tokio::spawn(async move {
            let mut pace = tokio::time::interval(IMPATIENCE);
            while supervisor.runs() && supervisor.signal(Signal::SIGINT).is_ok() {
                pace.tick().await;
            }
        });
        let told = std::time::Instant::now();
        let status = gateway.stop(Signal::SIGINT).await?;
        press.await?;
        ensure!(status.code() == Some(1), "it ended in {status}");
        ensure!(told.elapsed() < Duration::from_secs(5), "the second signal was no haste");
        gateway
            .log()
            .wait_for("the reason", |line| line.contains("killed before they had finished").then_some(()))
            .await
    })
    .await
}
