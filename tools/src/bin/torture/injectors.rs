//! How each fault is brought about.

use std::{
    fs,
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use harness::{
    addrs::Addrs,
    deadline,
    log::{Log, field},
    log_oracle::{Cause, Injected},
    oracle::Gap,
    process::Process,
};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

use crate::{
    coverage::Effect,
    fault::{Database, Fault, Stage},
    garbage, memory, spoof,
    sut::Sut,
    tear::{self, Torn, Trace},
};

/// A worker that is reported for garbage has been replaced by then: the garbage is read after all else that the link holds.
const REACTION: Duration = Duration::from_secs(10);
/// Attempts at a fault that may miss: garbage on a link that has just closed, a reset on an edge that has just died, the tearing of a
/// database to which nothing was being written.
const ATTEMPTS: usize = 3;

impl Sut {
    /// Brings a fault about, and says what came of it.
    ///
    /// # Errors
    /// If the gateway does not come back from it.
    pub(crate) async fn bring_about(&mut self, fault: Fault) -> Result<Effect> {
        match fault {
            Fault::Kill { worker } => self.kill(worker).await?,
            Fault::KillTwo { workers } => self.kill_at_once(workers).await?,
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
            Fault::KillInRegistration { worker, after } => return self.kill_in_registration(worker, after).await,
            Fault::KillInForgetting { worker, after } => return self.kill_in_forgetting(worker, after).await,
            Fault::Reset { stage, times } => return Ok(self.reset(stage, times).await),
            Fault::Garbage { worker, link, len } => return self.feed_garbage(worker, link, len).await,
            Fault::Restart => self.restart().await?,
            Fault::TornDatabase { database } => return self.tear(database).await,
            Fault::LeftoverSnapshot { database } => {
                fs::write(self.folder(database).join("snap.00000000000FFFFF.generating"), b"half")?;
                self.kill("store").await?;
            }
        }
        Ok(Effect::DONE)
    }

    async fn kill(&mut self, worker: &str) -> Result<()> {
        let victim = self.process(worker).await?;
        self.kill_process(victim).await
    }

    async fn kill_at_once(&mut self, [one, other]: [&str; 2]) -> Result<()> {
        let victims = [self.process(one).await?, self.process(other).await?];
        for victim in victims {
            self.log_oracle.expect_death(victim);
            victim.signal(Signal::SIGKILL)?;
        }
        for victim in victims {
            victim.wait_until_gone().await?;
        }
        Ok(())
    }

    pub(crate) async fn kill_process(&mut self, victim: Process) -> Result<()> {
        self.log_oracle.expect_death(victim);
        victim.signal(Signal::SIGKILL)?;
        victim.wait_until_gone().await
    }

    async fn kill_supervisor(&mut self) -> Result<()> {
        self.gateway.kill_supervisor().await?;
        self.log_oracle.close(self.gateway.log());
        Ok(())
    }

    async fn start_again(&mut self) -> Result<()> {
        self.gateway.start_again().await.context("the gateway does not start again")?;
        self.supervisor.send_replace(self.gateway.supervisor());
        self.addrs.send_replace(Addrs::from(&self.gateway));
        Ok(())
    }

    /// Starts the gateway, and kills all of it before a client can connect.
    async fn start_in_vain(&mut self, after: Duration) -> Result<()> {
        let mut command = self.gateway.home.command("run", &[])?;
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0).spawn()?;
        let log = Log::follow(child.stderr.take().context("gatewayd has no standard error")?);
        let group = Pid::from_raw(i32::try_from(child.id().context("gatewayd has no process number")?)?);
        tokio::time::sleep(after).await;
        killpg(group, Signal::SIGKILL)?;
        deadline::soon("gatewayd to die", child.wait()).await??;
        log.wait_for_end().await?;
        self.log_oracle.overhear(&log);
        Ok(())
    }

    async fn restart(&mut self) -> Result<()> {
        let before = self.gateway.log().lines().len();
        self.end().await?;
        let is_unsaved = |line: &String| line.contains("marks of packets seen were not saved");
        if self.gateway.log().lines().iter().skip(before).any(is_unsaved) {
            let from = memory::saved_at(&self.gateway.home.data());
            self.oracle.forgets(Gap { from, to: Instant::now() });
        }
        self.start_again().await
    }

    async fn reset(&mut self, stage: Stage, times: usize) -> Effect {
        let (mut done, mut refusal) = (0, None);
        for account in self.accounts.clone().iter().cycle().take(times + ATTEMPTS) {
            match spoof::reset(account, self.gateway.clients, stage).await {
                Ok(()) => done += 1,
                Err(error) => refusal = Some(error),
            }
            if done == times {
                return Effect::DONE;
            }
        }
        Effect::NotDone(format!("only {done} were let in; the last one was turned away: {refusal:?}"))
    }

    async fn feed_garbage(&mut self, worker: &str, link: usize, len: usize) -> Result<Effect> {
        let mut attempt = 1;
        let before = loop {
            // A link that is about to be replaced may take garbage along unread.
            self.wait_for_all().await?;
            let process = self.process(worker).await?;
            let mut gateway = vec![self.gateway.supervisor()];
            gateway.extend(harness::gateway::WORKERS.iter().filter_map(|worker| self.latest(worker)));
            let before = self.gateway.log().lines().len();
            match garbage::feed(process, &gateway, link, len) {
                Ok(()) => break before,
                Err(error) if attempt == ATTEMPTS => return Ok(Effect::NotDone(format!("{error:#}"))),
                Err(_) => attempt += 1,
            }
        };
        let accused = || {
            let lines = self.gateway.log().lines();
            let line = lines.iter().skip(before).find(|line| line.contains("worker is killed"))?;
            field(line, "pid")?.parse().ok().map(Process)
        };
        let outcome = deadline::until(REACTION, "somebody to be accused", || accused().is_some()).await;
        let accused = accused();
        self.log_oracle.look(self.gateway.log(), Injected::Garbage);
        match (outcome, accused) {
            (Ok(()), Some(accused)) => accused.wait_until_gone().await?,
            _ => self
                .log_oracle
                .note(format!("nobody was accused of {len} bytes of garbage from {worker} (link {link})")),
        }
        Ok(Effect::DONE)
    }

    fn folder(&self, database: Database) -> PathBuf {
        self.gateway.home.data().join(database.folder())
    }

    async fn tear(&mut self, database: Database) -> Result<Effect> {
        let mut attempt = 1;
        loop {
            match self.tear_once(database).await? {
                Ok(Torn { bytes, unsynced }) if bytes > 0 => {
                    return Ok(Effect::Done(format!("{bytes} of {unsynced} bytes not synced were changed")));
                }
                Ok(_) if attempt == ATTEMPTS => return Ok(Effect::NotDone("all was synced".into())),
                Err(why) if attempt == ATTEMPTS => {
                    return Ok(Effect::NotDone(format!("torn behind the end of the file only, because {why:#}")));
                }
                _ => attempt += 1,
            }
        }
    }

    /// Kills the store in the middle of its writing, and changes what was not synced before the next one is started.
    async fn tear_once(&mut self, database: Database) -> Result<Result<Torn>> {
        let store = self.process("store").await?;
        let folder = database.folder();
        self.log_oracle.expect(Cause::TornDatabase);
        let trace = Trace::watch(store, folder, self.gateway.home.root().join("trace"), &mut self.random).await;
        let supervisor = self.gateway.supervisor();
        supervisor.signal(Signal::SIGSTOP)?;
        let torn = async {
            self.kill_process(store).await?;
            let unsynced = match trace {
                Ok(trace) => trace.unsynced(folder).await,
                Err(error) => Err(error),
            };
            Ok(match unsynced {
                Ok(parts) => Ok(tear::tear(&parts, &mut self.random)?),
                Err(error) => {
                    // A segment has all of its length from the start.
                    if let Database::Ledger = database {
                        tear::tear_behind_the_end(&self.folder(database).join("db"), &mut self.random)?;
                    }
                    Err(error)
                }
            })
        };
        let outcome = torn.await;
        supervisor.signal(Signal::SIGCONT)?;
        outcome
    }
}
