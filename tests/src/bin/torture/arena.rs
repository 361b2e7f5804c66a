//! The gateway under torture, and how each fault is brought about.

use std::{
    fs,
    path::PathBuf,
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use rand::{SeedableRng, rngs::StdRng};
use tests::{
    account::Account,
    deadline,
    disk::Disk,
    gateway::{Gateway, IPV4},
    home::Home,
    log::{Log, field},
    process::Process,
};
use tokio::sync::watch;

use crate::{
    books::Books,
    garbage,
    memory::{self, Gap},
    place::Place,
    pretender,
    schedule::{Database, Fault},
    tear::{self, Trace},
    witness::{Suspicion, Witness},
};

/// A clean stop takes no longer than this.
const CLEAN_STOP: Duration = Duration::from_secs(10);
/// Whoever is accused of garbage has been replaced by then.
const REACTION: Duration = Duration::from_secs(3);
/// The disk: large enough for all mail of a run, small enough to be filled at once.
const DISK_MIB: u32 = 768;

/// The gateway, and all that faults need.
pub(crate) struct Arena {
    // Before the gateway, whose folder it is mounted in.
    disk: Option<Disk>,
    /// The gateway.
    pub(crate) gateway: Gateway,
    /// Where it is.
    pub(crate) place: watch::Sender<Place>,
    /// Its supervisor.
    pub(crate) supervisor: watch::Sender<Process>,
    /// What its log says.
    pub(crate) witness: Witness,
    /// To be told of what may be forgotten.
    books: Arc<Books>,
    /// For what a fault leaves to chance.
    random: StdRng,
    /// Clients in whose names others come.
    pub(crate) accounts: Arc<[Account]>,
}

impl Arena {
    /// Starts a gateway, on a disk of its own if one may be mounted.
    ///
    /// # Errors
    /// If it does not start.
    pub(crate) async fn open(may_mount: bool, seed: u64, books: Arc<Books>) -> Result<Self> {
        let home = Home::empty()?;
        let disk = may_mount.then(|| Disk::mount(&home.data(), DISK_MIB)).transpose()?;
        let home = home.initialised(IPV4).await?;
        // So that clients that stop reading are found out within the run.
        home.set_config("delivery", "receipt_timeout", "'6s'")?;
        // All clients have one address.
        home.set_config("limits", "registrations_per_minute", "10000")?;
        memory::save_often(&home)?;
        let gateway = Gateway::start_in(home, &[]).await?;
        let (place, _) = watch::channel(Place::from(&gateway));
        let (supervisor, _) = watch::channel(gateway.supervisor());
        let (witness, random) = (Witness::default(), StdRng::seed_from_u64(seed));
        Ok(Self { disk, gateway, place, supervisor, witness, books, random, accounts: Arc::new([]) })
    }

    /// Brings a fault about, and says what came of it.
    ///
    /// # Errors
    /// If the gateway does not come back from it.
    pub(crate) async fn suffer(&mut self, fault: Fault) -> Result<String> {
        self.witness.look(self.gateway.log(), Suspicion::None);
        let from = memory::saved_at(&self.gateway.home.data());
        let seen_by = self.latest("mix-ingress");
        let outcome = self.bring_about(fault).await;
        // At an orderly end everything is saved.
        let is_orderly = matches!(fault, Fault::Restart);
        if !is_orderly && self.latest("mix-ingress").filter(|ingress| ingress.runs()) != seen_by {
            self.books.forgets(Gap { from, to: Instant::now() });
        }
        outcome
    }

    async fn bring_about(&mut self, fault: Fault) -> Result<String> {
        match fault {
            Fault::Kill { worker } => self.kill(worker).await?,
            Fault::KillAgain { worker, times } => {
                for _ in 0..times {
                    self.kill(worker).await?;
                }
            }
            Fault::KillSupervisor => {
                self.kill_supervisor().await?;
                self.start_again().await?;
            }
            Fault::KillInStart { after } => {
                self.kill_supervisor().await?;
                self.start_in_vain(after).await?;
                self.start_again().await?;
            }
            Fault::Stop { name, lasts } => {
                let process = self.process(name).await?;
                process.signal(Signal::SIGSTOP)?;
                tokio::time::sleep(lasts).await;
                process.signal(Signal::SIGCONT)?;
            }
            Fault::Reset { stage, times } => {
                for account in self.accounts.clone().iter().cycle().take(times) {
                    if let Err(error) = pretender::reset(account, self.gateway.clients, stage).await {
                        eprintln!("a pretender was turned away: {error:#}");
                    }
                }
            }
            Fault::Garbage { worker, link, len } => return self.feed_garbage(worker, link, len).await,
            Fault::Restart => {
                let before = self.gateway.log().lines().len();
                self.end().await?;
                let is_unsaved = |line: &String| line.contains("marks of packets seen were not saved");
                if self.gateway.log().lines().iter().skip(before).any(is_unsaved) {
                    let from = memory::saved_at(&self.gateway.home.data());
                    self.books.forgets(Gap { from, to: Instant::now() });
                }
                self.start_again().await?;
            }
            Fault::FullDisk { lasts } => {
                let Some(disk) = &self.disk else {
                    return Ok("not done: takes the right to mount a disk".into());
                };
                disk.fill()?;
                tokio::time::sleep(lasts).await;
                disk.free()?;
            }
            Fault::TornDatabase { database } => return self.tear(database).await,
            Fault::LeftoverSnapshot { database } => {
                fs::write(self.folder(database).join("snap.00000000000FFFFF.generating"), b"half")?;
                self.kill("store").await?;
            }
        }
        Ok("done".into())
    }

    /// Ends the gateway in good order.
    ///
    /// # Errors
    /// If it does not end.
    pub(crate) async fn end(&mut self) -> Result<()> {
        let begin = Instant::now();
        let status = self.gateway.stop(Signal::SIGTERM).await?;
        let took = begin.elapsed();
        if status.code() != Some(0) || took > CLEAN_STOP {
            self.witness.note(format!("after SIGTERM the gateway ended with {status} within {took:?}"));
        }
        self.witness.close(self.gateway.log());
        Ok(())
    }

    /// Waits until all is well again.
    ///
    /// # Errors
    /// If that takes too long.
    pub(crate) async fn settle(&mut self) -> Result<()> {
        self.wait_for_all().await?;
        self.witness.look(self.gateway.log(), Suspicion::None);
        Ok(())
    }

    async fn wait_for_all(&self) -> Result<()> {
        for worker in tests::gateway::WORKERS {
            let ready =
                || self.gateway.worker(worker).is_ok_and(|ready| ready.runs() && self.latest(worker) == Some(ready));
            deadline::until(deadline::SOON, &format!("{worker} to be ready"), ready).await?;
        }
        Ok(())
    }

    /// The process of this worker that was started last.
    fn latest(&self, worker: &str) -> Option<Process> {
        let lines = self.gateway.log().lines();
        let started = |line: &&String| line.contains("worker started") && field(line, "worker") == Some(worker);
        lines.iter().rev().find(started).and_then(|line| field(line, "pid")?.parse().ok()).map(Process)
    }

    /// The present process of this name.
    async fn process(&self, name: &str) -> Result<Process> {
        if name == "supervisor" {
            return Ok(self.gateway.supervisor());
        }
        let runs = || self.latest(name).is_some_and(Process::runs);
        deadline::until(deadline::SOON, &format!("{name} to be started"), runs).await?;
        self.latest(name).context("a worker that was there is gone")
    }

    async fn kill(&mut self, worker: &str) -> Result<()> {
        let victim = self.process(worker).await?;
        self.kill_process(victim).await
    }

    async fn kill_process(&mut self, victim: Process) -> Result<()> {
        self.witness.expect_death(victim);
        victim.signal(Signal::SIGKILL)?;
        victim.wait_until_gone().await
    }

    async fn kill_supervisor(&mut self) -> Result<()> {
        self.gateway.kill_supervisor().await?;
        self.witness.close(self.gateway.log());
        Ok(())
    }

    async fn start_again(&mut self) -> Result<()> {
        self.gateway.start_again().await.context("the gateway does not start again")?;
        self.supervisor.send_replace(self.gateway.supervisor());
        self.place.send_replace(Place::from(&self.gateway));
        Ok(())
    }

    /// Starts the gateway, and kills all of it before anybody could know it.
    async fn start_in_vain(&mut self, after: Duration) -> Result<()> {
        let mut command = self.gateway.home.command("run", &[])?;
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0).spawn()?;
        let log = Log::follow(child.stderr.take().context("gatewayd has no standard error")?);
        let group = Pid::from_raw(i32::try_from(child.id().context("gatewayd has no process number")?)?);
        tokio::time::sleep(after).await;
        killpg(group, Signal::SIGKILL)?;
        deadline::soon("gatewayd to die", child.wait()).await??;
        log.wait_for_end().await?;
        self.witness.overhear(&log);
        Ok(())
    }

    async fn feed_garbage(&mut self, worker: &str, link: usize, len: usize) -> Result<String> {
        // A link that is about to be replaced may take garbage along unread.
        self.wait_for_all().await?;
        let process = self.process(worker).await?;
        let mut others = vec![self.gateway.supervisor()];
        others.extend(tests::gateway::WORKERS.iter().filter_map(|other| self.latest(other)));
        let before = self.gateway.log().lines().len();
        if let Err(error) = garbage::feed(process, &others, link, len) {
            return Ok(format!("not done: {error:#}"));
        }
        let accused = || {
            let lines = self.gateway.log().lines();
            let line = lines.iter().skip(before).find(|line| line.contains("worker is killed"))?;
            field(line, "pid")?.parse().ok().map(Process)
        };
        let outcome = deadline::until(REACTION, "somebody to be accused", || accused().is_some()).await;
        let accused = accused();
        self.witness.look(self.gateway.log(), Suspicion::Garbage);
        match (outcome, accused) {
            (Ok(()), Some(accused)) => accused.wait_until_gone().await?,
            _ => self.witness.note(format!("nobody was accused of {len} bytes of garbage from {worker} (link {link})")),
        }
        Ok("done".into())
    }

    fn folder(&self, database: Database) -> PathBuf {
        self.gateway.home.data().join(database.folder())
    }

    /// Kills the store in the middle of its writing, and changes what was not synced before the next one is started.
    async fn tear(&mut self, database: Database) -> Result<String> {
        let store = self.process("store").await?;
        let name = format!("{}/db", database.folder());
        let file = self.gateway.home.data().join(&name);
        let trace = Trace::watch(store, &name, self.gateway.home.root().join("trace"), &mut self.random).await;
        let supervisor = self.gateway.supervisor();
        supervisor.signal(Signal::SIGSTOP)?;
        let torn = async {
            self.kill_process(store).await?;
            let unsynced = match trace {
                Ok(trace) => trace.unsynced(&name).await,
                Err(error) => Err(error),
            };
            Ok(match unsynced {
                Ok(parts) => {
                    let unsynced: u64 = parts.iter().map(|part| part.end - part.start).sum();
                    let torn = tear::tear(&file, &parts, &mut self.random)?;
                    format!("done; {torn} of {unsynced} bytes not synced were changed")
                }
                Err(error) => {
                    let torn = tear::tear_behind_the_end(&file, &mut self.random)?;
                    format!("done, but only {torn} bytes behind the end of the file, because {error:#}")
                }
            })
        };
        let outcome: Result<String> = torn.await;
        supervisor.signal(Signal::SIGCONT)?;
        outcome
    }
}
