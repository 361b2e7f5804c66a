//! The owner of the link to `store` in this process: takes what arrives to the session it is for.
//!
//! *Trusts* `store` for nothing: whatever breaks a rule of the link has it dropped, and `store` replaced. *Holds*: which
//! sessions `store` has heard of since the link came up, and no key for longer than it takes to put it in its place.
//! *Promises*: never waits for a session, so a slow one holds up nobody; a session that is not known here belongs to no
//! `store` any more.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use proto::{
    budget::ByteBudget,
    counter::count,
    ipc::store_edge::{AuthenticationRefusal, EdgeToStore, EndReason, HandshakeRefusal, SessionId, StoreToEdge},
    link::{
        Window,
        duplex::{LinkEvent, LinkSender},
        heartbeat::Heartbeat,
    },
};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::{
    counters::Counters,
    keys::{HeldKey, KeyRoom},
    line::Line,
    mail::{self, MailReceiver, MailSender},
};

/// Orders that may wait for one session: the answer to its one request, a probe, an end, leave.
const ORDERS: usize = 8;
/// Sessions that may wait for the dispatcher at once.
const REQUESTS: usize = 256;
/// Sessions that may wait for `store` to come back; later ones are sent away.
const WAITING: usize = 4_096;

/// What a session is told.
#[derive(Debug)]
pub(crate) enum Order {
    /// The gateway's handshake message for the client.
    ReplyHandshake(Vec<u8>),
    /// The registration failed.
    RefuseHandshake(HandshakeRefusal),
    /// The authentication failed.
    RefuseAuthentication(AuthenticationRefusal),
    /// The client is who it says.
    Attach(HeldKey, MailReceiver),
    /// Find out whether the client still answers.
    Probe,
    /// Registration and mail of the client are gone.
    Forgotten,
    /// `store` has ended the session.
    End(EndReason),
    /// The process is to stop.
    Leave,
}

/// What a session asks of the dispatcher.
#[derive(Debug)]
pub(crate) enum Request {
    /// A line to `store`.
    Open(SessionId, oneshot::Sender<Line>),
    /// Nothing more: the session is over.
    Close(SessionId),
    /// Every session is to leave.
    LeaveAll,
}

/// Where sessions ask.
#[derive(Clone, Debug)]
pub(crate) struct Dispatch(mpsc::Sender<Request>);

/// The task.
pub(crate) struct Dispatcher {
    sessions: HashMap<SessionId, Route>,
    link: Option<LinkSender<EdgeToStore>>,
    /// A link that is being dropped. Held until it is down: without a sender it could end before the rule is reported.
    dropped: Option<LinkSender<EdgeToStore>>,
    /// Sessions that want a line, while there is no link.
    waiting: Vec<(SessionId, oneshot::Sender<Line>)>,
    requests: mpsc::Receiver<Request>,
    dispatch: mpsc::WeakSender<Request>,
    /// Told when the link is up for the first time.
    first_up: Option<oneshot::Sender<()>>,
    /// What each session may be pushed.
    credit: Window,
    /// For what all sessions together may be pushed. Anew with each link: what the sessions of the last one held is on its
    /// way out, and no `store` knows of it.
    memory: ByteBudget,
    keys: KeyRoom,
    counters: Arc<Counters>,
}

struct Route {
    // Boxed: the channel takes memory for 32 of them at once, in every session.
    orders: mpsc::Sender<Box<Order>>,
    mail: Option<MailSender>,
}

/// Makes the task and the place to ask it. `first_up` is told when `store` is there for the first time; `store` may push each
/// session as much as `credit` says, and all together as much as `pushed_bytes` says. Their keys are kept in `keys`.
pub(crate) fn dispatcher(
    credit: Window,
    pushed_bytes: u64,
    keys: KeyRoom,
    counters: Arc<Counters>,
    first_up: oneshot::Sender<()>,
) -> (Dispatch, Dispatcher) {
    let (tx, requests) = mpsc::channel(REQUESTS);
    let dispatch = tx.downgrade();
    (
        Dispatch(tx),
        Dispatcher {
            sessions: HashMap::new(),
            link: None,
            dropped: None,
            waiting: Vec::new(),
            requests,
            dispatch,
            first_up: Some(first_up),
            credit,
            memory: ByteBudget::new(pushed_bytes),
            keys,
            counters,
        },
    )
}

impl Dispatch {
    /// A line to `store` for this session, which nobody else may use. Waits up to `limit` while `store` is not
    /// there; `None` if it does not come, or if too many wait already.
    pub(crate) async fn open(&self, session: SessionId, limit: Duration) -> Option<Line> {
        let (tx, mut rx) = oneshot::channel();
        self.0.send(Request::Open(session, tx)).await.ok()?;
        match timeout(limit, &mut rx).await {
            Ok(opened) => opened.ok(),
            Err(_) => {
                // It may have come this moment, and would be forgotten with the receiver.
                rx.close();
                rx.try_recv().ok()
            }
        }
    }

    /// Has every session that `store` has heard of leave.
    pub(crate) async fn leave_all(&self) {
        // A dispatcher that has ended has no sessions.
        let _ = self.0.send(Request::LeaveAll).await;
    }
}

impl Dispatcher {
    /// Works until nobody asks any more and the link has ended.
    pub(crate) async fn run(
        mut self,
        mut events: mpsc::Receiver<LinkEvent<StoreToEdge, EdgeToStore>>,
        mut heartbeat: Heartbeat,
    ) {
        let mut asked = true;
        loop {
            tokio::select! {
                () = heartbeat.beat() => {}
                event = events.recv() => match event {
                    Some(LinkEvent::Up(link)) => {
                        self.link = asked.then_some(link);
                        self.memory = ByteBudget::new(self.memory.most());
                        for (session, reply) in mem::take(&mut self.waiting) {
                            self.open(session, reply);
                        }
                        if let Some(first_up) = self.first_up.take() {
                            // Nobody waits any more if the process is to stop already.
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
                request = self.requests.recv(), if asked => match request {
                    Some(request) => self.serve(request),
                    None => {
                        asked = false;
                        // The last sender: the link now writes what it holds, and ends.
                        self.link = None;
                        self.waiting.clear();
                        self.sessions.clear();
                    }
                },
            }
        }
    }

    fn serve(&mut self, request: Request) {
        match request {
            Request::Open(session, reply) => self.open(session, reply),
            Request::Close(session) => {
                self.sessions.remove(&session);
            }
            Request::LeaveAll => {
                for route in self.sessions.values() {
                    // A session with so many orders waiting is ended when the time to leave is over.
                    let _ = route.orders.try_send(Box::new(Order::Leave));
                }
            }
        }
    }

    fn open(&mut self, session: SessionId, reply: oneshot::Sender<Line>) {
        let Some(link) = &self.link else {
            if self.waiting.len() >= WAITING {
                self.waiting.retain(|(_, reply)| !reply.is_closed());
            }
            if self.waiting.len() < WAITING {
                self.waiting.push((session, reply));
            }
            return;
        };
        let Some(requests) = self.dispatch.upgrade() else { return };
        let (orders, waiting) = mpsc::channel(ORDERS);
        if reply.send(Line::new(session, link.clone(), waiting, requests)).is_ok() {
            self.sessions.insert(session, Route { orders, mail: None });
        }
    }

    /// A key among them is wiped where it is, with all of them.
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

    /// Every session of the link ends, because its line does.
    fn lose_link(&mut self) -> Option<LinkSender<EdgeToStore>> {
        self.sessions.clear();
        self.link.take().inspect(|_| count(&self.counters.store_link_losses))
    }

    fn route(&mut self, message: &mut StoreToEdge) -> Result<(), &'static str> {
        match message {
            StoreToEdge::PushMessage { session, sequence, message } => match self.sessions.get_mut(session) {
                Some(Route { mail: Some(mail), .. }) => mail.push(*sequence, mem::take(&mut message.0)),
                Some(_) => Err("mail came for a session that is not attached"),
                None => Ok(()),
            },
            StoreToEdge::AttachSession { session, key } => {
                let Some(route) = self.sessions.get_mut(session) else { return Ok(()) };
                if route.mail.is_some() {
                    return Err("a session was attached twice");
                }
                let key = self.keys.keep(key)?;
                let (sender, receiver) = mail::queue(self.credit, self.memory.clone());
                route.mail = Some(sender);
                route.order(Order::Attach(key, receiver))
            }
            StoreToEdge::ReplyHandshake { session, payload } => {
                self.order(*session, Order::ReplyHandshake(mem::take(payload)))
            }
            StoreToEdge::RefuseHandshake { session, reason } => self.order(*session, Order::RefuseHandshake(*reason)),
            StoreToEdge::RefuseAuthentication { session, reason } => {
                self.order(*session, Order::RefuseAuthentication(*reason))
            }
            StoreToEdge::ProbeSession { session } => self.order(*session, Order::Probe),
            StoreToEdge::ConfirmForgotten { session } => self.order(*session, Order::Forgotten),
            StoreToEdge::EndSession { session, reason } => self.order(*session, Order::End(*reason)),
        }
    }

    fn order(&self, session: SessionId, order: Order) -> Result<(), &'static str> {
        self.sessions.get(&session).map_or(Ok(()), |route| route.order(order))
    }
}

impl Route {
    fn order(&self, order: Order) -> Result<(), &'static str> {
        match self.orders.try_send(Box::new(order)) {
            Err(mpsc::error::TrySendError::Full(_)) => Err("more orders came than a session can have waiting"),
            // Closed: the session is at its end.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
        }
    }
}
