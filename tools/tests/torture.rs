//! Half a minute of the fault tool: a gateway that keeps its promises loses nothing, and the tool notices one that does not.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use harness::{
    deadline::{bounded, within},
    gateway::WORKERS,
    home::program,
};
use need::Need;
use tokio::task::spawn_blocking;

/// Where the gateway's folder goes: on a disk, since in memory durable costs nothing.
const ROOM: &str = env!("CARGO_TARGET_TMPDIR");

/// For compiling a store, beside other tests; if a library has to be built again, on a slow machine.
const BUILD: Duration = Duration::from_secs(1_200);

/// Where durable costs nothing, a full disk is met, but not by a store that waits for it.
const DISK_IN_MEMORY: &str = "there are no loop devices";

/// Why no disk is filled.
const NO_DISK: &str = "takes the right to mount a disk";

/// Runs the tool, on a gateway that logs what this filter lets through. Its standard error, which is the gateway's log, becomes the test's.
async fn torture(tool: PathBuf, log: &str, arguments: &[&str]) -> Result<(Output, String)> {
    let mut command = Command::new(tool);
    command.args(arguments).env("TMPDIR", ROOM).env("RUST_LOG", log).stderr(std::process::Stdio::inherit());
    let run = move || command.output();
    let output = spawn_blocking(run).await??;
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    eprintln!("{report}");
    Ok((output, report))
}

/// Kinds of faults that were not brought about although they can be, and how many faults fell into the middle of
/// others. Those that cannot be here are listed as not tested.
fn covered(report: &str) -> Result<(Vec<&str>, usize)> {
    let missing = report.lines().filter_map(|line| line.strip_prefix("not brought about: "));
    let is_excused = |missing: &&str| {
        if missing.ends_with(NO_DISK) {
            need::missing(Need::Mount, 29);
            return true;
        }
        ["garbage", "torn-database"].iter().any(|kind| missing.starts_with(kind)) && !need::root(16)
    };
    Ok((missing.filter(|missing| !is_excused(missing)).collect(), figure(report, "faults in the middle of others:")?))
}

/// The last number of the line that begins with these words.
fn figure(report: &str, words: &str) -> Result<usize> {
    let line = report.lines().find(|line| line.starts_with(words));
    let number = line.and_then(|line| line.split_whitespace().last());
    number.with_context(|| format!("the report says nothing of {words}"))?.parse().context("no number")
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_whatever_happens() -> Result<()> {
    bounded(async {
        let (output, report) = torture(program("torture")?, "info", &["--seconds", "30", "--rate", "300"]).await?;
        ensure!(output.status.success(), "the tool was not content");
        ensure!(figure(&report, "acked but lost:")? == 0);
        ensure!(figure(&report, "  in surges")? > 2_000, "next to nothing was sent in surges");
        if report.contains(DISK_IN_MEMORY) {
            need::missing(Need::Mount, 29);
        }
        let (missing, overlapping) = covered(&report)?;
        ensure!(figure(&report, "kinds of faults brought about:")? == 15 && missing.is_empty(), "missing: {missing:?}");
        ensure!(overlapping > 0 || report.contains(NO_DISK), "no fault fell into the middle of another");
        ensure!(figure(&report, "acked ")? > 500, "next to nothing was acknowledged");
        ensure!(figure(&report, "  known by then")? > 50, "next to no packet was sent again");
        ensure!(figure(&report, "log lines searched")? > 50, "there was next to no log to search");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_gateway_that_logs_all_it_can_says_nothing_that_it_must_not() -> Result<()> {
    bounded(async {
        let (output, report) = torture(program("torture")?, "debug", &["--seconds", "10", "--rate", "200"]).await?;
        ensure!(output.status.success(), "the tool was not content");
        ensure!(figure(&report, "log lines searched")? > 50, "there was next to no log to search");
        Ok(())
    })
    .await
}

/// A gateway that looks as if it had this flaw, and that nothing harms but a client that resets its connection.
async fn expect_judged(flaw: &[&str], words: &str) -> Result<()> {
    const UNHARMED: [&str; 6] = ["--seconds", "3", "--rate", "400", "--only", "reset"];
    bounded(async {
        let (output, report) = torture(program("torture")?, "info", &[&UNHARMED, flaw].concat()).await?;
        ensure!(output.status.code() == Some(if words.is_empty() { 0 } else { 1 }), "{:?}", output.status);
        ensure!(report.lines().any(|line| line.contains(words)), "the report does not say: {words}");
        Ok(())
    })
    .await
}

macro_rules! flaws {
    ($($test:ident: $flaw:expr, $words:literal;)*) => { $(
        #[tokio::test]
        async fn $test() -> Result<()> {
            expect_judged(&$flaw, $words).await
        }
    )* };
}
flaws! {
    a_gateway_that_nothing_harms_has_no_flaw: [], "";
    a_surb_ack_that_comes_in_part_is_judged: ["--flaw", "torn-ack"], "bytes of a SURB-ack, and no more, came";
    a_surb_ack_that_does_not_come_is_judged: ["--flaw", "lost-ack"], "was delivered, but not acknowledged";
    a_surb_ack_that_is_changed_is_judged: ["--flaw", "changed-ack"], "was changed on its way";
    a_connection_that_is_closed_is_judged: ["--flaw", "closed-connection"], "a mix node's connection was closed";
    a_packet_that_is_dropped_is_judged: ["--flaw", "lost-packet"], "neither refused nor lost by a fault";
    // In what way mail is out of order depends on when the processes die; the model of the client tests each way.
    mail_that_comes_out_of_order_is_judged: ["--flaw", "turned-order", "--only", "kill", "--seed", "13", "--seconds", "7"], "out of order: for client";
}

/// What is lost for good with each packet or connection shows in less than a minute; what takes hours is for `make soak`.
#[tokio::test]
async fn memory_files_and_disk_stay_level_while_clients_come_and_go() -> Result<()> {
    bounded(async {
        let (output, report) =
            torture(program("torture")?, "info", &["--soak", "--seconds", "40", "--rate", "800"]).await?;
        ensure!(output.status.success(), "the tool was not content");
        ensure!(figure(&report, "acked ")? > 1_000, "there was too little traffic to show a leak");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_store_that_accepts_before_the_commit_is_caught() -> Result<()> {
    is_caught("store", &["--seconds", "15", "--rate", "600", "--only", "kill-store,torn-database"]).await
}

#[tokio::test]
async fn an_ingress_that_acks_before_acceptance_is_caught() -> Result<()> {
    is_caught("mix-ingress", &["--seconds", "10", "--rate", "600", "--only", "kill-supervisor"]).await
}

/// The tool finds mail that was acknowledged and lost if this worker lies.
async fn is_caught(liar: &'static str, arguments: &'static [&'static str]) -> Result<()> {
    // Compiling takes as long as the machine needs for it.
    let tool = within(BUILD, "workers that lie to be built", spawn_blocking(|| a_gateway_with(liar))).await???;
    bounded(async {
        let (output, report) = torture(tool, "info", arguments).await?;
        ensure!(output.status.code() == Some(1), "the tool did not complain");
        ensure!(figure(&report, "acked but lost:")? > 0, "the tool did not notice that mail was lost");
        Ok(())
    })
    .await
}

/// Builds a store and an ingress that acknowledge too early, both at once since that costs less, and lays the other programs beside
/// one of them. Returns the tool among them.
fn a_gateway_with(liar: &str) -> Result<PathBuf> {
    let built = program("gatewayd")?;
    let built = built.parent().context("a program is in no folder")?;
    let target = built.parent().context("a program is in no target folder")?.join("loses-mail");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--workspace", "--bin", "store", "--bin", "mix-ingress"])
        .args(["--features", "store/ack-before-commit,mix-ingress/ack-before-acceptance"])
        // An example is built with what tests need; without one, cargo would build most libraries once more, with fewer features.
        .args(["--example", "policies"])
        .arg("--target-dir")
        .arg(&target)
        // What has been built for the other programs need not be built again.
        .env("CARGO_BUILD_BUILD_DIR", target.with_file_name(""))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "cargo cannot build workers that lie: {status}");
    let folder = target.join(format!("with-{liar}"));
    fs::create_dir_all(&folder)?;
    for name in ["torture", "gatewayd"].into_iter().chain(WORKERS) {
        let from = if name == liar { target.join("debug") } else { built.to_owned() };
        link(&from.join(name), &folder.join(name))?;
    }
    Ok(folder.join("torture"))
}

fn link(program: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        fs::remove_file(to)?;
    }
    fs::hard_link(program, to).with_context(|| format!("cannot link {}", program.display()))
}
