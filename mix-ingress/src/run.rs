//! The worker at work: its tasks, how they are joined, and how they end.
//!
//! ```text
//! accept ─> connection (one each) ─> unwrap (all cores) ─> deliver <─> link to store
//!                                                             └──────> link to mix-egress
//! ```
//!
//! *Holds* every task. *Promises*: none outlives [`run`], and one that ends before its time ends the worker, so that the
//! supervisor starts it anew.

use std::{future::Future, net::TcpListener, os::fd::OwnedFd, sync::Arc, time::Duration};

use proto::{
    counter,
    ipc::{Role, control::IngressConfig, ingress_store::WINDOW},
    link::{
        duplex::{self, LaneCapacity, Violation},
        lossy,
        worker::Ending,
    },
    peer::Seats,
};
use sandbox::secret::Locked;
use tokio::{
    select,
    sync::mpsc,
    task::JoinSet,
    time::{Instant, timeout_at},
};

use crate::{
    accept::Acceptor, connection::PacketPath, counters::Counters, deliver::Deliveries, drain, sphinx::SphinxKey,
    unwrap::Unwrapper,
};

/// How long what is in flight may take at the end. An answer comes within the 250 ms that mail waits for its receipt,
/// and a commit.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// How long the SURB-acks paid last may take to reach `mix-egress` at the end.
const FLUSH_LIMIT: Duration = Duration::from_millis(500);

/// Batches that wait for the link to `store`.
const DELIVERY_QUEUE: usize = 32;

/// Events of the link to `store` that wait.
const EVENT_QUEUE: usize = 4;

/// The lane for mail holds the whole window, so that deliveries never wait for it and answers never behind them.
const LANES: LaneCapacity = LaneCapacity { control: 1, bulk: WINDOW.messages as usize };

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
    /// Counts.
    pub counters: Arc<Counters>,
}

/// The links to the peers.
pub struct Links {
    /// Ends of the link to `store`.
    pub store: mpsc::Receiver<OwnedFd>,
    /// Ends of the link to `mix-egress`.
    pub egress: mpsc::Receiver<OwnedFd>,
    /// Where it is reported that a peer broke a rule.
    pub violations: mpsc::Sender<Violation>,
}

/// The worker cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The listener cannot be watched.
    #[error("cannot watch the mixnet listener: {0}")]
    Listener(#[from] std::io::Error),
    /// A task ended that never ends by itself.
    #[error("a task of mix-ingress ended before its time; this is a fault of the program")]
    TaskEnded,
}

/// Works until `ending` says how to end, and ends that way.
///
/// # Errors
/// If the listener is of no use, or a task ended before its time.
pub async fn run(ingress: Ingress, links: Links, ending: impl Future<Output = Ending>) -> Result<Ending, RunError> {
    let Ingress { listener, key, config, threads, counters } = ingress;
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;

    let (order, drain) = drain::channel();
    let (deliveries, batches) = mpsc::channel(DELIVERY_QUEUE);
    let (events, store_events) = mpsc::channel(EVENT_QUEUE);
    let (acks, carrier) = lossy::channel(Arc::clone(&counters.acks_lost_to_egress));
    let path = PacketPath {
        unwrapper: Unwrapper::new(Arc::new(key), threads, Arc::clone(&counters)),
        deliveries,
        half_frame: config.half_frame,
        malformed_packets: config.malformed_packets,
        drain: drain.clone(),
        counters: Arc::clone(&counters),
    };
    let seats = Seats::new(config.max_connections, config.max_connections_per_prefix);

    // These end one after the other once the first does: connections, then deliveries, then SURB-acks.
    let mut packet_path = JoinSet::new();
    packet_path.spawn(Acceptor::new(listener, seats, path).run());
    packet_path.spawn(Deliveries::new(acks, Arc::clone(&counters)).run(batches, store_events, drain));
    packet_path.spawn(carrier.run(links.egress));
    // These never end by themselves.
    let mut services = JoinSet::new();
    services.spawn(duplex::serve(Role::Store, links.store, LANES, events, links.violations));
    services.spawn(counter::log_changes(Arc::clone(&counters)));

    let ending = select! {
        ending = ending => ending,
        _ = packet_path.join_next() => return Err(RunError::TaskEnded),
        _ = services.join_next() => return Err(RunError::TaskEnded),
    };
    if ending == Ending::Drain {
        let deadline = Instant::now() + DRAIN_LIMIT;
        order.begin(deadline);
        let drained = async { while packet_path.join_next().await.is_some() {} };
        if timeout_at(deadline + FLUSH_LIMIT, drained).await.is_err() {
            tracing::warn!("some SURB-acks did not reach mix-egress in time; their senders will send again");
        }
        counter::log(&counter::Counters::snapshot(&*counters));
    }
    Ok(ending)
}
