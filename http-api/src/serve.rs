//! The worker at work: accepts connections, and publishes what `store` and `gatewayd` say.
//!
//! *Holds* every task: those of the connections, and that of the link. *Promises*: none outlives [`serve`], which ends soon once it is
//! told to.

use std::{convert::Infallible, io, net::TcpListener, os::fd::OwnedFd, sync::Arc, time::Duration, time::SystemTime};

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

/// Accepts on `listener` until the worker is to end. Then finishes the answers under way, within a time limit.
///
/// # Errors
/// If the listener cannot be watched.
pub async fn serve(
    mut control: ControlLink,
    listener: TcpListener,
    links: Links,
    config: HttpConfig,
    counters: Arc<HttpCounters>,
) -> io::Result<Ending> {
    listener.set_nonblocking(true)?;
    // What a connection asks is no proof of anything: it costs nothing to ask. So a newcomer always gets a place, from the network that
    // has most of them.
    let limit = ConnectionLimit::new(config.max_connections, config.max_connections_per_prefix);
    let mut acceptor = Acceptor::new(Listener::new(tokio::net::TcpListener::from_std(listener)?, limit)?);
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

    let ending = select! {
        ending = control.follow(reports) => ending,
        never = work(&mut acceptor, &mut store, &mut figures, &api, &drain, Heartbeat::new(reports_tx, counters.loop_turns.clone())) => match never {},
    };
    if ending == Ending::Drain {
        let deadline = Instant::now() + LAST_ANSWERS;
        order.begin(deadline);
        let mut serving = acceptor.stop();
        if timeout_at(deadline, serving.ended()).await.is_err() {
            let connections = serving.cut().await;
            tracing::warn!(id = "GWD-H001", connections, "connections did not end in time and were cut");
        }
        counter::log(&counters.snapshot());
    }
    Ok(ending)
}

/// Serves until dropped.
async fn work(
    acceptor: &mut Acceptor,
    store: &mut StoreLink,
    figures: &mut watch::Receiver<NodeFigures>,
    api: &Arc<Api>,
    drain: &Drain,
    mut heartbeat: Heartbeat,
) -> Infallible {
    loop {
        select! {
            Some(accepted) = acceptor.next(drain, counters::port(&api.counters)) => {
                acceptor.spawn(serve_one(accepted, Arc::clone(api), drain.clone()));
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
    let _open = api.counters.connections_open.raise();
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
