use std::{
    future::pending,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use figures::{Figures as _, Number};
use ipc::control::HttpConfig;
use proptest::prelude::*;
use tokio::{
    io::{AsyncWriteExt, DuplexStream, duplex},
    sync::oneshot,
    task::JoinHandle,
    time::Instant,
};
use worker::drain::{self, DrainOrder};

mod limits;

use super::*;
use crate::api::tests::{api, config, signed};

/// Of the configuration of the tests.
const LIMIT: Duration = Duration::from_secs(5);

const ROLES: &[u8] = b"GET /api/v1/roles HTTP/1.1\r\nhost: x\r\n\r\n";

/// The peer of a connection that is being served. Time is virtual.
struct Peer {
    stream: DuplexStream,
    serving: JoinHandle<()>,
    api: Arc<Api>,
    drain: DrainOrder,
    evict: Option<oneshot::Sender<()>>,
    began: Instant,
}

impl Peer {
    fn connect() -> Self {
        Self::with(config(), 1 << 20)
    }

    /// With so many bytes under way in each direction.
    fn with(config: HttpConfig, buffer: usize) -> Self {
        let api = api(&config);
        api.publish_host_information(&signed()).unwrap();
        let (stream, theirs) = duplex(buffer);
        let (order, drain) = drain::channel();
        let (evict, evicted) = oneshot::channel::<()>();
        let shared = Arc::clone(&api);
        let serving = tokio::spawn(async move {
            serve(theirs, &shared, &drain, async {
                let _ = evicted.await;
            })
            .await;
        });
        Self { stream, serving, api, drain: order, evict: Some(evict), began: Instant::now() }
    }

    /// Sends bytes, and returns everything that comes until the connection ends.
    async fn say(&mut self, bytes: &[u8]) -> String {
        self.stream.write_all(bytes).await.unwrap();
        self.rest().await
    }

    async fn rest(&mut self) -> String {
        let mut all = Vec::new();
        self.stream.read_to_end(&mut all).await.unwrap();
        String::from_utf8(all).unwrap()
    }

    /// The next answer, which has a body.
    async fn answer(&mut self) -> String {
        let mut answer = Vec::new();
        loop {
            answer.push(self.stream.read_u8().await.unwrap());
            let text = std::str::from_utf8(&answer).unwrap();
            if let Some((head, body)) = text.split_once("\r\n\r\n")
                && body.len() == content_length(head)
            {
                return text.to_owned();
            }
        }
    }

    /// The counters of how connections end that are not zero.
    fn ends(&self) -> Vec<(&'static str, u64)> {
        let ends = self.api.limits.counters.snapshot().into_iter();
        ends.filter(|(name, value)| *value > 0 && !name.starts_with("answers")).collect()
    }

    fn answers(&self) -> [u64; 3] {
        let HttpCounters { answers_2xx, answers_4xx, answers_5xx, .. } = &*self.api.limits.counters;
        [answers_2xx, answers_4xx, answers_5xx].map(|counter: &Number| counter.load(Relaxed))
    }
}

fn content_length(head: &str) -> usize {
    let field = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    field.unwrap().parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn requests_in_a_row_are_answered_on_one_connection() {
    let mut peer = Peer::connect();
    for _ in 0..3 {
        peer.stream.write_all(ROLES).await.unwrap();
        let answer = peer.answer().await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("gateway_enabled"), "{answer}");
        let head = answer.to_ascii_lowercase();
        assert!(!head.contains("\nserver:") && !head.contains("\nconnection:"), "{answer}");
    }
    assert_eq!((peer.ends(), peer.answers()), (vec![], [3, 0, 0]));
}

#[tokio::test(start_paused = true)]
async fn a_head_is_answered_with_a_length_and_no_body() {
    let mut peer = Peer::connect();
    let requests =
        [&b"HEAD /api/v1/roles HTTP/1.1\r\n\r\n"[..], b"HEAD /no HTTP/1.1\r\nconnection: close\r\n\r\n"].concat();
    let answers = peer.say(&requests).await;
    let heads: Vec<&str> = answers.split_terminator("\r\n\r\n").collect();
    assert!(heads.len() == 2 && heads.iter().all(|head| content_length(head) > 10), "{answers}");
    assert!(heads[0].starts_with("HTTP/1.1 200") && heads[1].starts_with("HTTP/1.1 404"), "{answers}");
}

#[tokio::test(start_paused = true)]
async fn http_1_0_is_answered_and_closed() {
    let mut peer = Peer::connect();
    let answer = peer.say(b"GET /api/v1/health HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200") && answer.ends_with(r#"{"status":"up","uptime":0}"#), "{answer}");
    assert_eq!(peer.began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_body_is_not_read_and_ends_the_connection() {
    let mut peer = Peer::connect();
    let head = "POST /api/v1/roles HTTP/1.1\r\ncontent-length: 100000\r\nexpect: 100-continue\r\n\r\n";
    let answer = peer.say(&[head.as_bytes(), &[b'x'; 50_000], ROLES].concat()).await;
    assert!(answer.starts_with("HTTP/1.1 405") && answer.matches("HTTP/1.1").count() == 1, "{answer}");
    assert!(answer.contains("allow: GET, HEAD\r\n") && answer.contains("connection: close\r\n"), "{answer}");
    assert_eq!(peer.answers(), [0, 1, 0]);
}

/// Otherwise the kernel would reset the connection, and the peer might lose the answer.
#[tokio::test(start_paused = true)]
async fn bytes_that_are_not_http_end_the_connection() {
    for garbage in [
        &b"\x00\x01\x02\x03\r\n\r\n"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"SSH-2.0-x\r\n",
        b"GET / HTTP/1.1\r\na b\r\n\r\n",
    ] {
        let mut peer = Peer::connect();
        let answer = peer.say(garbage).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{garbage:?} {answer}");
        assert_eq!(peer.ends(), [("bad_heads", 1)], "{garbage:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn http_2_without_notice_ends_the_connection() {
    let mut peer = Peer::connect();
    peer.say(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert_eq!(peer.ends(), [("bad_heads", 1)]);
}

#[tokio::test(start_paused = true)]
async fn garbage_behind_a_request_ends_the_connection_after_it() {
    let mut peer = Peer::connect();
    let answers = peer.say(&[ROLES, &[0xff; 3_000]].concat()).await;
    assert!(answers.starts_with("HTTP/1.1 200") && answers.contains("HTTP/1.1 400"), "{answers}");
    assert_eq!((peer.ends(), peer.answers()), (vec![("bad_heads", 1)], [1, 0, 0]));
}

#[tokio::test(start_paused = true)]
async fn tls_on_the_plain_port_has_a_counter_of_its_own() {
    let mut peer = Peer::connect();
    let hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[7; 500]].concat();
    assert!(peer.say(&hello).await.starts_with("HTTP/1.1 400"));
    assert_eq!(peer.ends(), [("tls_hellos", 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_leaves_in_a_request_is_counted() {
    let mut peer = Peer::connect();
    peer.stream.write_all(b"GET / HT").await.unwrap();
    peer.stream.shutdown().await.unwrap();
    peer.rest().await;
    assert_eq!(peer.ends(), [("requests_cut_short", 1)]);
    let mut peer = Peer::connect();
    peer.stream.shutdown().await.unwrap();
    peer.rest().await;
    assert_eq!(peer.ends(), []);
}

#[tokio::test(start_paused = true)]
async fn an_evicted_connection_ends_at_once() {
    let mut peer = Peer::connect();
    peer.stream.write_all(b"GET").await.unwrap();
    peer.evict.take().unwrap().send(()).unwrap();
    (&mut peer.serving).await.unwrap();
    assert_eq!((peer.began.elapsed(), peer.ends()), (Duration::ZERO, vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_an_idle_connection_at_once() {
    let mut peer = Peer::connect();
    peer.stream.write_all(ROLES).await.unwrap();
    peer.answer().await;
    peer.drain.begin(Instant::now() + LIMIT);
    (&mut peer.serving).await.unwrap();
    assert_eq!(peer.began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_drain_lets_an_answer_be_taken() {
    let mut peer = Peer::with(config(), 64);
    peer.stream.write_all(ROLES).await.unwrap();
    let first = peer.stream.read_u8().await.unwrap();
    peer.drain.begin(Instant::now() + LIMIT);
    let answer = peer.rest().await;
    assert!(first == b'H' && answer.ends_with('}'), "{answer}");
    peer.serving.await.unwrap();
}

/// Bytes that no parser expects, among some that it does.
fn bytes_of_strangers() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        prop::sample::select(vec![
            ROLES,
            b"GET / HTTP/1.1\r\n",
            b"HEAD /api/v1/health?output=yaml HTTP/1.0\r\n",
            b"POST /stats HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n5\r\n",
            b"CONNECT x:1 HTTP/1.1\r\nupgrade: h2c\r\nconnection: upgrade\r\n",
            b"content-length: 3\r\n",
            b"expect: 100-continue\r\n",
            b"\r\n\r\n",
            b"\r\n",
        ])
        .prop_map(<[u8]>::to_vec),
    ];
    prop::collection::vec(piece, 0..20)
}

proptest! {
    #[test]
    fn any_bytes_end_in_answers_and_an_end(pieces in bytes_of_strangers(), buffer in 1_usize..5_000) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let api = api(&config());
        let (_order, drain) = drain::channel();
        let said = runtime.block_on(async {
            let (ours, theirs) = duplex(buffer);
            let (mut read, mut write) = tokio::io::split(ours);
            let talk = async {
                for piece in pieces {
                    if write.write_all(&piece).await.is_err() {
                        return;
                    }
                }
            };
            let mut said = Vec::new();
            let (_, _, ()) = tokio::join!(talk, read.read_to_end(&mut said), serve(theirs, &api, &drain, pending()));
            said
        });
        prop_assert!(said.is_empty() || said.starts_with(b"HTTP/1."));
        let ends = api.limits.counters.snapshot().into_iter().filter(|(name, _)| !name.starts_with("answers"));
        prop_assert!(ends.map(|(_, value)| value).sum::<u64>() <= 1);
    }
}
