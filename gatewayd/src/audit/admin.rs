//! The admin socket of a running gateway, which answers `gatewayd audit`.
//!
//! *Trusts*: root and the account of this process, as the kernel names the peer; from them only short questions of a fixed form.
//! *Promises*: one conversation at a time, with a time limit for each question and for the whole. The supervisor looks after the workers
//! meanwhile. An error here does not stop the gateway.

use std::{io, os::fd::OwnedFd, path::Path, time::Duration};

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

use super::{
    examiner::Examiner,
    prober::Prober,
    wire::{AuditAnswer, AuditQuestion, Live},
};

/// The mode of the socket. The mode of its directory keeps other accounts out as well.
const MODE: u16 = 0o600;
/// The time for the first question. It is short, because other peers wait meanwhile.
const FIRST_QUESTION_LIMIT: Duration = Duration::from_secs(2);
/// The time for each further question.
const QUESTION_LIMIT: Duration = Duration::from_secs(20);
/// The time for a whole conversation.
const CONVERSATION_LIMIT: Duration = Duration::from_secs(300);
/// The pause after a failed accept, because the next one may fail too.
const REST: Duration = Duration::from_secs(1);

/// The task that answers. Dropping this value ends it.
#[derive(Debug)]
pub(crate) struct Admin {
    roster: watch::Sender<Vec<Live>>,
    task: JoinHandle<()>,
}

impl Admin {
    /// Listens at `path`. A socket that exists there is replaced: this process holds the lock, so that its owner is gone.
    ///
    /// # Errors
    /// If the socket cannot be created.
    pub(crate) fn listen(path: &Path, prober: Prober) -> io::Result<Self> {
        let listener: Listener = ListenerOptions::new()
            .name(path.to_fs_name::<GenericFilePath>()?)
            .mode(MODE.into())
            .try_overwrite(true)
            .create_tokio_as()?;
        let (roster, live) = watch::channel(Vec::new());
        let task = tokio::spawn(serve(listener, Examiner::new(prober), live));
        Ok(Self { roster, task })
    }

    /// Tells the task which workers are alive.
    pub(crate) fn publish(&self, live: Vec<Live>) {
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
                    // A peer that sends nothing, or no valid question, is disconnected.
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
        tracing::warn!(%error, "a connection to the admin socket was refused");
    }
}

/// Whether the peer may ask.
fn admit(stream: Stream) -> io::Result<OwnedFd> {
    let us = geteuid().as_raw();
    match stream.peer_creds()?.euid() {
        Some(user) if user == 0 || user == us => OwnedFd::try_from(stream).map_err(io::Error::other),
        Some(user) => {
            Err(io::Error::other(format!("user {user} is neither root nor the account that runs this gateway")))
        }
        None => Err(io::Error::other("the kernel does not tell the user of the peer")),
    }
}

async fn converse(socket: OwnedFd, examiner: &mut Examiner, live: &watch::Receiver<Vec<Live>>) -> Option<()> {
    let (mut questions, mut answers): (LinkReader<AuditQuestion>, LinkWriter<AuditAnswer>) = open(socket).ok()?;
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
