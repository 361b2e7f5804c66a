//! What a command says when the gateway is down, ending, or of another account.

use std::{os::unix::process::CommandExt as _, process::Command};

use anyhow::{Result, ensure};
use harness::{
    deadline::bounded,
    gateway::{Gateway, IPV4},
    home::{Home, ID},
};
use nix::sys::signal::Signal;

/// A user id that belongs to no account.
const USER: u32 = 54_321;

/// Every command that asks a running gateway, with what it needs.
const COMMANDS: &[&[&str]] = &[
    &["drain"],
    &["resume"],
    &["log", "--role", "store", "debug"],
    &["config show"],
    &["config diff"],
    &["reload"],
    &["reload", "--dry-run"],
    &["upgrade-binary"],
];

#[tokio::test]
async fn a_gateway_that_is_down_is_named_with_a_remedy() -> Result<()> {
    let home = Home::init(IPV4).await?;
    for command in COMMANDS {
        let [command, arguments @ ..] = command else { continue };
        let refused = home.gatewayd(command, arguments).await?;
        ensure!(refused.code == Some(69), "{command}: {refused:?}");
        for words in ["no gateway answers at", "gatewayd run --id test", "systemctl start gatewayd@test"] {
            ensure!(refused.stderr.contains(words), "{command}: {refused:?}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_account_is_told_whom_the_gateway_answers() -> Result<()> {
    if !need::root(110) {
        return Ok(());
    }
    bounded(async {
        let gateway = Gateway::start().await?;
        // Only for its copies of the programs, which the other account may start.
        let of_another = Home::empty()?.given_to(USER)?;
        for command in COMMANDS {
            let mut process = Command::new(of_another.root().join("bin/gatewayd"));
            process.env_clear().args(command.iter().flat_map(|word| word.split(' ')));
            process.args(["--id", ID, "--home"]).arg(gateway.home.root());
            let refused = process.uid(USER).gid(USER).current_dir("/").output()?;
            let said = String::from_utf8_lossy(&refused.stderr);
            ensure!(refused.status.code() == Some(69), "{command:?}: {refused:?}");
            ensure!(said.contains("as root, or as the account that runs the gateway"), "{command:?}: {said}");
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_ending_takes_no_orders() -> Result<()> {
    bounded(async {
        let gateway = Gateway::start().await?;
        // A worker that does not finish keeps the gateway ending for some seconds.
        gateway.worker("mix-ingress")?.signal(Signal::SIGSTOP)?;
        gateway.supervisor().signal(Signal::SIGTERM)?;
        let draining = |line: &str| line.contains("will terminate now: draining").then_some(());
        gateway.log().wait_for("the end to begin", draining).await?;
        let refused = gateway.home.gatewayd("drain", &[]).await?;
        ensure!(refused.code == Some(69) && refused.stderr.contains("the gateway is ending"), "{refused:?}");
        Ok(())
    })
    .await
}
