//! One worker process: its birth, its control link, its death.
//!
//! *Trusts*: nothing the worker says but its own life; reports have a fixed form and their text is cleaned here.
//! *Promises*: a worker inherits its control link as standard input, `/dev/null` as standard output, the log as standard
//! error, and nothing else: no variable, no folder, no descriptor. All else comes in its start message. When a [`Worker`] is
//! dropped, its process is killed.

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

/// Longest text of a worker that is passed on, in characters.
const TEXT_LIMIT: usize = 600;

/// How long the death of a worker may take.
const DYING: Duration = Duration::from_secs(1);

/// Something happened to a worker.
#[derive(Debug)]
pub(super) struct Event {
    /// To whom.
    pub(super) role: Role,
    /// What.
    pub(super) what: What,
}

/// What can happen to a worker. `Ended` is always the last.
#[derive(Debug)]
pub(super) enum What {
    /// It said so. Texts are clean.
    Report(WorkerReport),
    /// It sent bytes that are no report; no further ones are read.
    Garbled,
    /// It closed its control link, as it does at its orderly end, and lives on.
    Silent,
    /// The process is gone.
    Ended(Death),
}

/// How a process ended.
#[derive(Debug)]
pub(super) enum Death {
    /// With this status.
    Exit(ExitStatus),
    /// The operating system does not say.
    Unknown(io::Error),
}

impl Death {
    /// Whether a filter of system calls killed it.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Exit(status) if status.signal() == Some(Signal::SIGSYS as i32))
    }

    /// Whether the worker said itself that all was well.
    pub(super) fn is_orderly(&self) -> bool {
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
pub(super) struct Worker {
    pid: u32,
    born: Instant,
    control: Arc<UnixDatagram>,
    kill: Arc<Notify>,
    watch: JoinHandle<()>,
}

impl Worker {
    /// Starts `program` and gives it its order to start with `descriptors`. What happens to it goes to `events`.
    ///
    /// To be called on the main thread: the worker asks the kernel to be killed when the thread that started it ends.
    ///
    /// # Errors
    /// If the order cannot be sent or the program not be started.
    pub(super) fn spawn(
        role: Role,
        program: &Program,
        start: Start,
        descriptors: &[OwnedFd],
        events: mpsc::Sender<Event>,
    ) -> io::Result<Self> {
        let (ours, theirs) = descriptor::control_pair()?;
        let ours = BlockingSocket::from(ours);
        ours.set_nonblocking(true)?;
        // Sent before there is anybody to read it, so that a worker never exists without its order.
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
        let pid = child.id().ok_or_else(|| io::Error::other("the process ended before it had begun"))?;
        let kill = Arc::new(Notify::new());
        let watch = tokio::spawn(watch(role, child, Arc::clone(&control), Arc::clone(&kill), events));
        Ok(Self { pid, born: Instant::now(), control, kill, watch })
    }

    /// Its process number.
    pub(super) const fn pid(&self) -> u32 {
        self.pid
    }

    /// When it was started.
    pub(super) const fn born(&self) -> Instant {
        self.born
    }

    /// Sends an order, without waiting.
    ///
    /// # Errors
    /// If the worker is dying, or has not read its control link for so long that there is no room.
    pub(super) fn order(&self, order: &WorkerCommand, descriptors: &[OwnedFd]) -> io::Result<()> {
        send(self.control.as_fd(), order, descriptors)
    }

    /// Kills it. Its death is reported as any other.
    pub(super) fn kill(&self) {
        self.kill.notify_one();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

fn send(control: BorrowedFd<'_>, order: &WorkerCommand, descriptors: &[OwnedFd]) -> io::Result<()> {
    let bytes = codec::encode_one(order).map_err(io::Error::other)?;
    let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
    descriptor::send(control, &bytes, &descriptors)
}

/// Passes on what happens until the process is gone. The process is killed and reaped here and nowhere else, so that no
/// signal can ever reach a stranger who was given its number.
async fn watch(
    role: Role,
    mut child: Child,
    control: Arc<UnixDatagram>,
    kill: Arc<Notify>,
    events: mpsc::Sender<Event>,
) {
    let mut listening = true;
    let death = loop {
        let what = tokio::select! {
            // A death is told as a death, even if the end of the link is seen at the same moment.
            biased;
            status = child.wait() => break status.map_or_else(Death::Unknown, Death::Exit),
            () = kill.notified() => {
                // An error means that it is dead already; that is reported above.
                let _ = child.start_kill();
                continue;
            }
            what = hear(&control), if listening => what,
        };
        listening = matches!(what, What::Report(_));
        if events.send(Event { role, what }).await.is_err() {
            return;
        }
    };
    // Its last words may have come together with its death.
    while listening {
        let what = understand(receive(&control));
        listening = matches!(what, What::Report(_));
        if listening && events.send(Event { role, what }).await.is_err() {
            return;
        }
    }
    // Nobody to tell means that the supervisor itself is ending.
    let _ = events.send(Event { role, what: What::Ended(death) }).await;
}

async fn hear(control: &UnixDatagram) -> What {
    let what = understand(control.async_io(Interest::READABLE, || receive(control)).await);
    if matches!(what, What::Silent) {
        // A process that ends closes its descriptors a moment before its death can be seen.
        tokio::time::sleep(DYING).await;
    }
    what
}

/// A worker that dies without having read all its orders leaves a connection reset, which hides its last words once.
fn receive(control: &UnixDatagram) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    match descriptor::receive(control.as_fd()) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => descriptor::receive(control.as_fd()),
        received => received,
    }
}

/// Descriptors that came along are closed: a worker has nothing to give.
fn understand(heard: io::Result<(Vec<u8>, Vec<OwnedFd>)>) -> What {
    match heard {
        Ok((bytes, _)) if bytes.is_empty() => What::Silent,
        Ok((bytes, _)) => codec::decode_one(&bytes).map_or(What::Garbled, |report| What::Report(clean(report))),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => What::Garbled,
        Err(_) => What::Silent,
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

/// One line that a terminal shows as it is.
fn clean_text(text: &str) -> String {
    text.chars().take(TEXT_LIMIT).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
pub(super) mod tests;
