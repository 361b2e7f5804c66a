//! `gatewayd log`.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::{
    deadline::{self, bounded},
    gateway::Gateway,
    mixnode::MixSender,
};

use super::told;

const ACCEPTED: &str = "TRACE mix-ingress > connection accepted";

#[tokio::test(flavor = "multi_thread")]
async fn a_process_logs_more_for_a_time_and_so_does_its_successor() -> Result<()> {
    bounded(async {
        let gateway = Gateway::start().await?;
        let _unseen = MixSender::connect(gateway.mix).await?;
        let said = told(&gateway.home, "log", &["--role", "mix-ingress", "trace", "--for", "1h"]).await?.stdout;
        ensure!(said.contains("mix-ingress logs trace for 1h"), "{said}");
        connect_until_seen(&gateway).await?;
        gateway.kill_worker("mix-ingress").await?;
        connect_until_seen(&gateway).await?;

        told(&gateway.home, "log", &["--role", "mix-ingress", "info", "--for", "1s"]).await?;
        let falls_back =
            |line: &str| (line.contains("what RUST_LOG says again") && line.contains("mix-ingress")).then_some(());
        gateway.log().wait_for("the level to fall back", falls_back).await?;
        Ok(())
    })
    .await
}

/// Connects again and again until one more connection is in the log: the worker reads its orders beside its connections.
async fn connect_until_seen(gateway: &Gateway) -> Result<()> {
    let times = || gateway.log().lines().iter().filter(|line| line.contains(ACCEPTED)).count();
    let before = times();
    let seen = async {
        let mut pace = tokio::time::interval(Duration::from_millis(20));
        while times() == before {
            pace.tick().await;
            MixSender::connect(gateway.mix).await?;
        }
        anyhow::Ok(())
    };
    deadline::soon("a connection to be in the log", seen).await?
}

#[tokio::test]
async fn a_level_that_is_none_is_refused() -> Result<()> {
    let home = harness::home::Home::empty()?;
    for (arguments, words) in [
        (&["--role", "store", "loud"][..], "possible values: warn, info, debug, trace"),
        (&["--role", "mixnode", "debug"], "possible values: gatewayd, store"),
        (&["--role", "store", "debug", "--for", "2days"], "from 1s to 24h"),
        (&["debug"], "--role"),
    ] {
        let refused = home.gatewayd("log", arguments).await?;
        ensure!(refused.code == Some(2) && refused.stderr.contains(words), "{arguments:?}: {refused:?}");
    }
    Ok(())
}
