//! The worker's tasks in this process, with everything that a test needs to see of them.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::fd::OwnedFd,
    sync::{Arc, atomic::AtomicU64, atomic::Ordering::Relaxed},
    time::Duration,
};

use ipc::{
    control::{IngressConfig, ReplayConfig, WorkerReport},
    credit::Window,
};
use link::descriptor::link_pair;
use mix_ingress::{
    counters::Counters,
    run::{Ingress, Links, WorkError, run},
    sphinx::SphinxKey,
};
use sandbox::secret::Locked;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use wire::framing::Framing;
use worker::control_link::Ending;
use zeroize::Zeroizing;

use crate::{
    packets::{Sample, secret},
    peers::{Egress, Marks, Store, soon},
};

pub(crate) const CONFIG: IngressConfig = IngressConfig {
    half_frame: Duration::from_secs(30),
    half_frame_bytes: 1 << 20,
    ack_bytes: 16 << 20,
    max_connections: 100,
    max_connections_per_prefix: 100,
    malformed_packets: 1_000,
    window: Window { messages: 8_000, bytes: 20 << 20 },
    replay: ReplayConfig {
        packets_per_generation: 100_000,
        period: Duration::from_hours(24),
        kept_at_least: Duration::from_hours(1),
        memory: 1 << 30,
        false_positives_per_billion: 10_000,
        snapshot_interval: Duration::from_hours(1),
    },
};

pub(crate) struct Rig {
    pub(crate) address: SocketAddr,
    pub(crate) counters: Arc<Counters>,
    pub(crate) reports: mpsc::Receiver<WorkerReport>,
    store_ends: mpsc::Sender<OwnedFd>,
    order: oneshot::Sender<Ending>,
    work: JoinHandle<Result<Ending, WorkError>>,
}

impl Rig {
    pub(crate) async fn start(config: IngressConfig) -> (Self, Store, Egress) {
        Self::start_with(config, Marks::default()).await
    }

    /// A worker whose store has kept these marks.
    pub(crate) async fn start_with(config: IngressConfig, marks: Marks) -> (Self, Store, Egress) {
        let (rig, mut store, egress) = Self::start_unasked(config).await;
        store.marks = marks;
        store.give_marks().await;
        (rig, store, egress)
    }

    /// A worker whose store has not read its first question yet.
    pub(crate) async fn start_unasked(config: IngressConfig) -> (Self, Store, Egress) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let counters = Arc::new(Counters::default());
        let key = Locked::new(|| SphinxKey::new(Zeroizing::new(secret()))).unwrap();
        let (store_ends, store) = mpsc::channel(2);
        let (egress_ends, egress) = mpsc::channel(2);
        let (reports_tx, reports) = mpsc::channel(4);
        let (order, ordered) = oneshot::channel();
        let (here, there) = link_pair().unwrap();
        egress_ends.send(here).await.unwrap();
        let ingress = Ingress { listener, key, config, threads: 2, counters: Arc::clone(&counters) };
        let links = Links { store, egress, reports: reports_tx };
        let work = tokio::spawn(async move {
            let ending = async {
                // A test that ends sends nothing here.
                let ending = ordered.await.unwrap_or(Ending::Orphaned);
                drop(egress_ends);
                ending
            };
            run(ingress, links, ending).await
        });
        let rig = Self { address, counters, reports, store_ends, order, work };
        let store = rig.new_store().await;
        (rig, store, Egress::at(there))
    }

    /// The next report that is no heartbeat.
    pub(crate) async fn report(&mut self) -> WorkerReport {
        loop {
            match soon(self.reports.recv()).await.unwrap() {
                WorkerReport::LoopTurns => {}
                report => return report,
            }
        }
    }

    /// Gives the worker another store.
    pub(crate) async fn new_store(&self) -> Store {
        let (here, there) = link_pair().unwrap();
        self.store_ends.send(here).await.unwrap();
        Store::at(there)
    }

    pub(crate) async fn connect(&self) -> MixNode {
        MixNode(soon(TcpStream::connect(self.address)).await.unwrap())
    }

    /// A mix node at another address.
    pub(crate) async fn connect_from(&self, source: Ipv4Addr) -> MixNode {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((source, 0).into()).unwrap();
        MixNode(soon(socket.connect(self.address)).await.unwrap())
    }

    /// Orders the end. Returns what is needed to wait for the end.
    pub(crate) fn end(self, ending: Ending) -> Ended {
        self.order.send(ending).unwrap();
        Ended { work: self.work, _store_ends: self.store_ends }
    }
}

pub(crate) struct Ended {
    work: JoinHandle<Result<Ending, WorkError>>,
    _store_ends: mpsc::Sender<OwnedFd>,
}

impl Ended {
    pub(crate) async fn wait(self) -> Ending {
        soon(self.work).await.unwrap().unwrap()
    }
}

/// A mix node's connection.
pub(crate) struct MixNode(pub(crate) TcpStream);

impl MixNode {
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        soon(self.0.write_all(bytes)).await.unwrap();
    }

    pub(crate) async fn send(&mut self, sample: &Sample) {
        self.write(&sample.frame(Framing::V7)).await;
    }

    /// Waits until the gateway has closed the connection.
    pub(crate) async fn closed(&mut self) {
        match soon(self.0.read(&mut [0; 1])).await {
            Ok(0) => {}
            Ok(_) => panic!("the gateway said something"),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
    }
}

/// Waits until a counter has reached `count`.
pub(crate) async fn reaches(counter: &AtomicU64, count: u64) {
    let there = async {
        while value(counter) < count {
            tokio::task::yield_now().await;
        }
    };
    soon(there).await;
}

pub(crate) fn value(counter: &AtomicU64) -> u64 {
    counter.load(Relaxed)
}
