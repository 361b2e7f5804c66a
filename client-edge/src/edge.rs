//! The wiring: which tasks there are, what connects them, and how they end.
//!
//! ```text
//! listener -> acceptor -> connections <- requests, commands, mail -> dispatcher <-> link to store
//!                              \-- packets -------------------------------------> link to mix-egress
//! ```

use std::{
    io,
    os::fd::OwnedFd,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use figures::Figures as _;
use ipc::{
    Role,
    control::{EdgeConfig, WorkerReport},
    credit::Window,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{Instant, timeout_at},
};
use worker::{
    birth::Birth,
    control_link::Ending,
    counter,
    drain::{self, DrainOrder},
    duplex::{self, LaneCapacity},
    heartbeat::Heartbeat,
    lossy::{self, LinkFigures},
};

use crate::{
    context::Context,
    counters::Counters,
    listen::{accept::ClientAcceptor, port::ClientPort},
    store::{dispatch, keys::KeySlots},
};

/// Requests and receipts that may wait for the link to `store`; there is no mail in that direction.
const TO_STORE: LaneCapacity = LaneCapacity { control: 1_024, bulk: 1 };
/// Frames from `store` that may wait for the dispatcher, which never waits.
const FROM_STORE: usize = 16;
/// Clients' packets that may wait for `mix-egress`; their bytes have a limit of their own.
const TO_EGRESS: u32 = 4_096;
/// Reports about links that may wait.
const REPORTS: usize = 4;
/// Everything but the counters ends by itself within this time once the process is to stop.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// What the process was given, and the memory that it locked.
#[derive(Debug)]
pub struct Resources {
    /// Where clients connect.
    pub listener: OwnedFd,
    /// Link to `store`.
    pub store: OwnedFd,
    /// Link to `mix-egress`.
    pub egress: OwnedFd,
    /// Locked memory for session keys.
    pub keys: KeySlots,
    /// The figures of the process.
    pub counters: Arc<Counters>,
}

/// The ends of the links as they come: the first one, and a new one after each restart of a peer.
#[derive(Debug)]
pub struct LinkEnds {
    /// Ends of the link to `store`.
    pub store: mpsc::Receiver<OwnedFd>,
    /// Ends of the link to `mix-egress`.
    pub egress: mpsc::Receiver<OwnedFd>,
}

/// Serves clients until the supervisor says otherwise. `newcomers` says whether new clients are let in at the beginning.
///
/// # Errors
/// If the descriptors cannot be used, or a task that should live as long as the process has ended.
pub async fn run(config: EdgeConfig, resources: Resources, newcomers: bool, birth: &Birth) -> io::Result<Ending> {
    let mut control = birth.control_link()?;
    let ends = LinkEnds {
        store: control.link_ends(Role::Store, resources.store),
        egress: control.link_ends(Role::MixEgress, resources.egress),
    };
    let port = ClientPort { listener: resources.listener.into(), newcomers: control.newcomers(newcomers) };
    let (reports, of_links) = mpsc::channel(REPORTS);
    let mut edge = Edge::start(config, resources.keys, port, ends, reports, resources.counters)?;
    let ending = tokio::select! {
        ending = control.follow(of_links) => ending,
        () = edge.failed() => return Err(io::Error::other("a task that should live as long as the process has ended")),
    };
    // If the supervisor is gone instead, the process exits without draining.
    if ending == Ending::Drain {
        edge.drain().await;
    }
    Ok(ending)
}

fn show_limits(counters: &Counters, config: &EdgeConfig) {
    counters.pushed_memory_limit.store(config.pushed_bytes, Relaxed);
    counters.half_message_memory_limit.store(config.half_message_bytes, Relaxed);
    counters.packet_memory_limit.store(config.packet_bytes, Relaxed);
    counters.connections_limit.store(config.max_connections.into(), Relaxed);
}

/// The tasks at work. Dropping it aborts them.
#[derive(Debug)]
pub struct Edge {
    tasks: JoinSet<()>,
    /// Apart from the others, because it never ends by itself.
    log: JoinSet<()>,
    order: DrainOrder,
    counters: Arc<Counters>,
}

impl Edge {
    /// Starts them.
    ///
    /// # Errors
    /// If the listener cannot be used.
    pub fn start(
        config: EdgeConfig,
        keys: KeySlots,
        port: ClientPort,
        ends: LinkEnds,
        reports: mpsc::Sender<WorkerReport>,
        counters: Arc<Counters>,
    ) -> io::Result<Self> {
        show_limits(&counters, &config);
        let (order, drain) = drain::channel();
        let (first_up, store_is_there) = oneshot::channel();
        tracing::info!(
            pushed = config.pushed_bytes,
            half_messages = config.half_message_bytes,
            to_egress = config.packet_bytes,
            "budgets of memory for clients, in bytes"
        );
        let (dispatch, dispatcher) =
            dispatch::dispatcher(config.session_credit, config.pushed_bytes, keys, Arc::clone(&counters), first_up);
        let (egress, carrier) = lossy::channel(
            Window { messages: TO_EGRESS, bytes: config.packet_bytes },
            LinkFigures {
                memory: counters.packet_memory.clone(),
                waiting: counters.packets_waiting.clone(),
                sent: counters.packets_sent.clone(),
                lost: counters.packets_lost_to_egress.clone(),
            },
        );
        let context = Context::new(config, Arc::clone(&counters), dispatch, egress, drain);
        let acceptor = ClientAcceptor::new(port, Arc::new(context))?;
        let (events, incoming) = mpsc::channel(FROM_STORE);

        let mut tasks = JoinSet::new();
        tasks.spawn(duplex::serve(Role::Store, ends.store, TO_STORE, events, reports.clone()));
        tasks.spawn(dispatcher.run(incoming, Heartbeat::new(reports.clone(), counters.loop_turns.clone())));
        tasks.spawn(carrier.run(ends.egress, reports));
        // Until there is a `store` to ask, clients wait in the listener's queue instead of being refused.
        tasks.spawn(async move {
            if store_is_there.await.is_ok() {
                acceptor.run().await;
            }
        });
        let mut log = JoinSet::new();
        log.spawn(counter::log_changes(Arc::clone(&counters)));
        Ok(Self { tasks, log, order, counters })
    }

    /// What has been counted so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Waits until a task has ended. None should before [`drain`](Self::drain).
    async fn failed(&mut self) {
        // The result is never `None`, because there are always tasks.
        let _ = self.tasks.join_next().await;
    }

    /// Stops accepting, lets every connection end, and waits until everything for `store` and `mix-egress` is written. No new link
    /// ends may come any more: the senders of [`LinkEnds`] have to be dropped before.
    pub async fn drain(mut self) {
        let deadline = Instant::now() + DRAIN_LIMIT;
        self.order.begin(deadline);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if timeout_at(deadline, all).await.is_err() {
            tracing::warn!(id = "GWD-C001", "not everything was finished in time");
        }
        self.log.shutdown().await;
        counter::log(&self.counters.snapshot());
    }
}
