//! A running gateway: the real supervisor with its real workers.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process::{ExitStatus, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use pem::KeyTag;
use tokio::process::Child;

use crate::{
    counters::counted,
    deadline,
    home::Home,
    log::{self, Log},
    process::Process,
};

/// The workers of a gateway that is described to today's network, in no order that matters.
pub const WORKERS: [&str; 5] = ["mix-ingress", "mix-egress", "client-edge", "store", "http-api"];

/// The address of tests for which any address will do.
pub const IPV4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The other loopback address.
pub const IPV6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// A gateway that can be stopped, killed and started again. Dropped, it takes all its processes along.
#[derive(Debug)]
pub struct Gateway {
    /// Its folder.
    pub home: Home,
    /// Where mix nodes connect. Changes with each start.
    pub mix: SocketAddr,
    /// Where clients connect. Changes with each start.
    pub clients: SocketAddr,
    /// Its public identity key.
    pub identity: [u8; 32],
    /// Its public Sphinx key.
    pub sphinx: [u8; 32],
    running: Running,
}

#[derive(Debug)]
struct Running {
    child: Child,
    group: Pid,
    log: Log,
}

impl Drop for Running {
    fn drop(&mut self) {
        // The supervisor leads a group of its own. An error means that the group is gone already.
        let _ = killpg(self.group, Signal::SIGKILL);
    }
}

impl Gateway {
    /// A new gateway on the IPv4 loopback address.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn start() -> Result<Self> {
        Self::start_on(IPV4).await
    }

    /// A new gateway on this address.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn start_on(ip: IpAddr) -> Result<Self> {
        Self::start_in(Home::init(ip).await?, &[]).await
    }

    /// The gateway of an existing folder, with further flags for `run`.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn start_in(home: Home, flags: &[&str]) -> Result<Self> {
        let identity = home.public_key(KeyTag::Ed25519Public)?;
        let sphinx = home.public_key(KeyTag::X25519Public)?;
        let (running, mix, clients) = run(&home, flags).await?;
        Ok(Self { home, mix, clients, identity, sphinx, running })
    }

    /// Starts it again, after it was stopped or killed.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn start_again(&mut self) -> Result<()> {
        (self.running, self.mix, self.clients) = run(&self.home, &[]).await?;
        Ok(())
    }

    /// What it has written since its last start.
    pub fn log(&self) -> &Log {
        &self.running.log
    }

    /// The supervisor.
    pub fn supervisor(&self) -> Process {
        Process(self.running.group.as_raw().cast_unsigned())
    }

    /// The worker of this name that was ready last.
    ///
    /// # Errors
    /// If there was none since the last start.
    pub fn worker(&self, name: &str) -> Result<Process> {
        let lines = self.log().lines();
        lines.iter().rev().find_map(|line| ready(line, name)).with_context(|| format!("no {name} has been ready yet"))
    }

    /// Where its description is served.
    ///
    /// # Errors
    /// If it serves none.
    pub fn http(&self) -> Result<SocketAddr> {
        let lines = self.log().lines();
        let served = lines.iter().find_map(|line| address_behind("Serving the description of the gateway at ")(line));
        served.context("it serves no description")
    }

    /// All workers that run, in the order of [`WORKERS`].
    ///
    /// # Errors
    /// If one has not been ready since the last start.
    pub fn workers(&self) -> Result<Vec<Process>> {
        let runs = |name: &&&str| **name != "http-api" || self.http().is_ok();
        WORKERS.iter().filter(runs).map(|name| self.worker(name)).collect()
    }

    /// Kills a worker, and waits until another one is ready in its place.
    ///
    /// # Errors
    /// If none comes.
    pub async fn kill_worker(&self, name: &str) -> Result<Process> {
        let before = self.worker(name)?;
        before.signal(Signal::SIGKILL)?;
        self.wait_for_successor(name, before).await
    }

    /// Waits until a worker of this name is ready that is not `before`.
    ///
    /// # Errors
    /// If none comes.
    pub async fn wait_for_successor(&self, name: &str, before: Process) -> Result<Process> {
        let another = |line: &str| {
            let candidate = ready(line, name)?;
            (candidate != before && candidate.runs()).then_some(candidate)
        };
        self.log().wait_for(&format!("another {name} is ready"), another).await
    }

    /// Tells it to stop, and waits until it has, and all workers with it.
    ///
    /// # Errors
    /// If a process stays.
    pub async fn stop(&mut self, signal: Signal) -> Result<ExitStatus> {
        let workers = self.workers()?;
        self.supervisor().signal(signal)?;
        let status = deadline::soon("the gateway to end", self.running.child.wait()).await??;
        for worker in workers {
            worker.wait_until_gone().await?;
        }
        self.log().wait_for_end().await?;
        Ok(status)
    }

    /// Ends it, and checks that each of these workers has counted so much of this, or more.
    ///
    /// # Errors
    /// If one has not.
    pub async fn expect_counted(&mut self, expected: &[(&str, &str, usize)]) -> Result<()> {
        self.stop(Signal::SIGTERM).await?;
        let lines = self.log().lines();
        for (worker, counter, least) in expected {
            let counted = counted(&lines, worker, counter);
            ensure!(counted >= *least as u64, "{worker} has counted {counted} {counter}, which is less than {least}");
        }
        Ok(())
    }

    /// Kills the supervisor, and waits until all workers have died with it.
    ///
    /// # Errors
    /// If one lives on.
    pub async fn kill_supervisor(&mut self) -> Result<()> {
        self.stop(Signal::SIGKILL).await.map(|_| ())
    }
}

fn ready(line: &str, name: &str) -> Option<Process> {
    if !line.contains("ready") || log::field(line, "worker") != Some(name) {
        return None;
    }
    log::field(line, "pid")?.parse().ok().map(Process)
}

async fn run(home: &Home, flags: &[&str]) -> Result<(Running, SocketAddr, SocketAddr)> {
    let mut command = home.command("run", flags)?;
    if let Some(filter) = std::env::var_os("RUST_LOG") {
        command.env("RUST_LOG", filter);
    }
    command.stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().context("cannot start gatewayd")?;
    let group = Pid::from_raw(i32::try_from(child.id().context("gatewayd has no process number")?)?);
    let Some(stderr) = child.stderr.take() else { bail!("gatewayd has no standard error") };
    let running = Running { child, group, log: Log::follow(stderr) };
    let log = &running.log;
    let mix = log.wait_for("the mixnet port", address_behind("Starting mixnet listener at ")).await?;
    let clients = log.wait_for("the clients' port", address_behind("Starting websocket listener at ")).await?;
    let finished = |line: &str| line.contains("Finished nym gateway startup procedure").then_some(());
    log.wait_for("the end of the start", finished).await?;
    Ok((running, mix, clients))
}

fn address_behind(words: &'static str) -> impl Fn(&str) -> Option<SocketAddr> {
    move |line| {
        let (_, rest) = line.split_once(words)?;
        rest.split_whitespace().next()?.parse().ok()
    }
}
