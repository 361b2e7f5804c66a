//! What a command says when the gateway is down, ending, or of another account.

use std::{
    fs::File,
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Result, ensure};
use harness::{
    deadline::{self, bounded},
    gateway::{Gateway, IPV4},
    home::{Home, ID},
};
use nix::sys::signal::Signal;

/// For a command that finds a supervisor that hangs. A loaded machine may be slow.
const QUICK: Duration = Duration::from_secs(40);
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
        let start = format!("`gatewayd run --id test --home {}`", home.root().display());
        for words in ["no gateway answers at", &start, "systemctl start gatewayd@test"] {
            ensure!(refused.stderr.contains(words), "{command}: {refused:?}");
        }
    }
    Ok(())
}

/// A mistyped `--id` is not answered with a command that cannot work.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_there_is_not_is_said_to_be_none() -> Result<()> {
    let home = Home::empty()?;
    for command in COMMANDS {
        let [command, arguments @ ..] = command else { continue };
        let refused = home.gatewayd(command, arguments).await?;
        ensure!(refused.code == Some(69), "{command}: {refused:?}");
        ensure!(refused.stderr.contains("there is no gateway test"), "{command}: {refused:?}");
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

/// A stopped process does not answer, and neither does one that hangs.
#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_that_hangs_is_named_within_seconds() -> Result<()> {
    bounded(async {
        let gateway = Gateway::start().await?;
        let supervisor = gateway.supervisor();
        supervisor.signal(Signal::SIGSTOP)?;
        let ask = async |command: &str, arguments: &[&str], code: i32| {
            let silent = deadline::within(QUICK, command, gateway.home.gatewayd(command, arguments)).await??;
            ensure!(silent.code == Some(code), "{command}: {silent:?}");
            let process = format!("(process {})", supervisor.0);
            for words in ["the gateway does not answer", &process, "systemctl kill -s KILL gatewayd@test"] {
                ensure!(silent.stderr.contains(words), "{command}: {silent:?}");
            }
            Ok(())
        };
        let [drain, upgrade, count, status] = [
            ask("drain", &[], 69),
            ask("upgrade-binary", &[], 69),
            ask("client count", &[], 69),
            ask("status", &[], 2),
        ];
        let asked = tokio::try_join!(drain, upgrade, count, status);
        supervisor.signal(Signal::SIGCONT)?;
        asked?;
        Ok(())
    })
    .await
}

/// A script must not take it for a verdict about the gateway.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_cannot_be_written_has_a_code_of_its_own() -> Result<()> {
    bounded(async {
        let gateway = Gateway::start().await?;
        for (command, arguments) in
            [("health", &[][..]), ("status", &["--json"]), ("status", &["--watch"]), ("config show", &["--json"])]
        {
            let full = File::options().write(true).open("/dev/full")?;
            let mut process = gateway.home.command(command, arguments)?;
            let lost = process.stdout(full).stderr(Stdio::piped()).spawn()?.wait_with_output();
            let lost = deadline::soon(command, lost).await??;
            let said = String::from_utf8_lossy(&lost.stderr);
            ensure!(lost.status.code() == Some(73), "{command}: {lost:?}");
            ensure!(said.contains("could not be written to standard output"), "{command}: {said}");
        }
        Ok(())
    })
    .await
}
