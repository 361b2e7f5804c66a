use std::{net::SocketAddr, sync::atomic::Ordering::Relaxed};

use ipc::control::HttpConfig;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    task::JoinHandle,
    time::timeout,
};
use worker::drain::{self, DrainOrder};

use super::*;
use crate::{api::tests::config, connection::MAX_HEAD, counters::HttpCounters, limits::Limits};

/// For what must happen, on a machine that is busy.
const SOON: Duration = Duration::from_secs(20);

/// What serves, and everything around it.
struct Served {
    counters: Arc<HttpCounters>,
    drain: DrainOrder,
    serving: JoinHandle<()>,
}

fn serve_at(socket: OperatorSocket, config: &HttpConfig) -> Served {
    let counters = Arc::<HttpCounters>::default();
    let metrics = Metrics::new(Vec::new(), Limits::of(config, Arc::clone(&counters)));
    let (drain, watcher) = drain::channel();
    let serving = tokio::spawn(Operator::new(socket, metrics).unwrap().serve(watcher));
    Served { counters, drain, serving }
}

fn at_port(config: &HttpConfig) -> (SocketAddr, Served) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (address, serve_at(OperatorSocket::Port(listener.into(), Vec::new()), config))
}

async fn get(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> String {
    stream.write_all(b"GET /healthz HTTP/1.1\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    timeout(SOON, stream.read_to_string(&mut answer)).await.expect("no answer").unwrap();
    answer
}

/// Without pages no worker is known to be at work.
const ANSWER: &str = "HTTP/1.1 503";

#[test]
fn strangers_may_connect_only_if_they_are_listed() {
    let allow = ["10.0.0.0/8".parse().unwrap()];
    let may = |peer: &str, allow: &[TrustedNetwork]| may_connect(peer.parse().unwrap(), allow);
    assert!(may("127.0.0.1", &[]) && may("::1", &[]) && may("::ffff:127.0.0.1", &[]));
    assert!(!may("10.1.2.3", &[]) && may("10.1.2.3", &allow) && may("::ffff:10.1.2.3", &allow));
    assert!(!may("192.0.2.1", &allow));
}

#[tokio::test]
async fn a_port_and_a_path_are_served_alike() {
    let (address, _served) = at_port(&config());
    assert!(get(TcpStream::connect(address).await.unwrap()).await.starts_with(ANSWER));
    let path = std::env::temp_dir().join(format!("operator-{}.sock", std::process::id()));
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let _served = serve_at(OperatorSocket::Path(listener.into()), &config());
    let answer = get(UnixStream::connect(&path).await.unwrap()).await;
    std::fs::remove_file(&path).unwrap();
    assert!(answer.starts_with(ANSWER), "{answer}");
}

#[tokio::test]
async fn silent_connections_keep_nobody_out() {
    const CROWD: usize = 200;
    let (address, served) = at_port(&config());
    let mut silent = Vec::new();
    for _ in 0..CROWD {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    assert!(get(TcpStream::connect(address).await.unwrap()).await.starts_with(ANSWER));
    let evicted = served.counters.operator_connections_evicted.load(Relaxed);
    assert_eq!(usize::try_from(evicted).unwrap(), CROWD + 1 - CONNECTIONS);
    // The oldest was closed.
    assert_eq!(timeout(SOON, silent[0].read(&mut [0])).await.unwrap().unwrap_or(0), 0);
}

#[tokio::test]
async fn half_a_request_and_a_long_head_end_their_connection() {
    let (address, served) = at_port(&HttpConfig { request: Duration::from_millis(50), ..config() });
    let mut half = TcpStream::connect(address).await.unwrap();
    half.write_all(b"GET /metr").await.unwrap();
    assert_eq!(timeout(SOON, half.read(&mut [0])).await.unwrap().unwrap_or(0), 0);
    assert_eq!(served.counters.request_timeouts.load(Relaxed), 1);
    let (address, served) = at_port(&config());
    let mut long = TcpStream::connect(address).await.unwrap();
    long.write_all(format!("GET /metrics HTTP/1.1\r\nx: {}\r\n\r\n", "a".repeat(MAX_HEAD)).as_bytes()).await.unwrap();
    let mut answer = String::new();
    let _ = timeout(SOON, long.read_to_string(&mut answer)).await.expect("it stays open");
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    assert_eq!(served.counters.oversized_heads.load(Relaxed), 1);
}

#[tokio::test]
async fn a_drain_ends_the_operators_connections() {
    let (address, served) = at_port(&config());
    let mut idle = TcpStream::connect(address).await.unwrap();
    assert!(get(TcpStream::connect(address).await.unwrap()).await.starts_with(ANSWER));
    served.drain.begin(tokio::time::Instant::now() + SOON);
    timeout(SOON, served.serving).await.expect("it goes on").unwrap();
    assert_eq!(timeout(SOON, idle.read(&mut [0])).await.unwrap().unwrap_or(0), 0);
}
