//! Sockets that a service manager has opened: the gateway uses them, and nobody is refused while it restarts.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use harness::{
    client::Client,
    deadline::{self, bounded},
    gateway::IPV4,
    home::{Home, ID, program},
    log::Log,
    process::Process,
};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use pem::KeyTag;
use tokio::process::Child;

/// Addresses that are free now.
fn addresses() -> Result<[SocketAddr; 3]> {
    let listeners = [TcpListener::bind((IPV4, 0))?, TcpListener::bind((IPV4, 0))?, TcpListener::bind((IPV4, 0))?];
    let [a, b, c] = listeners.each_ref().map(TcpListener::local_addr);
    Ok([a?, b?, c?])
}

/// A gateway that is configured for these addresses.
async fn home_at([mix, clients, http]: [SocketAddr; 3]) -> Result<Home> {
    let home = Home::init(IPV4).await?;
    home.set_config("mixnet_endpoint", "listening_address", &format!("'{mix}'"))?;
    home.set_config("clients_endpoint", "listening_address", &format!("'{clients}'"))?;
    home.set_config("node", "http_bind_address", &format!("'{http}'"))?;
    Ok(home)
}

fn named([mix, clients, http]: [SocketAddr; 3]) -> [String; 3] {
    [format!("mix={mix}"), format!("clients={clients}"), format!("http={http}")]
}

/// Connects all the time, and counts the connections that are refused.
#[derive(Default)]
struct Knocker {
    is_over: AtomicBool,
    taken: AtomicU32,
    refused: AtomicU32,
}

impl Knocker {
    fn knock(&self, address: SocketAddr) {
        while !self.is_over.load(Ordering::Relaxed) {
            match TcpStream::connect(address) {
                Ok(_) => self.taken.fetch_add(1, Ordering::Relaxed),
                Err(_) => self.refused.fetch_add(1, Ordering::Relaxed),
            };
            // The kernel holds a thousand connections that nobody accepts yet.
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_with_passed_sockets_refuses_nobody() -> Result<()> {
    bounded(async {
        let addresses = addresses()?;
        let [mix, clients, _] = addresses;
        let home = home_at(addresses).await?;
        let identity = home.public_key(KeyTag::Ed25519Public)?;
        let manager = Manager::start(home, addresses, "2").await?;
        ensure!(manager.log.lines().iter().any(|line| line.contains("passes the listening sockets")));
        let client = Client::register(clients, &identity).await?;
        drop(client);

        let knocker = Arc::new(Knocker::default());
        let knocking: Vec<_> = [mix, clients]
            .map(|address| {
                let knocker = Arc::clone(&knocker);
                std::thread::spawn(move || knocker.knock(address))
            })
            .into();
        let first = manager.gateway()?;
        first.signal(Signal::SIGTERM)?;
        first.wait_until_gone().await?;
        // While there is no gateway, or it is only starting, a client is kept waiting and then served.
        let client = Client::register(clients, &identity).await?;
        up(&manager.log, 2).await?;
        drop(client);
        // A restart can be faster than a few connections.
        let taken = || knocker.taken.load(Ordering::Relaxed);
        deadline::until(deadline::SOON, "more connections", || taken() + knocker.refused.load(Ordering::Relaxed) > 20)
            .await?;
        knocker.is_over.store(true, Ordering::Relaxed);
        for thread in knocking {
            thread.join().map_err(|_| anyhow::anyhow!("a thread has panicked"))?;
        }
        let refused = knocker.refused.load(Ordering::Relaxed);
        ensure!(refused == 0, "{refused} connections were refused, {} taken", taken());

        manager.end().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_goes_on_with_passed_sockets() -> Result<()> {
    bounded(async {
        let addresses = addresses()?;
        let [mix, clients, _] = addresses;
        let home = home_at(addresses).await?.with_own_programs()?;
        let identity = home.public_key(KeyTag::Ed25519Public)?;
        let next = home.root().join("next");
        home.install(&next)?;
        let manager = Manager::start(home, addresses, "1").await?;

        let knocker = Arc::new(Knocker::default());
        let knocking = {
            let knocker = Arc::clone(&knocker);
            std::thread::spawn(move || knocker.knock(mix))
        };
        let mut upgrade = tokio::process::Command::new(manager.home.programs().join("gatewayd"));
        upgrade.args(["upgrade-binary", "--id", ID, "--probation", "1s", "--from"]).arg(&next);
        let kept = upgrade.arg("--home").arg(manager.home.root()).output().await?;
        ensure!(kept.status.success(), "{kept:?}");
        knocker.is_over.store(true, Ordering::Relaxed);
        knocking.join().map_err(|_| anyhow::anyhow!("a thread has panicked"))?;
        let refused = knocker.refused.load(Ordering::Relaxed);
        ensure!(refused == 0, "{refused} connections were refused");
        drop(Client::register(clients, &identity).await?);

        ensure!(std::fs::read_link(format!("/proc/{}/exe", manager.gateway()?.0))?.starts_with(&next));
        manager.end().await
    })
    .await
}

/// A service manager that has opened the sockets and started the gateway.
struct Manager {
    process: Child,
    pid: u32,
    log: Log,
    home: Home,
    _group: Group,
}

impl Manager {
    /// Starts it, and waits until the gateway is up. It starts the gateway so many `times` in all.
    async fn start(home: Home, addresses: [SocketAddr; 3], times: &str) -> Result<Self> {
        let what = [times.to_owned()].into_iter().chain(named(addresses)).collect();
        let home = home.started_by(program("activate")?, what);
        let mut command = home.command("run", &[])?;
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0).spawn()?;
        let pid = process.id().context("it has ended")?;
        let group = Group(Pid::from_raw(pid.cast_signed()));
        let log = Log::follow(process.stderr.take().context("no standard error")?);
        up(&log, 1).await?;
        Ok(Self { process, pid, log, home, _group: group })
    }

    /// The gateway that runs now.
    fn gateway(&self) -> Result<Process> {
        let [gateway] = children(self.pid)?[..] else { anyhow::bail!("there is not one gateway") };
        Ok(gateway)
    }

    /// Ends the last gateway, and with it the manager.
    async fn end(mut self) -> Result<()> {
        self.gateway()?.signal(Signal::SIGTERM)?;
        let status = deadline::soon("the manager to end", self.process.wait()).await??;
        ensure!(status.success(), "{status}");
        Ok(())
    }
}

/// The processes of a test, which end with it.
struct Group(Pid);

impl Drop for Group {
    fn drop(&mut self) {
        // An error means that the group is gone already.
        let _ = killpg(self.0, Signal::SIGKILL);
    }
}

/// Waits until the gateway has been up so many times.
async fn up(log: &Log, times: usize) -> Result<()> {
    let count = || log.lines().iter().filter(|line| line.contains("Finished nym gateway startup")).count();
    deadline::until(deadline::SOON, "the gateway to be up", || count() == times).await
}

/// The processes that this one has started.
fn children(pid: u32) -> Result<Vec<Process>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    Ok(text.split_whitespace().map(|pid| pid.parse().map(Process)).collect::<Result<_, _>>()?)
}

#[tokio::test]
async fn passed_sockets_that_do_not_fit_end_the_start() -> Result<()> {
    bounded(async {
        let addresses = addresses()?;
        let home = home_at(addresses).await?;
        let [mix, clients, http] = named(addresses);
        let activate = program("activate")?;
        let misnamed = http.replace("http", "mix");
        let cases = [
            (vec!["1", &mix, &clients], format!("ListenStream={}", addresses[2])),
            (vec!["1", &mix, &clients, &http, "mix=127.0.0.1:0"], "does not name; remove it".to_owned()),
            (vec!["1", &mix, &clients, &misnamed], "FileDescriptorName=".to_owned()),
        ];
        for (sockets, why) in &cases {
            let outcome = home.below(&activate, sockets, "run", &[]).await?;
            ensure!(outcome.code == Some(78) && outcome.stderr.contains(why.as_str()), "{why}: {outcome:?}");
        }
        Ok(())
    })
    .await
}
