use std::{net::SocketAddr, os::fd::AsFd, sync::atomic::Ordering::Relaxed};

use figures::Number;
use ipc::{
    codec,
    control::{WorkerCommand, WorkerReport},
    http_api::{Load, MAX_HOST_INFORMATION, SignedHostInformation},
};
use link::{descriptor, stream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};

use super::*;
use crate::api::tests::{config, signed};

/// For what must happen, on a machine that is busy.
const SOON: Duration = Duration::from_secs(20);

/// A worker that serves, and everything around it.
struct Worker {
    address: SocketAddr,
    store: stream::LinkWriter<StoreToHttpApi>,
    _store_reader: stream::LinkReader<NoReply>,
    control: OwnedFd,
    counters: Arc<HttpCounters>,
    serving: JoinHandle<io::Result<Ending>>,
}

impl Worker {
    fn start(config: HttpConfig) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (control, theirs) = descriptor::control_pair().unwrap();
        let (store, end) = descriptor::link_pair().unwrap();
        let (reader, store) = stream::open(store).unwrap();
        let counters = Arc::<HttpCounters>::default();
        let link = ControlLink::new(theirs).unwrap();
        let links = Links { store: end };
        let listeners = Listeners { public: Some(listener), operator: None };
        let serving = tokio::spawn(serve(link, listeners, links, config, Arc::clone(&counters)));
        Self { address, store, _store_reader: reader, control, counters, serving }
    }

    async fn publish(&mut self, signed: SignedHostInformation) {
        self.store.write_batch(&[StoreToHttpApi::PublishHostInformation(signed)]).await.unwrap();
    }

    async fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// Asks again until the answer has the text.
    async fn get_until(&self, path: &str, text: &str) {
        let asking = async { while !self.get(path).await.contains(text) {} };
        assert!(timeout(SOON, asking).await.is_ok(), "{path} never says {text}");
    }

    fn order(&self, command: &WorkerCommand) {
        descriptor::send(self.control.as_fd(), &codec::encode_one(command).unwrap(), &[]).unwrap();
    }

    /// Waits for a report that is no heartbeat.
    async fn report(&self) -> WorkerReport {
        let control = self.control.try_clone().unwrap();
        let next = tokio::task::spawn_blocking(move || {
            loop {
                let (bytes, _) = descriptor::receive(control.as_fd()).unwrap();
                match codec::decode_one(&bytes).unwrap() {
                    WorkerReport::WorkerReady | WorkerReport::LoopTurns => {}
                    report => return report,
                }
            }
        });
        timeout(SOON, next).await.expect("no report came").unwrap()
    }
}

#[tokio::test]
async fn what_store_and_gatewayd_say_is_published() {
    let mut worker = Worker::start(config());
    assert!(worker.get("/api/v1/health").await.starts_with("HTTP/1.1 503"));
    worker.publish(signed()).await;
    worker.get_until("/api/v1/health", "\"up\"").await;
    assert!(worker.get("/api/v1/host-information").await.contains("192.0.2.1"));
    // The last one counts.
    worker.publish(SignedHostInformation { data: "{}".into(), ..signed() }).await;
    worker.get_until("/api/v1/host-information", "{\"data\":{},").await;
    worker.order(&WorkerCommand::PublishFigures(NodeFigures { load: Load::High, ..NodeFigures::default() }));
    worker.get_until("/api/v1/load", "\"high\"").await;
}

#[tokio::test]
async fn host_information_that_is_too_long_breaks_the_link() {
    let mut worker = Worker::start(config());
    worker.publish(SignedHostInformation { data: " ".repeat(MAX_HOST_INFORMATION + 1), ..signed() }).await;
    let rule = ipc::http_api::Rule::TooLong.to_string();
    assert_eq!(worker.report().await, WorkerReport::LinkViolated { peer: Role::Store, link: 1, rule });
    assert!(worker.get("/api/v1/health").await.starts_with("HTTP/1.1 503"));
}

#[tokio::test]
async fn a_new_store_takes_over_and_the_old_document_stays() {
    let mut worker = Worker::start(config());
    worker.publish(signed()).await;
    worker.get_until("/api/v1/health", "\"up\"").await;
    let (ours, theirs) = descriptor::link_pair().unwrap();
    let replace = codec::encode_one(&WorkerCommand::ReplaceLink { peer: Role::Store }).unwrap();
    descriptor::send(worker.control.as_fd(), &replace, &[theirs.as_fd()]).unwrap();
    let (reader, store) = stream::open(ours).unwrap();
    (worker.store, worker._store_reader) = (store, reader);
    assert!(worker.get("/api/v1/host-information").await.contains("192.0.2.1"));
    worker.publish(SignedHostInformation { data: "{}".into(), ..signed() }).await;
    worker.get_until("/api/v1/host-information", "{\"data\":{},").await;
}

#[tokio::test]
async fn a_crowd_takes_no_more_places_than_there_are() {
    const CROWD: u64 = 200;
    const PLACES: u64 = 16;
    let worker = Worker::start(config());
    let mut crowd = JoinSet::new();
    for _ in 0..CROWD {
        let mut stream = TcpStream::connect(worker.address).await.unwrap();
        // Ends if it is refused or evicted; the time for a request is longer than this test takes.
        crowd.spawn(async move { stream.read(&mut [0]).await.unwrap_or(0) });
    }
    for _ in 0..CROWD - PLACES {
        assert_eq!(timeout(SOON, crowd.join_next()).await.unwrap().unwrap().unwrap(), 0);
    }
    // A newcomer is served all the same.
    assert!(worker.get("/api/v1/roles").await.starts_with("HTTP/1.1 200"));
    let HttpCounters { connections_accepted: accepted, connections_evicted: evicted, .. } = &*worker.counters;
    let refused = [&worker.counters.connections_refused_limit, &worker.counters.connections_refused_prefix];
    let [accepted, evicted] = [accepted, evicted].map(|counter: &Number| counter.load(Relaxed));
    let refused: u64 = refused.iter().map(|counter| counter.load(Relaxed)).sum();
    assert_eq!((accepted + refused, evicted + refused), (CROWD + 1, CROWD + 1 - PLACES));
}

#[tokio::test]
async fn a_drain_ends_the_worker_and_its_connections() {
    let worker = Worker::start(config());
    let mut idle = TcpStream::connect(worker.address).await.unwrap();
    assert!(worker.get("/api/v1/roles").await.starts_with("HTTP/1.1 200"));
    worker.order(&WorkerCommand::DrainWorker);
    let ending = timeout(SOON, worker.serving).await.unwrap().unwrap().unwrap();
    assert_eq!((ending, idle.read(&mut [0]).await.unwrap_or(0)), (Ending::Drain, 0));
}

#[tokio::test]
async fn without_a_supervisor_the_worker_ends_at_once() {
    let Worker { control, serving, .. } = Worker::start(config());
    drop(control);
    assert_eq!(timeout(SOON, serving).await.unwrap().unwrap().unwrap(), Ending::Orphaned);
}
