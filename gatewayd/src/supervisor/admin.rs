//! The admin socket of a running gateway: where `gatewayd audit` asks.
//!
//! *Trusts*: a peer whose user the kernel says is root or this process's own, and of that only small questions of a fixed form.
//! *Promises*: one conversation at a time, with a time limit for each question and for the whole; the crew is looked after
//! meanwhile; the audit can be had or not, the gateway runs.

use std::{io, os::fd::OwnedFd, time::Duration};

use interprocess::{
    local_socket::{
        GenericFilePath, ListenerOptions, ToFsName,
        traits::{StreamCommon as _, tokio::Listener as _},
    },
    os::unix::{
        local_socket::ListenerOptionsExt as _,
        uds_local_socket::tokio::{Listener, Stream},
    },
};
use link::stream::{LinkReader, LinkWriter, open};
use nix::unistd::geteuid;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{examiner::Examiner, lock::RunLock, prober::Prober};
use crate::audit::wire::{Answer, Live, Question};

/// The socket's name in the runtime directory.
pub(crate) const SOCKET: &str = "admin.sock";
/// Mode of the socket; the directory is closed to others anyway.
const MODE: u16 = 0o600;
/// Time in which the first question must come: others wait meanwhile.
const FIRST_QUESTION_LIMIT: Duration = Duration::from_secs(2);
/// Time in which the next question must come.
const QUESTION_LIMIT: Duration = Duration::from_secs(20);
/// Time for a whole conversation.
const CONVERSATION_LIMIT: Duration = Duration::from_secs(300);
/// Rest after a failed accept, which may go on failing.
const REST: Duration = Duration::from_secs(1);

/// The task that answers. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Admin {
    roster: watch::Sender<Vec<Live>>,
    task: JoinHandle<()>,
}

impl Admin {
    /// Listens in the runtime directory. Whoever listened there before is gone: this process holds the lock.
    ///
    /// # Errors
    /// If the socket cannot be made.
    pub(super) fn listen(lock: &RunLock, prober: Prober) -> io::Result<Self> {
        let path = lock.path_to(SOCKET);
        let listener: Listener = ListenerOptions::new()
            .name(path.to_fs_name::<GenericFilePath>()?)
            .mode(MODE.into())
            .try_overwrite(true)
            .create_tokio_as()?;
        let (roster, live) = watch::channel(Vec::new());
        let task = tokio::spawn(serve(listener, Examiner::new(prober), live));
        Ok(Self { roster, task })
    }

    /// Says who is alive now.
    pub(super) fn publish(&self, live: Vec<Live>) {
        self.roster.send_if_modified(|roster| {
            let changed = *roster != live;
            *roster = live;
            changed
        });
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: Listener, mut examiner: Examiner, live: watch::Receiver<Vec<Live>>) {
    loop {
        let error = match listener.accept().await {
            Ok(stream) => match admit(stream) {
                Ok(socket) => {
                    // A peer that says nothing, or nonsense, has had its turn.
                    let _ = timeout(CONVERSATION_LIMIT, converse(socket, &mut examiner, &live)).await;
                    continue;
                }
                Err(error) => error,
            },
            Err(error) => {
                sleep(REST).await;
                error
            }
        };
        tracing::warn!(%error, "nobody was let in on the admin socket");
    }
}

/// Whether the peer may ask.
fn admit(stream: Stream) -> io::Result<OwnedFd> {
    let us = geteuid().as_raw();
    match stream.peer_creds()?.euid() {
        Some(user) if user == 0 || user == us => OwnedFd::try_from(stream).map_err(io::Error::other),
        Some(user) => Err(io::Error::other(format!("user {user} is neither root nor the one who runs this gateway"))),
        None => Err(io::Error::other("the kernel does not say who asks")),
    }
}

async fn converse(socket: OwnedFd, examiner: &mut Examiner, live: &watch::Receiver<Vec<Live>>) -> Option<()> {
    let (mut questions, mut answers): (LinkReader<Question>, LinkWriter<Answer>) = open(socket).ok()?;
    let mut asked = timeout(FIRST_QUESTION_LIMIT, questions.read_batch()).await.ok()?.ok()?;
    tracing::info!("an audit begins");
    loop {
        for question in asked {
            let live = live.borrow().clone();
            let answer = examiner.answer(question, live).await;
            timeout(QUESTION_LIMIT, answers.write_batch(&[answer])).await.ok()?.ok()?;
        }
        asked = timeout(QUESTION_LIMIT, questions.read_batch()).await.ok()?.ok()?;
    }
}
