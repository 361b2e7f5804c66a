//! Measures what a role can do: starts its program as a probe, with what the role is lent, once per attempt.
//!
//! *Trusts*: no word but that of a probe about its own attempt; how a process died is seen from here. *Promises*: a probe gets what
//! the role gets (the links lead nowhere) and lives for seconds; one at a time, beside those that only wait.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ipc::{
    Role,
    control::{Grant, WorkerReport},
    jail::ActiveLayers,
    probe::{Attempt, Finding, Inode},
};
use link::descriptor::link_pair;
use nix::unistd::{Pid, User, geteuid};
use tokio::{sync::mpsc, time::timeout};

use super::{
    alive::runs,
    crew::Equipment,
    links,
    worker::{Death, Event, What, Worker},
};
use crate::{
    audit::{
        ability::Ability,
        trial::{Outcome, Targets, trials},
        wire::Tried,
    },
    run::RunPlan,
};

/// Time for one probe, from its birth to its end.
const PROBE_LIMIT: Duration = Duration::from_secs(10);
/// Reports of one probe that wait.
const EVENTS: usize = 8;

/// Where the things are that a probe tries to reach.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    identity_key: PathBuf,
    sphinx_key: PathBuf,
    ledger: PathBuf,
    inboxes: PathBuf,
    home: PathBuf,
    homes: Vec<PathBuf>,
    run_dir: PathBuf,
}

impl Places {
    pub(crate) fn of(plan: &RunPlan) -> Self {
        Self {
            identity_key: plan.keys.private_identity.clone(),
            sphinx_key: plan.keys.private_sphinx.clone(),
            ledger: plan.ledger_path.clone(),
            inboxes: plan.inboxes_dir.clone(),
            home: plan.home.clone(),
            homes: [plan.home.clone(), plan.config_file.clone()].into_iter().chain(home_of_account()).collect(),
            run_dir: plan.run_dir.clone(),
        }
    }
}

/// The folder of the account that runs this process, whatever `HOME` says. There may be none.
fn home_of_account() -> Option<PathBuf> {
    let user = User::from_uid(geteuid()).ok().flatten()?;
    user.dir.is_dir().then_some(user.dir)
}

/// Starts probes.
#[derive(Debug)]
pub(crate) struct Prober {
    equipment: Arc<Equipment>,
    places: Places,
}

/// A probe that waits to be looked at. Gone when dropped.
#[derive(Debug)]
pub(crate) struct Waiting {
    held: ActiveLayers,
    worker: Worker,
    _events: mpsc::Receiver<Event>,
    _links: Vec<OwnedFd>,
}

impl Waiting {
    /// What it says of its jail.
    pub(crate) const fn held(&self) -> &ActiveLayers {
        &self.held
    }

    /// Its process number.
    pub(crate) const fn pid(&self) -> u32 {
        self.worker.pid()
    }
}

impl Prober {
    pub(crate) const fn new(equipment: Arc<Equipment>, places: Places) -> Self {
        Self { equipment, places }
    }

    /// Tries every way in which `role` might have `ability`. `others` are the processes of other roles.
    ///
    /// # Errors
    /// If there is nothing to try on.
    pub(crate) async fn measure(&self, role: Role, ability: Ability, others: Vec<u32>) -> io::Result<Vec<Tried>> {
        // Whoever answers there, and a directory that everybody may write to.
        let (tcp, udp) = (listeners()?, UdpSocket::bind(("127.0.0.1", 0))?);
        let mut answering = tcp.iter().map(TcpListener::local_addr).collect::<io::Result<Vec<_>>>()?;
        // The port that the kernel lets `mix-egress` connect to even if it is told of a few only.
        answering.push(reachable(self.equipment.holdings.mix_address()?));
        let others = others.into_iter().chain([std::process::id()]).collect();
        let targets = self.targets(answering, udp.local_addr()?, others)?;
        let mut tried = Vec::new();
        for trial in trials(ability, &targets) {
            let mut outcome = self.probe(role, &trial.attempt).await;
            let is_gone = |other: &&u32| !i32::try_from(**other).is_ok_and(|other| runs(Pid::from_raw(other)));
            if let Some(gone) = targets.others.iter().find(is_gone) {
                outcome = Outcome::Broken(format!("process {gone}, which it was to be tried on, is gone"));
            }
            tried.push(Tried { attempt: trial.attempt, own: trial.own, outcome });
        }
        Ok(tried)
    }

    fn targets(&self, tcp: Vec<SocketAddr>, udp: SocketAddr, others: Vec<u32>) -> io::Result<Targets> {
        let Places { identity_key, sphinx_key, ledger, inboxes, home, homes, run_dir } = &self.places;
        for path in [identity_key, sphinx_key, home] {
            path.metadata()?;
        }
        let directories = ["/tmp", "/dev/shm", "/var/tmp"].map(PathBuf::from).into_iter();
        let directories = directories.chain([home.clone(), run_dir.clone()]).filter(|path| path.is_dir()).collect();
        // Somebody in a jail may not become root, nor who started it; where all have one account, it is that already.
        let us = geteuid().as_raw();
        let users = if us == 0 || !self.equipment.separates_accounts() { vec![0] } else { vec![0, us] };
        Ok(Targets {
            identity_key: identity_key.clone(),
            sphinx_key: sphinx_key.clone(),
            ledger: (ledger.clone(), inode(ledger)?),
            inboxes: (inboxes.clone(), inode(inboxes)?),
            homes: homes.clone(),
            directories,
            tcp,
            udp,
            socket: run_dir.join(super::admin::SOCKET),
            others,
            users,
        })
    }

    /// A probe that has closed its jail and waits.
    ///
    /// # Errors
    /// If it does not come so far.
    pub(crate) async fn wait_in_jail(&self, role: Role) -> io::Result<Waiting> {
        let (worker, mut events, links) = self.start(role, Attempt::Wait)?;
        let heard = timeout(PROBE_LIMIT, async {
            let mut held = ActiveLayers::default();
            loop {
                match events.recv().await.map(|event| event.what) {
                    Some(What::Report(WorkerReport::JailClosed(layers))) => held = layers,
                    Some(What::Report(WorkerReport::ReportFinding(_))) => return Ok(held),
                    Some(What::Report(WorkerReport::StartFailed { what })) => return Err(io::Error::other(what)),
                    Some(What::Report(_)) => {}
                    other => return Err(io::Error::other(format!("a probe of {role} did not wait: {other:?}"))),
                }
            }
        });
        let held = heard.await??;
        Ok(Waiting { held, worker, _events: events, _links: links })
    }

    fn start(&self, role: Role, attempt: Attempt) -> io::Result<(Worker, mpsc::Receiver<Event>, Vec<OwnedFd>)> {
        let mut lent = self.equipment.holdings.for_role(role)?;
        let mut far_ends = Vec::new();
        for peer in links::peers(role) {
            let (near, far) = link_pair()?;
            lent.push((Grant::Link(peer), near));
            far_ends.push(far);
        }
        let (grants, descriptors): (Vec<_>, Vec<_>) = lent.into_iter().unzip();
        let start = self.equipment.start(role, grants, Some(attempt));
        let (reporter, events) = mpsc::channel(EVENTS);
        let worker = Worker::spawn(role, self.equipment.binaries.get(role), start, &descriptors, reporter)?;
        Ok((worker, events, far_ends))
    }

    async fn probe(&self, role: Role, attempt: &Attempt) -> Outcome {
        let (_worker, mut events, _links) = match self.start(role, attempt.clone()) {
            Ok(started) => started,
            Err(error) => return Outcome::Broken(format!("a probe of {role} cannot be started: {error}")),
        };
        match timeout(PROBE_LIMIT, follow(&mut events, attempt)).await {
            Ok(outcome) => outcome,
            Err(_) => Outcome::Broken("the probe did not end in time".to_owned()),
        }
    }
}

async fn follow(events: &mut mpsc::Receiver<Event>, attempt: &Attempt) -> Outcome {
    let mut last_words = LastWords::default();
    loop {
        match events.recv().await.map(|event| event.what) {
            Some(What::Report(WorkerReport::ReportFinding(finding))) => last_words.found = Some(finding),
            Some(What::Report(WorkerReport::StartFailed { what })) => last_words.failure = Some(what),
            Some(What::Report(WorkerReport::RefuseSyscall { number })) => last_words.refused = Some(number),
            Some(What::Report(_) | What::Silent) => {}
            Some(What::Garbled) => return Outcome::Broken("the probe said what no probe says".to_owned()),
            Some(What::Ended(death)) => return judge(last_words, &death, attempt),
            None => return Outcome::Broken("the probe was lost sight of".to_owned()),
        }
    }
}

/// What a probe has said before it ended.
#[derive(Default)]
struct LastWords {
    found: Option<Finding>,
    failure: Option<String>,
    refused: Option<u32>,
}

/// A word about a refusal is believed only of a process that died of one.
fn judge(said: LastWords, death: &Death, attempt: &Attempt) -> Outcome {
    let became_another = matches!(attempt, Attempt::Execute { .. } | Attempt::ExecuteAt { .. });
    match (said.found, said.failure, death) {
        (Some(Finding::Allowed | Finding::Opened), ..) => Outcome::Allowed,
        (Some(Finding::Denied { errno }), ..) => Outcome::Denied(errno),
        (None, Some(what), _) => Outcome::Broken(what),
        (None, None, death) if death.is_refusal() => said.refused.map_or(Outcome::Killed, Outcome::Refused),
        // Another program knows nothing of findings.
        (None, None, Death::Exit(status)) if became_another && status.success() => Outcome::Allowed,
        (None, None, death) => Outcome::Broken(format!("the probe died with {death}")),
    }
}

fn inode(path: &Path) -> io::Result<Inode> {
    let metadata = path.metadata()?;
    Ok(Inode { device: metadata.dev(), number: metadata.ino() })
}

/// Where a listener on every address is reached on this machine.
fn reachable(mut listening: SocketAddr) -> SocketAddr {
    if listening.ip().is_unspecified() {
        listening.set_ip(if listening.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
    }
    listening
}

/// One of each family that this machine has.
fn listeners() -> io::Result<Vec<TcpListener>> {
    let mut listeners = vec![TcpListener::bind(("127.0.0.1", 0))?];
    listeners.extend(TcpListener::bind(("::1", 0)));
    Ok(listeners)
}
