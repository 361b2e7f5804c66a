//! The worker's end of the control link while it works: commands come in, reports go out.

use std::{
    collections::HashMap,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixDatagram as BlockingSocket,
    },
};

use ipc::{
    Role, codec,
    control::{WorkerCommand, WorkerReport},
    http_api::NodeFigures,
    operator::StoreQuestion,
};
use link::descriptor;
use tokio::{
    io::Interest,
    net::UnixDatagram,
    sync::{mpsc, watch},
};

/// Questions of the operator that may wait for the worker.
const QUESTIONS: usize = 4;

/// A question of the operator, and where its answer goes.
#[derive(Debug)]
pub struct Asked {
    /// The question.
    pub question: StoreQuestion,
    /// Where its answer goes.
    pub answer: OwnedFd,
}

/// The control link of a running worker.
#[derive(Debug)]
pub struct ControlLink {
    socket: UnixDatagram,
    routes: HashMap<Role, mpsc::Sender<OwnedFd>>,
    figures: Option<watch::Sender<NodeFigures>>,
    newcomers: Option<watch::Sender<bool>>,
    questions: Option<mpsc::Sender<Asked>>,
}

/// Why a worker ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The supervisor asked for it: finish what is in flight first.
    Drain,
    /// The supervisor is gone: exit without draining.
    Orphaned,
}

impl ControlLink {
    /// Makes the link of the worker's end, in the current runtime.
    ///
    /// # Errors
    /// If the descriptor cannot be watched.
    pub fn new(end: OwnedFd) -> io::Result<Self> {
        let socket = BlockingSocket::from(end);
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: UnixDatagram::from_std(socket)?,
            routes: HashMap::new(),
            figures: None,
            newcomers: None,
            questions: None,
        })
    }

    /// A channel that yields this worker's ends of the links to `peer`: `first`, then each that the supervisor sends.
    pub fn link_ends(&mut self, peer: Role, first: OwnedFd) -> mpsc::Receiver<OwnedFd> {
        let (tx, rx) = mpsc::channel(2);
        // Cannot be full: the channel was made on the line above.
        let _ = tx.try_send(first);
        self.routes.insert(peer, tx);
        rx
    }

    /// A channel that shows the last figures that the supervisor has published.
    pub fn figures(&mut self) -> watch::Receiver<NodeFigures> {
        let (tx, rx) = watch::channel(NodeFigures::default());
        self.figures = Some(tx);
        rx
    }

    /// A channel that shows whether new clients are let in: `first`, then what the supervisor says.
    pub fn newcomers(&mut self, first: bool) -> watch::Receiver<bool> {
        let (tx, rx) = watch::channel(first);
        self.newcomers = Some(tx);
        rx
    }

    /// A channel that yields the questions of the operator.
    pub fn questions(&mut self) -> mpsc::Receiver<Asked> {
        let (tx, rx) = mpsc::channel(QUESTIONS);
        self.questions = Some(tx);
        rx
    }

    /// Reports readiness, then follows commands and passes on reports until the worker is to end. After that no new link ends come.
    pub async fn follow(mut self, mut reports: mpsc::Receiver<WorkerReport>) -> Ending {
        if self.report(&WorkerReport::WorkerReady).await.is_err() {
            return Ending::Orphaned;
        }
        loop {
            tokio::select! {
                command = self.next_command() => match command {
                    Ok((WorkerCommand::ReplaceLink { peer }, mut descriptors)) => {
                        if let Some(end) = descriptors.pop()
                            && self.hand_over(peer, end, &mut reports).await.is_err()
                        {
                            return Ending::Orphaned;
                        }
                    }
                    Ok((WorkerCommand::PublishFigures(figures), _)) => {
                        if let Some(shown) = &self.figures {
                            shown.send_replace(figures);
                        }
                    }
                    Ok((WorkerCommand::AdmitNewcomers(admitted), _)) => {
                        if let Some(newcomers) = &self.newcomers {
                            newcomers.send_replace(admitted);
                        }
                    }
                    Ok((WorkerCommand::ChangeLog { filter }, _)) => logging::change(&filter),
                    Ok((WorkerCommand::AskStore(question), mut descriptors)) => {
                        if let (Some(asked), Some(answer)) = (&self.questions, descriptors.pop()) {
                            // If too many wait, this closes the descriptor: no answer means that the worker is busy.
                            let _ = asked.try_send(Asked { question, answer });
                        }
                    }
                    Ok((WorkerCommand::DrainWorker, _)) => return Ending::Drain,
                    Ok((WorkerCommand::StartWorker(_), _)) | Err(_) => return Ending::Orphaned,
                },
                Some(report) = reports.recv() => {
                    if self.report(&report).await.is_err() {
                        return Ending::Orphaned;
                    }
                }
            }
        }
    }

    /// Passes on reports while it waits, since the link may first have to hand over a report before it takes another end.
    async fn hand_over(&self, peer: Role, end: OwnedFd, reports: &mut mpsc::Receiver<WorkerReport>) -> io::Result<()> {
        let Some(route) = self.routes.get(&peer) else { return Ok(()) };
        let mut handed = std::pin::pin!(route.send(end));
        loop {
            tokio::select! {
                taken = &mut handed => {
                    if taken.is_err() {
                        tracing::warn!(id = "GWD-W002", %peer, "a link end came for a link that is no longer served");
                    }
                    return Ok(());
                }
                Some(report) = reports.recv() => self.report(&report).await?,
            }
        }
    }

    async fn next_command(&mut self) -> io::Result<(WorkerCommand, Vec<OwnedFd>)> {
        let (bytes, descriptors) =
            self.socket.async_io(Interest::READABLE, || descriptor::receive(self.socket.as_fd())).await?;
        let command = codec::decode_one(&bytes).map_err(io::Error::other)?;
        Ok((command, descriptors))
    }

    async fn report(&self, report: &WorkerReport) -> io::Result<()> {
        let bytes = codec::encode_one(report).map_err(io::Error::other)?;
        self.socket.async_io(Interest::WRITABLE, || descriptor::send(self.socket.as_fd(), &bytes, &[])).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn reports_go_out_while_ends_of_links_wait_to_be_taken() {
        let (ours, theirs) = descriptor::control_pair().unwrap();
        let mut control = ControlLink::new(theirs).unwrap();
        let end = || descriptor::link_pair().unwrap().0;
        let _taken_by_nobody = control.link_ends(Role::Store, end());
        let (reports, of_links) = mpsc::channel(1);
        let following = tokio::spawn(control.follow(of_links));
        let replace = codec::encode_one(&WorkerCommand::ReplaceLink { peer: Role::Store }).unwrap();
        for _ in 0..4 {
            descriptor::send(ours.as_fd(), &replace, &[end().as_fd()]).unwrap();
        }
        for link in 1..=20 {
            let sent = reports.send(WorkerReport::LinkLost { peer: Role::Store, link });
            tokio::time::timeout(Duration::from_secs(20), sent).await.expect("reports wait for link ends").unwrap();
        }
        drop(ours);
        assert!(!following.is_finished());
    }
}
