//! A short siege: with attackers of every kind at once, a gateway loses nothing that it has acknowledged, and serves the honest.

use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use harness::{deadline::bounded, home::program};
use need::Need;
use tokio::task::spawn_blocking;

/// Where the gateway's folder goes: on a disk, since in memory durable costs nothing.
const ROOM: &str = env!("CARGO_TARGET_TMPDIR");
/// Kinds of attackers.
const KINDS: usize = 15;

/// Runs the tool. Its standard error becomes the test's.
async fn siege(arguments: &'static [&'static str]) -> Result<(Output, String)> {
    let mut command = Command::new(program("siege")?);
    command.args(arguments).env("TMPDIR", ROOM).stderr(std::process::Stdio::inherit());
    let run = move || command.output();
    let output = spawn_blocking(run).await??;
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    eprintln!("{report}");
    Ok((output, report))
}

/// The last number of the line that begins with these words.
fn figure(report: &str, words: &str) -> Result<usize> {
    let line = report.lines().find(|line| line.starts_with(words));
    let number = line.and_then(|line| line.split_whitespace().last());
    number.with_context(|| format!("the report says nothing of {words}"))?.parse().context("no number")
}

#[tokio::test]
async fn a_short_siege_costs_the_honest_nothing() -> Result<()> {
    bounded(async {
        // In a debug build on a machine that does other things, latencies below the floor say nothing of the gateway.
        let (output, report) = siege(&["--seconds", "18", "--rate", "100", "--floor", "250"]).await?;
        if report.contains("over IPv4 loopback alone") {
            need::missing(Need::NetworkNamespace, 68);
        }
        ensure!(figure(&report, "acked but lost:")? == 0, "something acknowledged was lost");
        ensure!(report.matches(": held\n").count() == KINDS, "an attacker got what it wanted");
        ensure!(report.matches(": met (").count() == 3, "an aim was missed");
        ensure!(figure(&report, "sent in all:")? > 500, "next to nothing was acknowledged");
        ensure!(output.status.success(), "the tool was not content");
        Ok(())
    })
    .await
}
