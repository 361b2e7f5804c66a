//! Over real TCP on the loopback interface, every wait for an event with a time limit.

use std::{net::Ipv6Addr, time::Duration};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    time::{sleep, timeout},
};

use super::*;

const HOUR: Duration = Duration::from_secs(3_600);

fn config() -> EgressConfig {
    EgressConfig {
        allow_private: true,
        initial_backoff: Duration::from_millis(20),
        maximum_backoff: Duration::from_millis(200),
        ..EgressConfig::default()
    }
}

fn hops(config: EgressConfig) -> (Hops, Arc<Counters>) {
    let counters = Arc::new(Counters::default());
    (Hops::new(config, Arc::clone(&counters)), counters)
}

/// A SURB-ack's frame that carries a number.
fn frame(number: u32) -> OutgoingFrame {
    sized_frame(number, 386)
}

fn sized_frame(number: u32, len: usize) -> OutgoingFrame {
    let mut packet = vec![0; len];
    packet[..4].copy_from_slice(&number.to_be_bytes());
    OutgoingFrame { header: [7, 2, 0].into(), packet: Bytes::from(packet) }
}

/// Everything that was ever handed to `send` must be found in one of these.
fn accounted(counters: &Counters) -> u64 {
    counters.iter().filter(|(name, _)| *name != "connects_failed").map(|(_, count)| count).sum()
}

async fn soon<T>(event: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), event).await.expect("it should have happened by now")
}

async fn until(mut condition: impl FnMut() -> bool) {
    soon(async {
        while !condition() {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// A mix node.
struct Node {
    listener: TcpListener,
    address: SocketAddr,
}

impl Node {
    async fn new() -> Self {
        Self::at("127.0.0.1:0").await
    }

    async fn at(address: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        Self { address: listener.local_addr().unwrap(), listener }
    }

    async fn accept(&self) -> TcpStream {
        soon(self.listener.accept()).await.unwrap().0
    }
}

/// A port at which nobody listens, and which nobody else gets meanwhile.
fn deaf_socket() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// The number of the next packet.
async fn read_packet(stream: &mut TcpStream) -> u32 {
    let mut wire = [0; 389];
    soon(stream.read_exact(&mut wire)).await.unwrap();
    assert_eq!(wire[..3], [7, 2, 0]);
    u32::from_be_bytes(wire[3..7].try_into().unwrap())
}

async fn has_ended(stream: &mut TcpStream) -> bool {
    matches!(soon(stream.read(&mut [0; 1])).await, Ok(0) | Err(_))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_opened_for_the_first_packet_and_keeps_the_order() {
    let node = Node::new().await;
    let (mut hops, counters) = hops(EgressConfig { queue_packets: 2_000, ..config() });
    assert!(hops.tasks.is_empty());
    for number in 0..1_000 {
        hops.send(node.address, frame(number));
    }
    let mut stream = node.accept().await;
    for number in 0..1_000 {
        assert_eq!(read_packet(&mut stream).await, number);
    }
    until(|| counters.packets_sent.get() == 1_000).await;
    assert_eq!(accounted(&counters), 1_000);
}

#[tokio::test]
async fn packets_for_a_node_that_is_down_arrive_when_it_comes_up() {
    let (socket, address) = deaf_socket();
    let (mut hops, counters) = hops(config());
    let start = Instant::now();
    for number in 0..5 {
        hops.send(address, frame(number));
    }
    until(|| counters.connects_failed.get() == 4).await;
    assert!(start.elapsed() >= Duration::from_millis(20 + 40 + 80), "attempts came faster than the backoff allows");
    assert_eq!(accounted(&counters), 0, "nothing is dropped meanwhile");
    let listener = socket.listen(8).unwrap();
    let (mut stream, _) = soon(listener.accept()).await.unwrap();
    for number in 0..5 {
        assert_eq!(read_packet(&mut stream).await, number);
    }
}

#[tokio::test]
async fn an_attempt_to_connect_has_a_time_limit() {
    // A listener that accepts nothing, its backlog full: the kernel ignores further attempts.
    let (socket, address) = deaf_socket();
    let _listener = socket.listen(1).unwrap();
    let mut backlog = Vec::new();
    while let Ok(stream) = timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
        backlog.push(stream.unwrap());
        assert!(backlog.len() < 10, "the backlog never fills");
    }
    let (mut hops, counters) = hops(EgressConfig { connect_timeout: Duration::from_millis(50), ..config() });
    hops.send(address, frame(0));
    until(|| counters.connects_failed.get() == 2).await;
}

#[tokio::test]
async fn a_full_queue_drops_the_newest() {
    let node = Node::new().await;
    let (mut hops, counters) = hops(EgressConfig { queue_packets: 4, ..config() });
    // The task does not run before the first await.
    for number in 0..7 {
        hops.send(node.address, frame(number));
    }
    assert_eq!(counters.next_hop_queue_full.get(), 3);
    let mut stream = node.accept().await;
    for number in 0..4 {
        assert_eq!(read_packet(&mut stream).await, number);
    }
    hops.send(node.address, frame(7));
    assert_eq!(read_packet(&mut stream).await, 7);
}

#[tokio::test]
async fn a_node_that_is_down_holds_no_more_than_the_queue_and_the_packet_that_asked_for_it() {
    let (_socket, address) = deaf_socket();
    let (mut hops, counters) = hops(EgressConfig { initial_backoff: HOUR, maximum_backoff: HOUR, ..config() });
    hops.send(address, frame(0));
    until(|| counters.connects_failed.get() == 1).await;
    for number in 1..=131 {
        hops.send(address, frame(number));
        tokio::task::yield_now().await;
    }
    assert_eq!(counters.next_hop_queue_full.get(), 3);
    assert_eq!(accounted(&counters), 3);
}

#[tokio::test]
async fn nothing_is_written_into_a_connection_that_the_node_has_closed() {
    let node = Node::new().await;
    let (mut hops, counters) = hops(config());
    for round in 0..100 {
        // The second one is sent into what the task still believes to be an open connection.
        hops.send(node.address, frame(round));
        let mut stream = node.accept().await;
        assert_eq!(read_packet(&mut stream).await, round);
        match round % 3 {
            0 => {}
            1 => stream.set_zero_linger().unwrap(),
            _ => stream.write_all(b"a mix node never says anything").await.unwrap(),
        }
    }
    until(|| counters.packets_sent.get() == 100).await;
    assert_eq!(accounted(&counters), 100);
    assert_eq!(counters.connects_failed.get(), 0);
}

#[tokio::test]
async fn what_a_node_says_is_discarded() {
    let node = Node::new().await;
    let (mut hops, _counters) = hops(config());
    hops.send(node.address, frame(0));
    let mut stream = node.accept().await;
    assert_eq!(read_packet(&mut stream).await, 0);
    // More than socket buffers hold: this ends only because somebody reads.
    soon(stream.write_all(&vec![0; 32 << 20])).await.unwrap();
    hops.send(node.address, frame(1));
    assert_eq!(read_packet(&mut stream).await, 1);
}

#[tokio::test]
async fn a_stalled_node_harms_no_other_and_is_given_up() {
    let (stalled, healthy) = (Node::new().await, Node::new().await);
    let (mut hops, counters) = hops(EgressConfig {
        write_timeout: Duration::from_secs(3),
        initial_backoff: HOUR,
        maximum_backoff: HOUR,
        ..config()
    });
    let mut handed_over = 1;
    hops.send(stalled.address, sized_frame(0, 33_133));
    let _never_read = stalled.accept().await;
    until(|| {
        hops.send(stalled.address, sized_frame(0, 33_133));
        handed_over += 1;
        counters.next_hop_queue_full.get() > 0
    })
    .await;

    hops.send(healthy.address, frame(0));
    let mut stream = healthy.accept().await;
    assert_eq!(read_packet(&mut stream).await, 0);
    for number in 1..100 {
        hops.send(healthy.address, frame(number));
        assert_eq!(read_packet(&mut stream).await, number);
    }
    handed_over += 100;
    assert_eq!(counters.next_hop_stalled.get(), 0, "the other node was served only after the stalled one was given up");

    until(|| counters.next_hop_stalled.get() > 0).await;
    assert_eq!(accounted(&counters), handed_over);
    hops.send(healthy.address, frame(100));
    assert_eq!(read_packet(&mut stream).await, 100);
}

#[tokio::test]
async fn a_packet_cut_off_by_the_node_is_lost_and_the_next_waits_for_the_backoff() {
    let node = Node::new().await;
    let (mut hops, counters) = hops(config());
    hops.send(node.address, sized_frame(0, 16 << 20));
    hops.send(node.address, frame(1));
    let mut stream = node.accept().await;
    stream.read_exact(&mut [0; 3]).await.unwrap();
    let closed = Instant::now();
    drop(stream);
    let mut stream = node.accept().await;
    assert!(closed.elapsed() >= Duration::from_millis(20), "connected again without a pause");
    assert_eq!(read_packet(&mut stream).await, 1);
    until(|| accounted(&counters) == 2).await;
    assert_eq!(counters.next_hop_lost.get(), 1);
}

#[tokio::test]
async fn ipv6_works() {
    let node = Node::at("[::1]:0").await;
    let (mut hops, _counters) = hops(config());
    hops.send(SocketAddr::new(Ipv6Addr::LOCALHOST.into(), node.address.port()), frame(1));
    assert_eq!(read_packet(&mut node.accept().await).await, 1);
}

#[tokio::test]
async fn both_ways_to_write_an_ipv4_address_mean_one_connection() {
    let node = Node::new().await;
    let SocketAddr::V4(plain) = node.address else { panic!("not IPv4") };
    let mapped = SocketAddr::new(plain.ip().to_ipv6_mapped().into(), plain.port());
    let (mut hops, _counters) = hops(config());
    hops.send(mapped, frame(0));
    hops.send(node.address, frame(1));
    let mut stream = node.accept().await;
    assert_eq!(read_packet(&mut stream).await, 0);
    assert_eq!(read_packet(&mut stream).await, 1);
}

#[tokio::test]
async fn forbidden_next_hops_are_counted_and_never_connected() {
    let node = Node::new().await;
    let (mut hops, counters) = hops(EgressConfig { allow_private: false, ..config() });
    hops.send(node.address, frame(0));
    assert_eq!(counters.next_hop_forbidden.get(), 1);
    assert!(hops.tasks.is_empty());
}

#[tokio::test]
async fn the_table_is_bounded_and_idle_hops_make_room() {
    let (a, b, c) = (Node::new().await, Node::new().await, Node::new().await);
    let (mut hops, counters) = hops(EgressConfig { max_next_hops: 2, ..config() });
    // No task runs before the first await, so neither of the two is idle.
    hops.send(a.address, frame(0));
    hops.send(b.address, frame(0));
    hops.send(c.address, frame(0));
    assert_eq!(counters.too_many_next_hops.get(), 1);

    let (mut stream_a, mut stream_b) = (a.accept().await, b.accept().await);
    assert_eq!(read_packet(&mut stream_a).await, 0);
    assert_eq!(read_packet(&mut stream_b).await, 0);
    hops.send(a.address, frame(1));
    assert_eq!(read_packet(&mut stream_a).await, 1);
    until(|| hops.hops.values().all(|entry| entry.dispensable() == Some(Standing::Idle))).await;

    hops.send(c.address, frame(1));
    assert_eq!(read_packet(&mut c.accept().await).await, 1);
    assert!(has_ended(&mut stream_b).await, "the one not used for longest makes room");
    hops.send(a.address, frame(2));
    assert_eq!(read_packet(&mut stream_a).await, 2);
    assert_eq!(counters.too_many_next_hops.get(), 1);
    assert_eq!(accounted(&counters), 6);
}

#[tokio::test]
async fn unreachable_hops_make_room_before_idle_ones() {
    let (idle, newcomer) = (Node::new().await, Node::new().await);
    let (_socket, unreachable) = deaf_socket();
    let (mut hops, counters) =
        hops(EgressConfig { max_next_hops: 2, initial_backoff: HOUR, maximum_backoff: HOUR, ..config() });
    hops.send(idle.address, frame(0));
    let mut stream = idle.accept().await;
    assert_eq!(read_packet(&mut stream).await, 0);
    for number in 0..3 {
        hops.send(unreachable, frame(number));
    }
    until(|| counters.connects_failed.get() == 1).await;

    hops.send(newcomer.address, frame(0));
    assert_eq!(read_packet(&mut newcomer.accept().await).await, 0);
    until(|| counters.next_hop_unreachable.get() == 3).await;
    hops.send(idle.address, frame(1));
    assert_eq!(read_packet(&mut stream).await, 1);
}

#[tokio::test]
async fn bytes_in_all_are_bounded_and_unreachable_hops_make_room() {
    let node = Node::new().await;
    let (_socket, unreachable) = deaf_socket();
    let (mut hops, counters) =
        hops(EgressConfig { max_queued_bytes: 3 * 389, initial_backoff: HOUR, maximum_backoff: HOUR, ..config() });
    for number in 0..3 {
        hops.send(unreachable, frame(number));
    }
    until(|| counters.connects_failed.get() == 1).await;
    hops.send(node.address, frame(0));
    assert_eq!(counters.queued_bytes_full.get(), 1);
    until(|| counters.next_hop_unreachable.get() == 3).await;
    for number in 1..4 {
        hops.send(node.address, frame(number));
    }
    let mut stream = node.accept().await;
    for number in 1..4 {
        assert_eq!(read_packet(&mut stream).await, number);
    }
    assert_eq!(counters.queued_bytes_full.get(), 1);
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_opened_again_when_needed() {
    let node = Node::new().await;
    let (mut hops, counters) = hops(EgressConfig { idle_limit: Duration::from_millis(20), ..config() });
    for number in 0..20 {
        hops.send(node.address, frame(number));
        let mut stream = node.accept().await;
        assert_eq!(read_packet(&mut stream).await, number);
        assert!(has_ended(&mut stream).await);
    }
    soon(hops.tasks.join_next()).await.unwrap().unwrap();
    assert_eq!(counters.packets_sent.get(), 20);
    assert_eq!(accounted(&counters), 20);
}

#[tokio::test]
async fn draining_sends_what_is_queued() {
    let node = Node::new().await;
    let (_socket, unreachable) = deaf_socket();
    let (mut hops, counters) = hops(EgressConfig { initial_backoff: HOUR, maximum_backoff: HOUR, ..config() });
    hops.send(unreachable, frame(0));
    until(|| counters.connects_failed.get() == 1).await;
    hops.send(unreachable, frame(1));
    for number in 0..128 {
        hops.send(node.address, frame(number));
    }
    // An unreachable hop does not hold this up for its hour.
    soon(hops.drain(Instant::now() + HOUR)).await;
    assert_eq!(counters.packets_sent.get(), 128);
    assert_eq!(counters.next_hop_unreachable.get(), 2);
    let mut stream = node.accept().await;
    for number in 0..128 {
        assert_eq!(read_packet(&mut stream).await, number);
    }
    assert!(has_ended(&mut stream).await);
}

#[tokio::test]
async fn draining_ends_at_its_deadline_and_counts_what_is_lost() {
    let node = Node::new().await;
    let (mut hops, counters) = hops(config());
    hops.send(node.address, sized_frame(0, 16 << 20));
    hops.send(node.address, frame(1));
    let _never_read = node.accept().await;
    soon(hops.drain(Instant::now() + Duration::from_millis(50))).await;
    assert_eq!(counters.next_hop_lost.get(), 2);
    assert_eq!(accounted(&counters), 2);
}

#[tokio::test]
async fn a_hop_that_turns_out_unreachable_while_draining_is_not_tried_again() {
    let (_socket, unreachable) = deaf_socket();
    let (mut hops, counters) = hops(EgressConfig { initial_backoff: HOUR, maximum_backoff: HOUR, ..config() });
    hops.send(unreachable, frame(0));
    soon(hops.drain(Instant::now() + HOUR)).await;
    assert_eq!(counters.next_hop_unreachable.get(), 1);
}
