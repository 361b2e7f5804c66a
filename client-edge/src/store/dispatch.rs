//! The owner of the link to `store` in this process: hands each message to the session that it is for.
//!
//! *Trusts* `store` for nothing: a message that breaks a rule of the link has the link dropped and `store` replaced.
//!
//! *Holds*: the sessions that `store` has heard of since the link came up, and a key only until it is in its slot.
//!
//! *Promises*: never waits for a session, so a slow session holds up no other; a session that is not known here belongs to no
//! `store` any more.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use ipc::credit::Window;
use session_ipc::{EdgeToStore, Rule, SessionAnswer, SessionId, StoreToEdge};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use worker::{
    budget::ByteBudget,
    counter::count,
    duplex::{LinkEvent, LinkSender},
    heartbeat::Heartbeat,
};

use super::{
    handle::{DispatcherRequest, SessionCommand, StoreHandle},
    keys::KeySlots,
    mail::{self, MailSender},
};
use crate::counters::Counters;

/// Commands that may wait for one session: the answer to its one request, a probe, an end, a stop.
const COMMANDS: usize = 8;
/// Requests that may wait for the dispatcher.
const REQUESTS: usize = 256;
/// Sessions that may wait for `store` to come back; later ones are refused.
const WAITING: usize = 4_096;

/// The connections' access to the dispatcher.
#[derive(Clone, Debug)]
pub(crate) struct Dispatch(mpsc::Sender<DispatcherRequest>);

/// The task.
pub(crate) struct Dispatcher {
    sessions: HashMap<SessionId, Route>,
    link: Option<LinkSender<EdgeToStore>>,
    /// A link that is being dropped. Held until it is down, because without a sender it could end before the violation is reported.
    dropped: Option<LinkSender<EdgeToStore>>,
    /// Sessions that wait for a link.
    waiting: Vec<(SessionId, oneshot::Sender<StoreHandle>)>,
    requests: mpsc::Receiver<DispatcherRequest>,
    /// For the handles of sessions. Weak, so that the requests end with the last connection.
    own_requests: mpsc::WeakSender<DispatcherRequest>,
    /// Told when the link is up for the first time.
    first_up: Option<oneshot::Sender<()>>,
    /// What each session may be pushed.
    credit: Window,
    /// Bounds what all sessions together may be pushed. Each link begins with an unused budget: what the sessions of the last link
    /// held is on its way out, and the new `store` does not know of it.
    memory: ByteBudget,
    keys: KeySlots,
    counters: Arc<Counters>,
}

struct Route {
    // Boxed: the channel allocates room for 32 commands at once, in every session.
    commands: mpsc::Sender<Box<SessionCommand>>,
    mail: Option<MailSender>,
}

/// Makes the task and the access to it. `store` may push `credit` to each session and `pushed_bytes` to all together; their keys
/// are kept in `keys`. `first_up` is told when `store` is there for the first time.
pub(crate) fn dispatcher(
    credit: Window,
    pushed_bytes: u64,
    keys: KeySlots,
    counters: Arc<Counters>,
    first_up: oneshot::Sender<()>,
) -> (Dispatch, Dispatcher) {
    let (tx, requests) = mpsc::channel(REQUESTS);
    let own_requests = tx.downgrade();
    (
        Dispatch(tx),
        Dispatcher {
            sessions: HashMap::new(),
            link: None,
            dropped: None,
            waiting: Vec::new(),
            requests,
            own_requests,
            first_up: Some(first_up),
            credit,
            memory: ByteBudget::new(pushed_bytes),
            keys,
            counters,
        },
    )
}

impl Dispatch {
    /// Opens this session's way to `store`. Waits up to `limit` while `store` is not there; `None` if it does not come in time, or
    /// if too many sessions wait already.
    pub(crate) async fn open(&self, session: SessionId, limit: Duration) -> Option<StoreHandle> {
        let (tx, mut rx) = oneshot::channel();
        self.0.send(DispatcherRequest::Open(session, tx)).await.ok()?;
        match timeout(limit, &mut rx).await {
            Ok(opened) => opened.ok(),
            Err(_) => {
                // The handle may have come this moment; dropped with the receiver, it would not be closed.
                rx.close();
                rx.try_recv().ok()
            }
        }
    }

    /// Tells every session that `store` has heard of that the process is to stop.
    pub(crate) async fn stop_all(&self) {
        // A dispatcher that has ended has no sessions.
        let _ = self.0.send(DispatcherRequest::StopAll).await;
    }
}

impl Dispatcher {
    /// Works until the last connection has ended, and the link after it.
    pub(crate) async fn run(
        mut self,
        mut events: mpsc::Receiver<LinkEvent<StoreToEdge, EdgeToStore>>,
        mut heartbeat: Heartbeat,
    ) {
        let mut has_connections = true;
        loop {
            tokio::select! {
                () = heartbeat.beat() => {}
                event = events.recv() => match event {
                    Some(LinkEvent::Up(link)) => {
                        self.link = has_connections.then_some(link);
                        self.memory = ByteBudget::new(self.memory.most());
                        for (session, reply) in mem::take(&mut self.waiting) {
                            self.open(session, reply);
                        }
                        if let Some(first_up) = self.first_up.take() {
                            // The receiver is gone if the process is to stop already.
                            let _ = first_up.send(());
                        }
                    }
                    Some(LinkEvent::Batch(messages)) => self.take(messages),
                    Some(LinkEvent::Down) => {
                        self.lose_link();
                        self.dropped = None;
                    }
                    None => return,
                },
                request = self.requests.recv(), if has_connections => match request {
                    Some(request) => self.serve(request),
                    None => {
                        has_connections = false;
                        // The last senders are dropped, so the link writes what it holds, and ends.
                        self.link = None;
                        self.waiting.clear();
                        self.sessions.clear();
                    }
                },
            }
        }
    }

    fn serve(&mut self, request: DispatcherRequest) {
        match request {
            DispatcherRequest::Open(session, reply) => self.open(session, reply),
            DispatcherRequest::Close(session) => {
                self.sessions.remove(&session);
            }
            DispatcherRequest::StopAll => {
                for route in self.sessions.values() {
                    // A session whose queue is full is cut when the time to stop is over.
                    let _ = route.commands.try_send(Box::new(SessionCommand::Stop));
                }
            }
        }
    }

    fn open(&mut self, session: SessionId, reply: oneshot::Sender<StoreHandle>) {
        let Some(link) = &self.link else {
            if self.waiting.len() >= WAITING {
                self.waiting.retain(|(_, reply)| !reply.is_closed());
            }
            if self.waiting.len() < WAITING {
                self.waiting.push((session, reply));
            }
            return;
        };
        let Some(requests) = self.own_requests.upgrade() else { return };
        let (commands, of_session) = mpsc::channel(COMMANDS);
        if reply.send(StoreHandle::new(session, link.clone(), of_session, requests)).is_ok() {
            self.sessions.insert(session, Route { commands, mail: None });
        }
    }

    /// A key among the messages is read where it is, and wiped when all of them are dropped.
    fn take(&mut self, mut messages: Vec<StoreToEdge>) {
        for message in &mut messages {
            if let Err(rule) = self.route(message) {
                self.dropped = self.lose_link();
                if let Some(link) = &self.dropped {
                    count(&self.counters.store_violations);
                    link.drop_link(rule);
                }
                return;
            }
        }
        self.counters.pushed_memory.store(self.memory.used(), Relaxed);
    }

    /// Ends every session of the link, because their handles end with the queues of commands.
    fn lose_link(&mut self) -> Option<LinkSender<EdgeToStore>> {
        self.sessions.clear();
        self.link.take().inspect(|_| count(&self.counters.store_link_losses))
    }

    fn route(&mut self, StoreToEdge { session, answer }: &mut StoreToEdge) -> Result<(), Rule> {
        let Some(route) = self.sessions.get_mut(session) else { return Ok(()) };
        match answer {
            SessionAnswer::PushMessage { sequence, message } => match &mut route.mail {
                Some(mail) => mail.push(*sequence, mem::take(&mut message.0)),
                None => Err(Rule::MailUnattached),
            },
            SessionAnswer::AttachSession { key } => {
                if route.mail.is_some() {
                    return Err(Rule::AttachedTwice);
                }
                let key = self.keys.keep(key)?;
                let (sender, receiver) = mail::queue(self.credit, self.memory.clone());
                route.mail = Some(sender);
                route.command(SessionCommand::Attach(key, receiver))
            }
            SessionAnswer::ReplyHandshake { payload } => {
                route.command(SessionCommand::ReplyHandshake(mem::take(payload)))
            }
            SessionAnswer::RefuseHandshake { reason } => route.command(SessionCommand::RefuseHandshake(*reason)),
            SessionAnswer::RefuseAuthentication { reason } => {
                route.command(SessionCommand::RefuseAuthentication(*reason))
            }
            SessionAnswer::ProbeSession => route.command(SessionCommand::Probe),
            SessionAnswer::ConfirmForgotten => route.command(SessionCommand::Forgotten),
            SessionAnswer::EndSession { reason } => route.command(SessionCommand::End(*reason)),
        }
    }
}

impl Route {
    fn command(&self, command: SessionCommand) -> Result<(), Rule> {
        match self.commands.try_send(Box::new(command)) {
            Err(mpsc::error::TrySendError::Full(_)) => Err(Rule::TooManyCommands),
            // Closed: the session is about to end.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
        }
    }
}
