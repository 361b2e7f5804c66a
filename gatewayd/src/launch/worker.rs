//! One worker process: its start, its control link, its death.
//!
//! *Trusts*: no report of the worker about anything but itself. Reports have a fixed form, and their text is cleaned here. *Promises*: a
//! worker inherits its control link as standard input, `/dev/null` as standard output, the log as standard error, and nothing else: no
//! variable, no folder, no descriptor. The rest comes in its start message. When a [`Worker`] is dropped, its process is killed.

use std::{
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{net::UnixDatagram as BlockingSocket, process::ExitStatusExt},
    },
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use ipc::{
    Role, codec,
    control::{Start, WorkerCommand, WorkerReport},
    jail::{ActiveLayers, Missing},
};
use link::descriptor;
use nix::sys::signal::Signal;
use tokio::{
    io::Interest,
    net::UnixDatagram,
    process::{Child, Command},
    sync::{Notify, mpsc},
    task::JoinHandle,
};

use super::binaries::Program;

/// The longest text of a worker that is passed on, in characters.
const TEXT_LIMIT: usize = 600;

/// The time between the end of a worker's control link and the moment its death can be seen.
const DYING: Duration = Duration::from_secs(1);

/// Something that happened to a worker.
#[derive(Debug)]
pub(crate) struct WorkerEvent {
    /// The worker.
    pub(crate) role: Role,
    /// What happened.
    pub(crate) kind: EventKind,
}

/// What can happen to a worker. `Ended` is always the last event.
#[derive(Debug)]
pub(crate) enum EventKind {
    /// It sent a report. Texts are clean.
    Report(WorkerReport),
    /// It sent bytes that are no report. No further bytes are read.
    Garbled,
    /// It closed its control link and lives on. At its orderly end this is normal.
    LinkClosed,
    /// The process ended.
    Ended(Death),
}

/// How a process ended.
#[derive(Debug)]
pub(crate) enum Death {
    /// With this status.
    Exit(ExitStatus),
    /// The operating system does not tell how.
    Unknown(io::Error),
}

impl Death {
    /// Whether the filter of system calls killed it.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Exit(status) if status.signal() == Some(Signal::SIGSYS as i32))
    }

    /// Whether the worker reported success by its exit status.
    pub(crate) fn is_orderly(&self) -> bool {
        matches!(self, Self::Exit(status) if status.success())
    }
}

impl std::fmt::Display for Death {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exit(status) => write!(f, "{status}"),
            Self::Unknown(error) => write!(f, "unknown status: {error}"),
        }
    }
}

/// A process that was started and whose death has not been reported yet.
#[derive(Debug)]
pub(crate) struct Worker {
    pid: u32,
    born: Instant,
    control: Arc<UnixDatagram>,
    kill: Arc<Notify>,
    watch: JoinHandle<()>,
}

impl Worker {
    /// Starts `program`, and sends it `start` with `descriptors`. What happens to it is sent to `events`.
    ///
    /// To be called on the main thread, because the worker asks the kernel to kill it when the thread that started it ends.
    ///
    /// # Errors
    /// If the start message cannot be sent, or the program cannot be started.
    pub(crate) fn spawn(
        role: Role,
        program: &Program,
        start: Start,
        descriptors: &[OwnedFd],
        events: mpsc::Sender<WorkerEvent>,
    ) -> io::Result<Self> {
        let (ours, theirs) = descriptor::control_pair()?;
        let ours = BlockingSocket::from(ours);
        ours.set_nonblocking(true)?;
        // Sent before the process exists, so that no worker exists without its start message.
        send(ours.as_fd(), &WorkerCommand::StartWorker(Box::new(start)), descriptors)?;
        let control = Arc::new(UnixDatagram::from_std(ours)?);
        let child = Command::new(program.path())
            .arg0(program.name())
            .env_clear()
            .current_dir("/")
            .stdin(theirs)
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()?;
        let pid = child.id().ok_or_else(|| io::Error::other("the process ended as soon as it was started"))?;
        let kill = Arc::new(Notify::new());
        let watch = tokio::spawn(watch(role, child, Arc::clone(&control), Arc::clone(&kill), events));
        Ok(Self { pid, born: Instant::now(), control, kill, watch })
    }

    /// Its process number.
    pub(crate) const fn pid(&self) -> u32 {
        self.pid
    }

    /// When it was started.
    pub(crate) const fn born(&self) -> Instant {
        self.born
    }

    /// Sends an order, without waiting.
    ///
    /// # Errors
    /// If the worker is dying, or its control link is full because it does not read it.
    pub(crate) fn send(&self, command: &WorkerCommand, descriptors: &[OwnedFd]) -> io::Result<()> {
        send(self.control.as_fd(), command, descriptors)
    }

    /// Kills it. Its death is reported as any other death.
    pub(crate) fn kill(&self) {
        self.kill.notify_one();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

fn send(control: BorrowedFd<'_>, command: &WorkerCommand, descriptors: &[OwnedFd]) -> io::Result<()> {
    let bytes = codec::encode_one(command).map_err(io::Error::other)?;
    let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
    descriptor::send(control, &bytes, &descriptors)
}

/// Sends events until the process is gone. The process is killed and reaped only here. Otherwise a signal could reach another process
/// that got the same number.
async fn watch(
    role: Role,
    mut child: Child,
    control: Arc<UnixDatagram>,
    kill: Arc<Notify>,
    events: mpsc::Sender<WorkerEvent>,
) {
    let mut listening = true;
    let death = loop {
        let kind = tokio::select! {
            // The death comes first: the end of the link may be seen at the same moment.
            biased;
            status = child.wait() => break status.map_or_else(Death::Unknown, Death::Exit),
            () = kill.notified() => {
                // An error means that it is dead already. The branch above reports the death.
                let _ = child.start_kill();
                continue;
            }
            kind = hear(&control), if listening => kind,
        };
        listening = matches!(kind, EventKind::Report(_));
        if events.send(WorkerEvent { role, kind }).await.is_err() {
            return;
        }
    };
    // Its last reports may have come together with its death.
    while listening {
        let kind = understand(receive(&control));
        listening = matches!(kind, EventKind::Report(_));
        if listening && events.send(WorkerEvent { role, kind }).await.is_err() {
            return;
        }
    }
    // An error means that the supervisor itself is ending.
    let _ = events.send(WorkerEvent { role, kind: EventKind::Ended(death) }).await;
}

async fn hear(control: &UnixDatagram) -> EventKind {
    let kind = understand(control.async_io(Interest::READABLE, || receive(control)).await);
    if matches!(kind, EventKind::LinkClosed) {
        // A process that ends closes its descriptors a moment before its death can be seen.
        tokio::time::sleep(DYING).await;
    }
    kind
}

/// Receives one report. A worker that dies with unread orders causes one error (connection reset) before its last reports.
fn receive(control: &UnixDatagram) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    match descriptor::receive(control.as_fd()) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => descriptor::receive(control.as_fd()),
        received => received,
    }
}

/// Decodes one report. Descriptors that came with it are closed, because a worker has none to give.
fn understand(heard: io::Result<(Vec<u8>, Vec<OwnedFd>)>) -> EventKind {
    match heard {
        Ok((bytes, _)) if bytes.is_empty() => EventKind::LinkClosed,
        Ok((bytes, _)) => {
            codec::decode_one(&bytes).map_or(EventKind::Garbled, |report| EventKind::Report(clean(report)))
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidData => EventKind::Garbled,
        Err(_) => EventKind::LinkClosed,
    }
}

fn clean(report: WorkerReport) -> WorkerReport {
    match report {
        WorkerReport::WorkerReady => WorkerReport::WorkerReady,
        WorkerReport::StartFailed { what } => WorkerReport::StartFailed { what: clean_text(&what) },
        WorkerReport::LinkViolated { peer, link, rule } => {
            WorkerReport::LinkViolated { peer, link, rule: clean_text(&rule) }
        }
        WorkerReport::ReportFinding(finding) => WorkerReport::ReportFinding(finding),
        WorkerReport::JailClosed(ActiveLayers { active, missing }) => {
            let clean = |Missing { layer, why }| Missing { layer, why: clean_text(&why) };
            WorkerReport::JailClosed(ActiveLayers { active, missing: missing.into_iter().map(clean).collect() })
        }
        plain @ (WorkerReport::RefuseSyscall { .. }
        | WorkerReport::LinkLost { .. }
        | WorkerReport::LoopTurns
        | WorkerReport::StorageFull
        | WorkerReport::PublicKey(_)) => plain,
    }
}

/// Makes a text one line of limited length, without control characters.
fn clean_text(text: &str) -> String {
    text.chars().take(TEXT_LIMIT).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests;
