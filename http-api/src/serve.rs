//! The worker at work: accepts connections, and publishes what `store` and `gatewayd` say.
//!
//! *Holds* every task: those of the connections, and that of the link. *Promises*: none outlives [`serve`], which ends soon once it is
//! told to.

use std::{
    convert::Infallible, future::pending, io, net::TcpListener, os::fd::OwnedFd, sync::Arc, time::Duration,
    time::SystemTime,
};

use figures::Figures as _;
use ipc::{
    Role,
    control::HttpConfig,
    http_api::{NodeFigures, StoreToHttpApi},
};
use tokio::{
    select,
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, timeout_at},
};
use worker::{
    control_link::{ControlLink, Ending},
    counter,
    drain::{self, Drain},
    duplex::{self, LaneCapacity, LinkEvent, LinkSender},
    heartbeat::Heartbeat,
    lossy::NoReply,
    peer::{Accepted, Acceptor, ConnectionLimit, Listener},
};

use crate::{
    api::Api,
    connection,
    counters::{self, HttpCounters},
    metrics::Metrics,
    operator::{Operator, OperatorSocket},
};

/// Events of the link to `store` that may wait.
const EVENTS: usize = 2;
/// Nothing is ever sent back.
const NO_ANSWERS: LaneCapacity = LaneCapacity { control: 1, bulk: 1 };
/// Time limit at the end for answers under way.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// First ends of the links.
#[derive(Debug)]
pub struct Links {
    /// Host information comes here.
    pub store: OwnedFd,
}

/// The link to `store`: its events, and the sender by which it can be dropped.
struct StoreLink {
    events: mpsc::Receiver<LinkEvent<StoreToHttpApi, NoReply>>,
    sender: Option<LinkSender<NoReply>>,
}

/// Where readers connect.
#[derive(Debug)]
pub struct Listeners {
    /// Strangers, if the gateway is described to today's network.
    pub public: Option<TcpListener>,
    /// Programs of the operator, if metrics are served.
    pub operator: Option<(OperatorSocket, Metrics)>,
}

/// Accepts on `listeners` until the worker is to end. Then finishes the answers under way, within a time limit.
///
/// # Errors
/// If a listener cannot be watched.
pub async fn serve(
    mut control: ControlLink,
    listeners: Listeners,
    links: Links,
    config: HttpConfig,
    counters: Arc<HttpCounters>,
) -> io::Result<Ending> {
    let mut acceptor = listeners.public.map(|listener| acceptor(listener, &config)).transpose()?;
    let api = Arc::new(Api::new(&config, Arc::clone(&counters)));
    let (order, drain) = drain::channel();

    let (reports_tx, reports) = mpsc::channel(4);
    let (events_tx, events) = mpsc::channel(EVENTS);
    let mut tasks = JoinSet::new();
    let ends = control.link_ends(Role::Store, links.store);
    tasks.spawn(duplex::serve(Role::Store, ends, NO_ANSWERS, events_tx, reports_tx.clone()));
    tasks.spawn(counter::log_changes(Arc::clone(&counters)));
    let mut store = StoreLink { events, sender: None };
    let mut figures = control.figures();
    let mut operating = JoinSet::new();
    if let Some((socket, metrics)) = listeners.operator {
        operating.spawn(Operator::new(socket, metrics)?.serve(drain.clone()));
    }

    let ending = select! {
        ending = control.follow(reports) => ending,
        never = work(&mut acceptor, &mut store, &mut figures, &api, &drain, Heartbeat::new(reports_tx, counters.loop_turns.clone())) => match never {},
    };
    if ending == Ending::Drain {
        let deadline = Instant::now() + LAST_ANSWERS;
        order.begin(deadline);
        if let Some(mut serving) = acceptor.map(Acceptor::stop)
            && timeout_at(deadline, serving.ended()).await.is_err()
        {
            let connections = serving.cut().await;
            tracing::warn!(id = "GWD-H001", connections, "connections did not end in time and were cut");
        }
        // Connections of the operator's programs that have not ended by then are cut with their task.
        let _ = timeout_at(deadline, operating.join_next()).await;
        counter::log(&counters.snapshot());
    }
    Ok(ending)
}

fn acceptor(listener: TcpListener, config: &HttpConfig) -> io::Result<Acceptor> {
    listener.set_nonblocking(true)?;
    // What a connection asks is no proof of anything: it costs nothing to ask. So a newcomer always gets a place, from the network that
    // has most of them.
    let limit = ConnectionLimit::new(config.max_connections, config.max_connections_per_prefix);
    Ok(Acceptor::new(Listener::new(tokio::net::TcpListener::from_std(listener)?, limit)?))
}

/// The next connection of a stranger; never, if strangers have no port.
async fn next(acceptor: &mut Option<Acceptor>, drain: &Drain, api: &Api) -> Option<Accepted> {
    match acceptor {
        Some(acceptor) => acceptor.next(drain, counters::port(&api.limits.counters)).await,
        None => pending().await,
    }
}

/// Serves until dropped.
async fn work(
    acceptor: &mut Option<Acceptor>,
    store: &mut StoreLink,
    figures: &mut watch::Receiver<NodeFigures>,
    api: &Arc<Api>,
    drain: &Drain,
    mut heartbeat: Heartbeat,
) -> Infallible {
    loop {
        select! {
            Some(accepted) = next(acceptor, drain, api) => {
                if let Some(acceptor) = acceptor {
                    acceptor.spawn(serve_one(accepted, Arc::clone(api), drain.clone()));
                }
            }
            Some(event) = store.events.recv() => store.handle(event, api),
            Ok(()) = figures.changed() => {
                let new = *figures.borrow_and_update();
                api.publish_figures(new, SystemTime::now());
            }
            () = heartbeat.beat() => {}
        }
    }
}

async fn serve_one(Accepted { stream, permit, .. }: Accepted, api: Arc<Api>, drain: Drain) {
    let _open = api.limits.counters.connections_open.raise();
    connection::serve(stream, &api, &drain, permit.evicted()).await;
}

impl StoreLink {
    fn handle(&mut self, event: LinkEvent<StoreToHttpApi, NoReply>, api: &Api) {
        match event {
            LinkEvent::Up(sender) => self.sender = Some(sender),
            // What was published before stays: it is true until `store` says otherwise.
            LinkEvent::Down => self.sender = None,
            LinkEvent::Batch(batch) => {
                for StoreToHttpApi::PublishHostInformation(signed) in batch {
                    if let Err(rule) = api.publish_host_information(&signed)
                        && let Some(sender) = &self.sender
                    {
                        sender.drop_link(rule);
                        return;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
