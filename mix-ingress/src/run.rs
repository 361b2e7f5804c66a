//! The worker at work: its tasks, how they are joined, and how they end.
//!
//! ```text
//! accept ─> connection (one each) ─> unwrap (all cores) ─> deliver <─> link to store
//!                                        │                    │└─────> link to mix-egress
//!                                        └── replay filter <─ keeper
//! ```
//!
//! *Holds* every task. *Promises*: none outlives [`run`], and one that ends before its time ends the worker, so that the
//! supervisor restarts it.

use std::{
    future::Future,
    net::TcpListener,
    os::fd::OwnedFd,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use figures::Figures as _;
use ipc::{
    Role,
    control::{IngressConfig, WorkerReport},
    credit::Window,
    replay_settings::ReplaySettingsError,
};
use sandbox::secret::Locked;
use tokio::{
    select,
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{Instant, timeout_at},
};
use worker::{
    budget::PartialBudget,
    control_link::Ending,
    counter,
    drain::{self, Drain},
    duplex::{self, LaneCapacity},
    heartbeat::Heartbeat,
    lossy::{self, LinkFigures},
    peer::{ConnectionLimit, Listener},
};

use crate::{
    accept,
    connection::PacketPath,
    counters::Counters,
    deliver::{Deliveries, Delivery},
    replay::{Marker, keeper::Keeper, retention::Retention},
    sphinx::SphinxKey,
    unwrap::Unwrapper,
};

/// Time limit at the end for what is in flight. An answer takes the 250 ms that mail waits for its receipt, and a commit. Saving the
/// new marks of the replay filter, tens of megabytes, takes a slow disk seconds.
const DRAIN_LIMIT: Duration = Duration::from_secs(4);

/// Time limit at the end for the last SURB-acks to reach `mix-egress`.
const FLUSH_LIMIT: Duration = Duration::from_millis(500);

/// Batches that may wait for the window of the link to `store`. They are outside of every budget: 128 packets, or 4 MB if all are of
/// the largest size.
const DELIVERY_QUEUE: usize = 4;

/// SURB-acks that may wait for the link to `mix-egress`, unless the window is larger: as many as may wait for one next hop. Their bytes
/// are bounded by their budget.
const ACK_QUEUE: u32 = 2_000;

/// Events of the link to `store` that may wait.
const EVENT_QUEUE: usize = 4;

/// The lane for mail holds the whole window, so deliveries never wait for the lane, and answers never wait behind deliveries.
const fn lanes(window: Window) -> LaneCapacity {
    LaneCapacity { control: 1, bulk: window.messages as usize }
}

/// What the worker was given.
pub struct Ingress {
    /// Where mix nodes connect.
    pub listener: TcpListener,
    /// The Sphinx private key.
    pub key: Locked<SphinxKey>,
    /// The limits.
    pub config: IngressConfig,
    /// How many threads unwrap packets.
    pub threads: usize,
    /// The counters of the process.
    pub counters: Arc<Counters>,
}

/// The links to the peers.
pub struct Links {
    /// Ends of the link to `store`.
    pub store: mpsc::Receiver<OwnedFd>,
    /// Ends of the link to `mix-egress`.
    pub egress: mpsc::Receiver<OwnedFd>,
    /// Takes reports that a peer broke a rule, or closed its link.
    pub reports: mpsc::Sender<WorkerReport>,
}

/// The worker cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// The listener cannot be watched.
    #[error("cannot watch the mixnet listener: {0}")]
    Listener(#[from] std::io::Error),
    /// A task ended that never ends by itself.
    #[error("a task of mix-ingress ended before its time; this is a fault of the program")]
    TaskEnded,
    /// The replay filter cannot be as configured.
    #[error("[replay] of config.toml: {0}")]
    Filter(#[from] ReplaySettingsError),
}

fn show_limits(counters: &Counters, config: &IngressConfig) {
    counters.half_frame_memory_limit.store(config.half_frame_bytes, Relaxed);
    counters.ack_memory_limit.store(config.ack_bytes, Relaxed);
    counters.connections_limit.store(config.max_connections.into(), Relaxed);
    counters.window_messages_limit.store(config.window.messages.into(), Relaxed);
    counters.window_size_limit.store(config.window.bytes, Relaxed);
}

/// Works until `ending` says how to end, and ends that way.
///
/// # Errors
/// If the listener is of no use, or a task ended before its time.
pub async fn run(ingress: Ingress, links: Links, ending: impl Future<Output = Ending>) -> Result<Ending, WorkError> {
    let Ingress { listener, key, config, threads, counters } = ingress;
    let retention = Retention::of(&config.replay)?;
    tracing::info!(
        in_flight = config.window.bytes,
        half_frames = config.half_frame_bytes,
        to_egress = config.ack_bytes,
        "budgets of memory for packets, in bytes"
    );
    show_limits(&counters, &config);
    listener.set_nonblocking(true)?;
    let limit = ConnectionLimit::new(config.max_connections, config.max_connections_per_prefix);
    let listener = Listener::new(tokio::net::TcpListener::from_std(listener)?, limit)?;

    let (order, drain) = drain::channel();
    let (deliveries, batches) = mpsc::channel(DELIVERY_QUEUE);
    let (events, store_events) = mpsc::channel(EVENT_QUEUE);
    let (snapshot_interval, window) = (config.replay.snapshot_interval, config.window);
    // One commit may accept the whole window, and so pay as many SURB-acks at once. With a small window, several commits may do so before
    // the first ack has left.
    let (acks, carrier) = lossy::channel(
        Window { messages: window.messages.max(ACK_QUEUE), bytes: config.ack_bytes },
        LinkFigures {
            memory: counters.ack_memory.clone(),
            waiting: counters.acks_waiting.clone(),
            sent: counters.acks_sent.clone(),
            lost: counters.acks_lost_to_egress.clone(),
        },
    );
    let (archive_links, new_archive_links) = mpsc::channel(1);
    let (open, opened) = oneshot::channel();
    let port = MixPort { listener, key, config, threads, deliveries, drain: drain.clone(), counters };
    let counters = Arc::clone(&port.counters);

    // Once draining begins, these end one after the other: connections, the keeper of the replay filter, deliveries, SURB-acks.
    let mut packet_path = JoinSet::new();
    packet_path.spawn(port.accept(opened));
    let keeper = Keeper::new(retention, snapshot_interval, new_archive_links, Arc::clone(&counters));
    packet_path.spawn(keeper.run(open, drain.clone()));
    let heartbeat = Heartbeat::new(links.reports.clone(), counters.loop_turns.clone());
    packet_path.spawn(Deliveries::new(window, acks, archive_links, Arc::clone(&counters)).run(
        batches,
        store_events,
        heartbeat,
        drain,
    ));
    packet_path.spawn(carrier.run(links.egress, links.reports.clone()));
    // These tasks never end by themselves.
    let mut services = JoinSet::new();
    services.spawn(duplex::serve(Role::Store, links.store, lanes(window), events, links.reports.clone()));
    services.spawn(counter::log_changes(Arc::clone(&counters)));

    let ending = select! {
        ending = ending => ending,
        _ = packet_path.join_next() => return Err(WorkError::TaskEnded),
        _ = services.join_next() => return Err(WorkError::TaskEnded),
    };
    if ending == Ending::Drain {
        let deadline = Instant::now() + DRAIN_LIMIT;
        order.begin(deadline);
        let drained = async { while packet_path.join_next().await.is_some() {} };
        if timeout_at(deadline + FLUSH_LIMIT, drained).await.is_err() {
            tracing::warn!(
                id = "GWD-I005",
                "some SURB-acks did not reach mix-egress in time; their senders will send again"
            );
        }
        counter::log(&counters.snapshot());
    }
    Ok(ending)
}

/// The mixnet port while the replay filter is being restored.
struct MixPort {
    listener: Listener,
    key: Locked<SphinxKey>,
    config: IngressConfig,
    threads: usize,
    deliveries: mpsc::Sender<Vec<Delivery>>,
    drain: Drain,
    counters: Arc<Counters>,
}

impl MixPort {
    /// Accepts connections once the replay filter is restored. Until then connections wait in the kernel.
    async fn accept(self, opened: oneshot::Receiver<Marker>) {
        let marker = select! {
            marker = opened => marker,
            () = self.drain.begun() => return,
        };
        // Without a keeper there is no filter, and the worker ends.
        let Ok(marker) = marker else { return };
        let path = PacketPath {
            unwrapper: Unwrapper::new(Arc::new(self.key), marker, self.threads, Arc::clone(&self.counters)),
            deliveries: self.deliveries,
            half_frame: self.config.half_frame,
            half_frames: PartialBudget::new(self.config.half_frame_bytes, self.counters.half_frame_memory.clone()),
            malformed_packets: self.config.malformed_packets,
            drain: self.drain,
            counters: self.counters,
        };
        accept::accept(self.listener, path).await;
    }
}
