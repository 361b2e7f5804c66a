//! The supervisor's side: accepts commands at the admin socket, and answers them.
//!
//! *Promises*: at most [`CONVERSATIONS`] at once, each with a time limit for every question and for the whole. One audit at a time; a second
//! is told so. Orders are passed on to the loop of the supervisor. Once that takes no more, every question is answered with the end.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
    sync::Arc,
    time::Duration,
};

use figures::page::layout;
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
use ipc::operator::StoreQuestion;
use link::{
    descriptor,
    stream::{LinkReader, LinkWriter, open},
};
use nix::unistd::geteuid;
use tokio::{
    sync::{Mutex, OwnedMutexGuard, mpsc, watch},
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

use super::{
    order::{self, OrderQueue, Ordered, Task},
    store,
    wire::{AdminAnswer, AdminQuestion, FiguresAnswer},
};
use crate::{
    audit::{examiner::Examiner, prober::Prober, wire::Live},
    handover::wire::{UpgradeAnswer, UpgradeQuestion},
    launch::LaunchSpec,
};

/// The mode of the socket. The mode of its directory keeps other accounts out as well.
const MODE: u16 = 0o600;
/// The time for the first question. It is short, because other peers wait meanwhile.
const FIRST_QUESTION_LIMIT: Duration = Duration::from_secs(2);
/// The time for each further question.
const QUESTION_LIMIT: Duration = Duration::from_secs(20);
/// The time for a whole conversation.
const CONVERSATION_LIMIT: Duration = Duration::from_secs(300);
/// Conversations at once. A further command waits until one of them ends.
const CONVERSATIONS: usize = 16;
/// The pause after a failed accept, because the next one may fail too.
const REST: Duration = Duration::from_secs(1);

/// The task that answers. Dropping this value ends it.
#[derive(Debug)]
pub(crate) struct Admin {
    running: watch::Sender<Running>,
    orders: mpsc::Receiver<Ordered>,
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
        let (sender, running) = watch::channel(Running { live: Vec::new(), spec: prober.spec() });
        let (queue, orders) = order::queue();
        let desk = Desk { examiner: Arc::new(Mutex::new(Examiner::new(prober))), running, orders: queue };
        let task = tokio::spawn(serve(listener, desk));
        Ok(Self { running: sender, orders, task })
    }

    /// Waits for the next order. Cancel-safe.
    pub(crate) async fn next_order(&mut self) -> Ordered {
        match self.orders.recv().await {
            Some(ordered) => ordered,
            // The task that holds the other end lives as long as this value.
            None => std::future::pending().await,
        }
    }

    /// Takes no more orders. Whoever asks anything from now on is told that the gateway is ending.
    pub(crate) fn close(&mut self) {
        self.orders.close();
        while self.orders.try_recv().is_ok() {}
    }

    /// Tells the task which workers are alive, and what they are started from.
    pub(crate) fn publish(&self, live: Vec<Live>, spec: &Arc<LaunchSpec>) {
        self.running.send_if_modified(|running| {
            let changed = running.live != live || !Arc::ptr_eq(&running.spec, spec);
            *running = Running { live, spec: Arc::clone(spec) };
            changed
        });
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: Listener, desk: Desk) {
    let mut conversations = JoinSet::new();
    loop {
        while conversations.len() >= CONVERSATIONS {
            conversations.join_next().await;
        }
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = conversations.join_next() => continue,
        };
        let error = match accepted {
            Ok(stream) => {
                let admitted = admit(&stream);
                let socket = OwnedFd::try_from(stream).map_err(io::Error::other);
                match (admitted, socket) {
                    (Ok(()), Ok(socket)) => {
                        // A peer that sends nothing, or no valid question, is disconnected.
                        conversations.spawn(timeout(CONVERSATION_LIMIT, converse(socket, desk.clone())));
                        continue;
                    }
                    (Err(error), Ok(socket)) => {
                        conversations.spawn(timeout(FIRST_QUESTION_LIMIT, turn_away(socket)));
                        error
                    }
                    (_, Err(error)) => error,
                }
            }
            Err(error) => {
                sleep(REST).await;
                error
            }
        };
        tracing::warn!(id = "GWD-G001", %error, "a connection to the admin socket was refused");
    }
}

/// Whether the peer may ask.
fn admit(stream: &Stream) -> io::Result<()> {
    let us = geteuid().as_raw();
    match stream.peer_creds()?.euid() {
        Some(user) if user == 0 || user == us => Ok(()),
        Some(user) => {
            Err(io::Error::other(format!("user {user} is neither root nor the account that runs this gateway")))
        }
        None => Err(io::Error::other("the kernel does not tell the user of the peer")),
    }
}

/// Tells a stranger so, once it has asked.
async fn turn_away(socket: OwnedFd) -> Option<()> {
    let (mut questions, mut answers): (LinkReader<AdminQuestion>, LinkWriter<AdminAnswer>) = open(socket).ok()?;
    questions.read_batch().await.ok()?;
    answers.write_batch(&[AdminAnswer::Stranger]).await.ok()
}

async fn converse(socket: OwnedFd, desk: Desk) -> Option<()> {
    // For the one answer that has a descriptor.
    let raw = socket.try_clone().ok()?;
    let (mut questions, mut answers): (LinkReader<AdminQuestion>, LinkWriter<AdminAnswer>) = open(socket).ok()?;
    let mut asked = timeout(FIRST_QUESTION_LIMIT, questions.read_batch()).await.ok()?.ok()?;
    let mut held = Held::default();
    loop {
        for question in asked {
            if question == AdminQuestion::TakeBackup
                && let Some(stream) = held.lent.take()
            {
                descriptor::send(raw.as_fd(), &[0], &[stream.as_fd()]).ok()?;
                continue;
            }
            let answer = desk.answer(question, &mut held).await;
            timeout(QUESTION_LIMIT, answers.write_batch(&[answer])).await.ok()?.ok()?;
        }
        asked = timeout(QUESTION_LIMIT, questions.read_batch()).await.ok()?.ok()?;
    }
}

/// What an audit has to know of the workers.
#[derive(Debug)]
struct Running {
    live: Vec<Live>,
    spec: Arc<LaunchSpec>,
}

/// What one conversation holds.
#[derive(Debug, Default)]
struct Held {
    /// The examiner, once an audit has begun, until the conversation ends.
    audit: Option<OwnedMutexGuard<Examiner>>,
    /// The stream of a backup that has begun, until it is handed over.
    lent: Option<OwnedFd>,
}

/// What all conversations share.
#[derive(Clone, Debug)]
struct Desk {
    examiner: Arc<Mutex<Examiner>>,
    running: watch::Receiver<Running>,
    orders: OrderQueue,
}

impl Desk {
    /// Answers a question.
    async fn answer(&self, question: AdminQuestion, held: &mut Held) -> AdminAnswer {
        let Held { audit, lent } = held;
        match question {
            _ if self.orders.is_closed() => AdminAnswer::Ending,
            AdminQuestion::Order(order) => self.orders.carry_out(Task::CarryOut(order)).await,
            AdminQuestion::Upgrade(text) => match UpgradeQuestion::decode(&text) {
                Ok(question) => self.orders.carry_out(Task::Upgrade(question)).await,
                Err(error) => {
                    let why = format!("the running gateway does not understand the command: {error}");
                    AdminAnswer::Upgrade(UpgradeAnswer::Refused { why }.encode())
                }
            },
            AdminQuestion::Store(question) => store::ask(&self.orders, question).await,
            AdminQuestion::BackUp => match store::borrow(&self.orders, StoreQuestion::BackUp).await {
                Ok(stream) => {
                    *lent = Some(stream);
                    AdminAnswer::Done
                }
                Err(refusal) => refusal,
            },
            // Answered in the conversation, because a descriptor comes along. Here there is none.
            AdminQuestion::TakeBackup => AdminAnswer::StoreAway,
            AdminQuestion::Figures => {
                let pages = self
                    .running
                    .borrow()
                    .spec
                    .pages
                    .read_all()
                    .iter()
                    .map(|reading| reading.values().to_vec())
                    .collect();
                AdminAnswer::Figures(FiguresAnswer { layout: layout(), pages })
            }
            AdminQuestion::Audit(question) => {
                if audit.is_none() {
                    let Ok(examiner) = Arc::clone(&self.examiner).try_lock_owned() else {
                        return AdminAnswer::Busy;
                    };
                    tracing::info!("an audit begins");
                    *audit = Some(examiner);
                }
                match audit {
                    Some(examiner) => {
                        let (live, spec) = {
                            let running = self.running.borrow();
                            (running.live.clone(), Arc::clone(&running.spec))
                        };
                        examiner.measure_with(spec);
                        AdminAnswer::Audit(examiner.answer(question, live).await)
                    }
                    None => AdminAnswer::Busy,
                }
            }
        }
    }
}
