//! Measures what a role can do: starts its program as a probe, with the descriptors of the role, once for each attempt.
//!
//! *Trusts*: a probe, about its own attempt only. How a process died is seen from here. *Promises*: a probe gets what the role gets, but
//! for links, which lead nowhere. It lives for seconds. At most one probe tries something at a time; others only wait.

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
    ability::Ability,
    trial::{Targets, TrialOutcome, trials},
    wire::Tried,
};
use crate::{
    admin::wire::SOCKET,
    launch::{Death, EventKind, FiguresPages, LaunchSpec, Worker, WorkerEvent, peers, process_exists},
    plan::RunPlan,
};

/// The time for one probe, from its start to its end.
const PROBE_LIMIT: Duration = Duration::from_secs(10);
/// The length of the queue of reports of one probe.
const EVENTS: usize = 8;

/// The folder of the account that runs this process, according to the user database; `HOME` may name another. There may be none.
fn home_of_account() -> Option<PathBuf> {
    let user = User::from_uid(geteuid()).ok().flatten()?;
    user.dir.is_dir().then_some(user.dir)
}

/// Starts probes.
#[derive(Debug)]
pub(crate) struct Prober {
    spec: Arc<LaunchSpec>,
}

/// A probe that waits in its jail, so that it can be looked at from outside. Dropping it ends the process.
#[derive(Debug)]
pub(crate) struct WaitingProbe {
    layers: ActiveLayers,
    worker: Worker,
    _events: mpsc::Receiver<WorkerEvent>,
    _links: Vec<OwnedFd>,
}

impl WaitingProbe {
    /// The layers of its jail, as it reports them.
    pub(crate) const fn layers(&self) -> &ActiveLayers {
        &self.layers
    }

    /// Its process number.
    pub(crate) const fn pid(&self) -> u32 {
        self.worker.pid()
    }
}

impl Prober {
    pub(crate) const fn new(spec: Arc<LaunchSpec>) -> Self {
        Self { spec }
    }

    /// What probes are started from.
    pub(crate) fn spec(&self) -> Arc<LaunchSpec> {
        Arc::clone(&self.spec)
    }

    /// Tries every way in which `role` might have `ability`. `others` are the processes of other roles.
    ///
    /// # Errors
    /// If a target of the attempts cannot be prepared.
    pub(crate) async fn measure(&self, role: Role, ability: Ability, others: Vec<u32>) -> io::Result<Vec<Tried>> {
        // Sockets that answer.
        let (tcp, udp) = (listeners()?, UdpSocket::bind(("127.0.0.1", 0))?);
        let mut answering = tcp.iter().map(TcpListener::local_addr).collect::<io::Result<Vec<_>>>()?;
        // The kernel lets `mix-egress` connect to this port even if it enforces a short list of ports.
        answering.push(reachable(self.spec.resources.mix_address()?));
        let others = others.into_iter().chain([std::process::id()]).collect();
        let targets = self.targets(answering, udp.local_addr()?, others)?;
        let mut tried = Vec::new();
        for trial in trials(ability, &targets) {
            let mut outcome = self.probe(role, &trial.attempt).await;
            let is_gone =
                |other: &&u32| !i32::try_from(**other).is_ok_and(|other| process_exists(Pid::from_raw(other)));
            if let Some(gone) = targets.others.iter().find(is_gone) {
                outcome = TrialOutcome::Broken(format!("process {gone}, the target of the attempt, is gone"));
            }
            tried.push(Tried { attempt: trial.attempt, own: trial.own, outcome });
        }
        Ok(tried)
    }

    fn targets(&self, tcp: Vec<SocketAddr>, udp: SocketAddr, others: Vec<u32>) -> io::Result<Targets> {
        let RunPlan { config, config_file, run_dir, .. } = &self.spec.plan;
        let (home, keys, clients) = (&config.home, &config.keys, &config.clients);
        for path in [&keys.private_identity, &keys.private_sphinx, home] {
            path.metadata()?;
        }
        let directories = ["/tmp", "/dev/shm", "/var/tmp"].map(PathBuf::from).into_iter();
        let directories = directories.chain([home.clone(), run_dir.clone()]).filter(|path| path.is_dir()).collect();
        // A process in a jail must not become root, nor the account that started it. Without accounts of their own the workers already
        // have the account that started them.
        let us = geteuid().as_raw();
        let users = if us == 0 || !self.spec.separates_accounts() { vec![0] } else { vec![0, us] };
        Ok(Targets {
            identity_key: keys.private_identity.clone(),
            sphinx_key: keys.private_sphinx.clone(),
            ledger: (clients.ledger.clone(), inode(&clients.ledger)?),
            inboxes: (clients.inboxes.clone(), inode(&clients.inboxes)?),
            homes: [home.clone(), config_file.clone()].into_iter().chain(home_of_account()).collect(),
            directories,
            tcp,
            udp,
            socket: run_dir.join(SOCKET),
            others,
            users,
        })
    }

    /// Starts a probe that closes its jail and waits.
    ///
    /// # Errors
    /// If the probe ends before.
    pub(crate) async fn wait_in_jail(&self, role: Role) -> io::Result<WaitingProbe> {
        let (worker, mut events, links) = self.start(role, Attempt::Wait)?;
        let heard = timeout(PROBE_LIMIT, async {
            let mut layers = ActiveLayers::default();
            loop {
                match events.recv().await.map(|event| event.kind) {
                    Some(EventKind::Report(WorkerReport::JailClosed(active))) => layers = active,
                    Some(EventKind::Report(WorkerReport::ReportFinding(_))) => return Ok(layers),
                    Some(EventKind::Report(WorkerReport::StartFailed { what })) => return Err(io::Error::other(what)),
                    Some(EventKind::Report(_)) => {}
                    other => return Err(io::Error::other(format!("a probe of {role} did not wait: {other:?}"))),
                }
            }
        });
        let layers = heard.await??;
        Ok(WaitingProbe { layers, worker, _events: events, _links: links })
    }

    fn start(&self, role: Role, attempt: Attempt) -> io::Result<(Worker, mpsc::Receiver<WorkerEvent>, Vec<OwnedFd>)> {
        let mut grants = self.spec.resources.grants_for(role)?;
        grants.push(FiguresPages::grant_for_probe(role)?);
        grants.extend(self.spec.pages_to_read(role)?);
        let mut far_ends = Vec::new();
        for peer in peers(role) {
            let (near, far) = link_pair()?;
            grants.push((Grant::Link(peer), near));
            far_ends.push(far);
        }
        let (grants, descriptors): (Vec<_>, Vec<_>) = grants.into_iter().unzip();
        let start = self.spec.start_message(role, grants, Some(attempt));
        let (reporter, events) = mpsc::channel(EVENTS);
        let worker = Worker::spawn(role, self.spec.program(role)?, start, &descriptors, reporter)?;
        Ok((worker, events, far_ends))
    }

    async fn probe(&self, role: Role, attempt: &Attempt) -> TrialOutcome {
        let (_worker, mut events, _links) = match self.start(role, attempt.clone()) {
            Ok(started) => started,
            Err(error) => return TrialOutcome::Broken(format!("a probe of {role} cannot be started: {error}")),
        };
        match timeout(PROBE_LIMIT, follow(&mut events, attempt)).await {
            Ok(outcome) => outcome,
            Err(_) => TrialOutcome::Broken("the probe did not end in time".to_owned()),
        }
    }
}

async fn follow(events: &mut mpsc::Receiver<WorkerEvent>, attempt: &Attempt) -> TrialOutcome {
    let mut last_words = LastWords::default();
    loop {
        match events.recv().await.map(|event| event.kind) {
            Some(EventKind::Report(WorkerReport::ReportFinding(finding))) => last_words.found = Some(finding),
            Some(EventKind::Report(WorkerReport::StartFailed { what })) => last_words.failure = Some(what),
            Some(EventKind::Report(WorkerReport::RefuseSyscall { number })) => last_words.refused = Some(number),
            Some(EventKind::Report(_) | EventKind::LinkClosed) => {}
            Some(EventKind::Garbled) => {
                return TrialOutcome::Broken("the probe sent bytes that are no report".to_owned());
            }
            Some(EventKind::Ended(death)) => return judge(last_words, &death, attempt),
            None => return TrialOutcome::Broken("the end of the probe was not reported".to_owned()),
        }
    }
}

/// The reports of a probe before its end.
#[derive(Default)]
struct LastWords {
    found: Option<Finding>,
    failure: Option<String>,
    refused: Option<u32>,
}

/// The outcome of an attempt. A report about a refused system call is believed only if the filter killed the process.
fn judge(said: LastWords, death: &Death, attempt: &Attempt) -> TrialOutcome {
    let became_another = matches!(attempt, Attempt::Execute { .. } | Attempt::ExecuteAt { .. });
    match (said.found, said.failure, death) {
        (Some(Finding::Allowed | Finding::Opened), ..) => TrialOutcome::Allowed,
        (Some(Finding::Denied { errno }), ..) => TrialOutcome::Denied(errno),
        (None, Some(what), _) => TrialOutcome::Broken(what),
        (None, None, death) if death.is_refusal() => said.refused.map_or(TrialOutcome::Killed, TrialOutcome::Refused),
        // The process became another program, which reports no finding.
        (None, None, Death::Exit(status)) if became_another && status.success() => TrialOutcome::Allowed,
        (None, None, death) => TrialOutcome::Broken(format!("the probe died with {death}")),
    }
}

fn inode(path: &Path) -> io::Result<Inode> {
    let metadata = path.metadata()?;
    Ok(Inode { device: metadata.dev(), number: metadata.ino() })
}

/// The address at which this machine reaches one of its listeners.
fn reachable(mut listening: SocketAddr) -> SocketAddr {
    if listening.ip().is_unspecified() {
        listening.set_ip(if listening.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
    }
    listening
}

/// One listener for each address family that this machine has.
fn listeners() -> io::Result<Vec<TcpListener>> {
    let mut listeners = vec![TcpListener::bind(("127.0.0.1", 0))?];
    listeners.extend(TcpListener::bind(("::1", 0)));
    Ok(listeners)
}
