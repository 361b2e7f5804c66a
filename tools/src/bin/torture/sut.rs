//! The gateway under torture: its beginning, what it suffers, and its end.

use std::{
    net::IpAddr,
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use harness::{
    account::Account,
    ack_port::AckPort,
    addrs::Addrs,
    deadline,
    disk::{Disk, FileSystem},
    gateway::{Gateway, WORKERS},
    home::Home,
    log::field,
    log_oracle::{Cause, Injected, LogOracle},
    oracle::{Gap, Harm, Inbox, Oracle},
    packet::PacketMaker,
    process::Process,
};
use nix::sys::signal::Signal;
use rand::{SeedableRng, rngs::StdRng};
use tokio::sync::watch;

use crate::{
    coverage::Effect,
    fault::{Condition, Fault},
    flaw::{Flaw, Relays},
    memory,
    schedule::Meanwhile,
};

/// A clean stop takes no longer than this.
const CLEAN_STOP: Duration = Duration::from_secs(10);
/// The disk: large enough for all mail of a run, small enough to be filled at once.
const DISK_MIB: u32 = 768;

/// Beyond all other clients.
const FIRST_EXTRA_CLIENT: Inbox = 1_000_000;

/// The gateway, and all that faults need.
pub(crate) struct Sut {
    // Before the gateway, whose folder it is mounted in.
    disk: Option<Arc<Disk>>,
    /// The gateway.
    pub(crate) gateway: Gateway,
    /// Where it is.
    pub(crate) addrs: watch::Sender<Addrs>,
    /// Where SURB-acks go.
    acks: AckPort,
    /// What is between the gateway and those who use it, if something is to be wrong with it.
    pub(crate) relays: Relays,
    /// Its supervisor.
    pub(crate) supervisor: watch::Sender<Process>,
    /// What its log says.
    pub(crate) log_oracle: LogOracle,
    /// To be told of what may be forgotten.
    pub(crate) oracle: Arc<Oracle>,
    /// For what a fault leaves to chance.
    pub(crate) random: StdRng,
    /// Clients in whose names others come.
    pub(crate) accounts: Arc<[Account]>,
    /// The number in the oracle of the next client that only a fault has to do with.
    pub(crate) next_extra_client: Inbox,
}

impl Sut {
    /// Starts a gateway on this address, on a disk of its own if one may be mounted, and with something wrong about it if that is
    /// wanted.
    ///
    /// # Errors
    /// If it does not start.
    pub(crate) async fn open(
        ip: IpAddr,
        disk: Option<FileSystem>,
        seed: u64,
        flaw: Option<Flaw>,
        oracle: Arc<Oracle>,
    ) -> Result<Self> {
        let home = Home::empty()?;
        let mount = |file_system| Disk::mount_as(file_system, &home.data(), DISK_MIB);
        let disk = disk.map(mount).transpose()?.map(Arc::new);
        let home = home.initialised(ip).await?;
        // So that clients that stop reading are found out within the run.
        home.set_config("delivery", "receipt_timeout", "'6s'")?;
        // All clients have one address.
        home.set_config("limits", "registrations_per_minute", "10000")?;
        // So that a surge is more than the gateway has room for.
        home.set_config("limits", "packets_in_flight", "2_000")?;
        memory::save_often(&home)?;
        let gateway = Gateway::start_in(home, &[]).await?;
        let (addrs, _) = watch::channel(Addrs::from(&gateway));
        let (supervisor, _) = watch::channel(gateway.supervisor());
        let (log_oracle, random) = (LogOracle::default(), StdRng::seed_from_u64(seed));
        let acks = AckPort::start(ip, oracle.clone()).await?;
        let relays = Relays::around(ip, addrs.subscribe(), acks.address(), flaw).await?;
        let (accounts, next_extra_client) = (Arc::new([]), FIRST_EXTRA_CLIENT);
        Ok(Self {
            disk,
            gateway,
            addrs,
            acks,
            relays,
            supervisor,
            log_oracle,
            oracle,
            random,
            accounts,
            next_extra_client,
        })
    }

    /// Makes packets whose SURB-acks the oracle sees.
    pub(crate) fn packet_maker(&self) -> PacketMaker {
        PacketMaker { ack_hop: self.relays.acks, ..self.acks.packet_maker(self.gateway.sphinx) }
    }

    /// Brings a fault about, and says what came of it.
    ///
    /// # Errors
    /// If the gateway does not come back from it.
    pub(crate) async fn suffer(&mut self, fault: Fault) -> Result<Effect> {
        self.log_oracle.look(self.gateway.log(), Injected::Nothing);
        let from = memory::saved_at(&self.gateway.home.data());
        let (begin, before) = (Instant::now(), WORKERS.map(|worker| (worker, self.latest(worker))));
        let outcome = self.bring_about(fault).await;
        let end = Instant::now();
        let is_lost = |process: Option<Process>| process.is_none_or(|process| !process.runs());
        for (worker, _) in before.into_iter().filter(|(_, before)| is_lost(*before)) {
            self.oracle.suffered(Harm::Lost(worker), begin..end);
            // At an orderly end everything is saved.
            if worker == "mix-ingress" && !matches!(fault, Fault::Restart) {
                self.oracle.forgets(Gap { from, to: end });
            }
        }
        outcome
    }

    /// Has something last, and perhaps something else happen meanwhile. Says what came of both, and when the other
    /// began and ended.
    ///
    /// # Errors
    /// If the gateway does not come back from it.
    pub(crate) async fn endure(
        &mut self,
        condition: Condition,
        lasts: Duration,
        meanwhile: Option<Meanwhile>,
    ) -> Result<(Effect, Option<(Effect, Range<Instant>)>)> {
        let begin = Instant::now();
        let Some(lasting) = self.bring_on(condition).await? else {
            return Ok((Effect::NotDone("takes the right to mount a disk".into()), None));
        };
        let over = async {
            tokio::time::sleep(lasts).await;
            lasting.end()
        };
        let inner = async {
            let Some(Meanwhile { after, fault, .. }) = meanwhile else { return Ok(None) };
            tokio::time::sleep(after).await;
            let begin = Instant::now();
            let effect = self.suffer(fault).await?;
            anyhow::Ok(Some((effect, begin..Instant::now())))
        };
        // The one ends in its time whatever becomes of the other: it may be what that waits for.
        let (over, inner) = tokio::join!(over, inner);
        over?;
        let harm = match condition {
            Condition::FullDisk => Harm::FullDisk,
            Condition::Stopped { name } => Harm::Stopped(name),
        };
        self.oracle.suffered(harm, begin..Instant::now());
        Ok((Effect::DONE, inner?))
    }

    /// Begins what is to last, if that can be done.
    async fn bring_on(&mut self, condition: Condition) -> Result<Option<Lasting>> {
        Ok(match condition {
            Condition::Stopped { name } => {
                let process = self.process(name).await?;
                process.signal(Signal::SIGSTOP)?;
                Some(Lasting::Stopped(process))
            }
            Condition::FullDisk => {
                let disk = self.disk.clone();
                self.log_oracle.expect(Cause::FullDisk);
                disk.as_ref().map(|disk| disk.fill()).transpose()?;
                disk.map(Lasting::Full)
            }
        })
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
            self.log_oracle.note(format!("after SIGTERM the gateway ended with {status} within {took:?}"));
        }
        self.log_oracle.close(self.gateway.log());
        Ok(())
    }

    /// Waits until all is well again.
    ///
    /// # Errors
    /// If that takes too long.
    pub(crate) async fn settle(&mut self) -> Result<()> {
        self.wait_for_all().await?;
        self.log_oracle.look(self.gateway.log(), Injected::Nothing);
        Ok(())
    }

    /// Waits until every worker is ready.
    pub(crate) async fn wait_for_all(&self) -> Result<()> {
        for worker in WORKERS {
            let ready =
                || self.gateway.worker(worker).is_ok_and(|ready| ready.runs() && self.latest(worker) == Some(ready));
            deadline::until(deadline::SOON, &format!("{worker} to be ready"), ready).await?;
        }
        Ok(())
    }

    /// The process of this worker that was started last.
    pub(crate) fn latest(&self, worker: &str) -> Option<Process> {
        let lines = self.gateway.log().lines();
        let started = |line: &&String| line.contains("worker started") && field(line, "worker") == Some(worker);
        lines.iter().rev().find(started).and_then(|line| field(line, "pid")?.parse().ok()).map(Process)
    }

    /// The present process of this name.
    pub(crate) async fn process(&self, name: &str) -> Result<Process> {
        if name == "supervisor" {
            return Ok(self.gateway.supervisor());
        }
        let runs = || self.latest(name).is_some_and(Process::runs);
        deadline::until(deadline::SOON, &format!("{name} to be started"), runs).await?;
        self.latest(name).context("a worker that was there is gone")
    }
}

/// What goes on until it is ended.
enum Lasting {
    Stopped(Process),
    Full(Arc<Disk>),
}

impl Lasting {
    fn end(self) -> Result<()> {
        match self {
            Self::Stopped(process) => match process.signal(Signal::SIGCONT) {
                // It has been killed meanwhile.
                Err(_) if !process.runs() => Ok(()),
                outcome => outcome,
            },
            Self::Full(disk) => disk.free(),
        }
    }
}
