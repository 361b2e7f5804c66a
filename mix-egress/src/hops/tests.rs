//! Over real TCP on the loopback interface, every wait for an event with a time limit.

use std::{
    net::Ipv6Addr,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bytes::Bytes;
use proto::{
    counter::Counters,
    ipc::Opaque,
    wire::{
        framing::{FrameHeader, Framing},
        packet::PacketSize,
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    time::{sleep, timeout},
};

use super::*;

const ACK_HEADER: FrameHeader = FrameHeader { framing: Framing::V7, size: PacketSize::Ack };
const HOUR: Duration = Duration::from_secs(3_600);

fn config() -> EgressConfig {
    EgressConfig {
        allow_private: true,
        initial_backoff: Duration::from_millis(20),
        maximum_backoff: Duration::from_millis(200),
        ..EgressConfig::default()
    }
}

fn hops(config: EgressConfig) -> (Hops, Arc<EgressCounters>) {
    let counters = Arc::new(EgressCounters::default());
    (Hops::new(config, Arc::clone(&counters)), counters)
}

/// A SURB-ack's frame that carries a number.
fn frame(number: u32) -> OutgoingFrame {
    sized_frame(number, 386)
}

fn sized_frame(number: u32, len: usize) -> OutgoingFrame {
    let mut packet = vec![0; len];
    packet[..4].copy_from_slice(&number.to_be_bytes());
    OutgoingFrame::of_any_length(ACK_HEADER, Bytes::from(packet))
}

fn value(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// Everything that was ever handed to `send` must be found in one of these.
fn accounted(counters: &EgressCounters) -> u64 {
    counters.snapshot().into_iter().filter(|(name, _)| *name != "connects_failed").map(|(_, count)| count).sum()
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
        hops.hand_over(node.address, frame(number));
    }
    let mut stream = node.accept().await;
    for number in 0..1_000 {
        assert_eq!(read_packet(&mut stream).await, number);
    }
    until(|| value(&counters.packets_sent) == 1_000).await;
    assert_eq!(accounted(&counters), 1_000);
}

#[tokio::test]
async fn packets_for_a_node_that_is_down_arrive_when_it_comes_up() {
    let (socket, address) = deaf_socket();
    let (mut hops, counters) = hops(config());
    let start = Instant::now();
    for number in 0..5 {
        hops.hand_over(address, frame(number));
    }
    until(|| value(&counters.connects_failed) == 4).await;
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
    hops.hand_over(address, frame(0));
    until(|| value(&counters.connects_failed) == 2).await;
}

#[tokio::test]
async fn a_full_queue_drops_the_newest() {
    let node = Node::new().await;
    let (mut hops, counters) = hops(EgressConfig { queue_packets: 4, ..config() });
    // The task does not run before the first await.
    for number in 0..7 {
        hops.hand_over(node.address, frame(number));
    }
    assert_eq!(value(&counters.next_hop_queue_full), 3);
    let mut stream = node.accept().await;
    for number in 0..4 {
        assert_eq!(read_packet(&mut stream).await, number);
    }
    hops.hand_over(node.address, frame(7));
    assert_eq!(read_packet(&mut stream).await, 7);
}

#[tokio::test]
async fn a_node_that_is_down_holds_no_more_than_the_queue_and_the_packet_that_asked_for_it() {
    let (_socket, address) = deaf_socket();
    let (mut hops, counters) = hops(EgressConfig { initial_backoff: HOUR, maximum_backoff: HOUR, ..config() });
    hops.hand_over(address, frame(0));
    until(|| value(&counters.connects_failed) == 1).await;
    for number in 1..=131 {
        hops.hand_over(address, frame(number));
        tokio::task::yield_now().await;
    }
    assert_eq!(value(&counters.next_hop_queue_full), 3);
    assert_eq!(accounted(&counters), 3);
}

#[tokio::test]
async fn nothing_is_written_into_a_connection_that_the_node_has_closed() {
    let node = Node::new().await;
    let (mut hops, counters) = hops(config());
    for round in 0..100 {
        // From the second round on, the task still believes the connection of the round before to be open.
        hops.hand_over(node.address, frame(round));
        let mut stream = node.accept().await;
        assert_eq!(read_packet(&mut stream).await, round);
        match round % 3 {
            0 => {}
            1 => stream.set_zero_linger().unwrap(),
            _ => stream.write_all(b"a mix node never says anything").await.unwrap(),
        }
    }
    until(|| value(&counters.packets_sent) == 100).await;
    assert_eq!(accounted(&counters), 100);
    assert_eq!(value(&counters.connects_failed), 0);
}

#[tokio::test]
async fn what_a_node_says_is_discarded() {
    let node = Node::new().await;
    let (mut hops, _counters) = hops(config());
    hops.hand_over(node.address, frame(0));
    let mut stream = node.accept().await;
    assert_eq!(read_packet(&mut stream).await, 0);
    // More than socket buffers hold: this ends only because somebody reads.
    soon(stream.write_all(&vec![0; 32 << 20])).await.unwrap();
    hops.hand_over(node.address, frame(1));
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
    hops.hand_over(stalled.address, sized_frame(0, 33_133));
    let mut never_read = stalled.accept().await;
    until(|| {
        hops.hand_over(stalled.address, sized_frame(0, 33_133));
        handed_over += 1;
        value(&counters.next_hop_queue_full) > 0
    })
    .await;

    hops.hand_over(healthy.address, frame(0));
    let mut stream = healthy.accept().await;
    assert_eq!(read_packet(&mut stream).await, 0);
    for number in 1..100 {
        hops.hand_over(healthy.address, frame(number));
        assert_eq!(read_packet(&mut stream).await, number);
    }
    handed_over += 100;
    assert_eq!(
        value(&counters.next_hop_stalled),
        0,
        "the other node was served only after the stalled one was given up"
    );

    until(|| value(&counters.next_hop_stalled) > 0).await;
    assert_eq!(accounted(&counters), handed_over);
    hops.hand_over(healthy.address, frame(100));
    assert_eq!(read_packet(&mut stream).await, 100);
    let ended = soon(never_read.read_to_end(&mut Vec::new())).await;
    assert!(ended.is_err(), "the kernel went on holding packets for the stalled node");
}

#[tokio::test]
async fn a_packet_cut_off_by_the_node_is_lost_and_the_next_waits_for_the_backoff() {
    let node = Node::new().await;
    let (mut hops, counters) = hops(config());
    hops.hand_over(node.address, sized_frame(0, 16 << 20));
    hops.hand_over(node.address, frame(1));
    let mut stream = node.accept().await;
    stream.read_exact(&mut [0; 3]).await.unwrap();
    let closed = Instant::now();
    drop(stream);
    let mut stream = node.accept().await;
    assert!(closed.elapsed() >= Duration::from_millis(20), "connected again without a pause");
    assert_eq!(read_packet(&mut stream).await, 1);
    until(|| accounted(&counters) == 2).await;
    assert_eq!(value(&counters.next_hop_lost), 1);
}

#[tokio::test]
async fn a_packet_of_the_wrong_length_is_refused_and_garbles_nothing() {
    let node = Node::new().await;
    let (mut hops, _counters) = hops(config());
    let ask = |len| SendPacket { next_hop: node.address, header: ACK_HEADER, packet: Opaque(vec![0; len].into()) };
    assert_eq!(hops.send(ask(386)), Ok(()));
    assert_eq!(hops.send(ask(385)), Err(WrongLength));
    assert_eq!(hops.send(ask(386)), Ok(()));
    let mut stream = node.accept().await;
    assert_eq!(read_packet(&mut stream).await, 0);
    assert_eq!(read_packet(&mut stream).await, 0);
}

#[tokio::test]
async fn ipv6_works() {
    let node = Node::at("[::1]:0").await;
    let (mut hops, _counters) = hops(config());
    hops.hand_over(SocketAddr::new(Ipv6Addr::LOCALHOST.into(), node.address.port()), frame(1));
    assert_eq!(read_packet(&mut node.accept().await).await, 1);
}

#[tokio::test]
async fn both_ways_to_write_an_ipv4_address_mean_one_connection() {
    let node = Node::new().await;
    let SocketAddr::V4(plain) = node.address else { panic!("not IPv4") };
    let mapped = SocketAddr::new(plain.ip().to_ipv6_mapped().into(), plain.port());
    let (mut hops, _counters) = hops(config());
    hops.hand_over(mapped, frame(0));
    hops.hand_over(node.address, frame(1));
    let mut stream = node.accept().await;
    assert_eq!(read_packet(&mut stream).await, 0);
    assert_eq!(read_packet(&mut stream).await, 1);
}

#[tokio::test]
async fn forbidden_next_hops_are_counted_and_never_connected() {
    let node = Node::new().await;
    let (mut hops, counters) = hops(EgressConfig { allow_private: false, ..config() });
    hops.hand_over(node.address, frame(0));
    assert_eq!(value(&counters.next_hop_forbidden), 1);
    assert!(hops.tasks.is_empty());
}

#[tokio::test]
async fn the_table_is_bounded_and_idle_hops_make_room() {
    let (a, b, c) = (Node::new().await, Node::new().await, Node::new().await);
    let (mut hops, counters) = hops(EgressConfig { max_next_hops: 2, ..config() });
    // No task runs before the first await, so neither of the two is idle.
    hops.hand_over(a.address, frame(0));
    hops.hand_over(b.address, frame(0));
    hops.hand_over(c.address, frame(0));
    assert_eq!(value(&counters.too_many_next_hops), 1);

    let (mut stream_a, mut stream_b) = (a.accept().await, b.accept().await);
    assert_eq!(read_packet(&mut stream_a).await, 0);
    assert_eq!(read_packet(&mut stream_b).await, 0);
    until(|| hops.hops.values().all(|entry| entry.dispensable() == Some(Standing::Idle))).await;

    // Again none is idle, although no task has seen its packet yet.
    hops.hand_over(b.address, frame(1));
    hops.hand_over(a.address, frame(1));
    hops.hand_over(c.address, frame(1));
    assert_eq!(value(&counters.too_many_next_hops), 2);
    assert_eq!(read_packet(&mut stream_a).await, 1);
    assert_eq!(read_packet(&mut stream_b).await, 1);
    until(|| hops.hops.values().all(|entry| entry.dispensable() == Some(Standing::Idle))).await;

    hops.hand_over(c.address, frame(1));
    assert_eq!(read_packet(&mut c.accept().await).await, 1);
    assert!(has_ended(&mut stream_b).await, "the one not used for longest makes room");
    hops.hand_over(a.address, frame(2));
    assert_eq!(read_packet(&mut stream_a).await, 2);
    assert_eq!(value(&counters.too_many_next_hops), 2);
    assert_eq!(accounted(&counters), 8);
}

#[tokio::test]
async fn unreachable_hops_make_room_before_idle_ones() {
    let (idle, newcomer) = (Node::new().await, Node::new().await);
    let (_socket, unreachable) = deaf_socket();
    let (mut hops, counters) =
        hops(EgressConfig { max_next_hops: 2, initial_backoff: HOUR, maximum_backoff: HOUR, ..config() });
    hops.hand_over(idle.address, frame(0));
    let mut stream = idle.accept().await;
    assert_eq!(read_packet(&mut stream).await, 0);
    for number in 0..3 {
        hops.hand_over(unreachable, frame(number));
    }
    until(|| value(&counters.connects_failed) == 1).await;

    hops.hand_over(newcomer.address, frame(0));
    assert_eq!(read_packet(&mut newcomer.accept().await).await, 0);
    until(|| value(&counters.next_hop_unreachable) == 3).await;
    hops.hand_over(idle.address, frame(1));
    assert_eq!(read_packet(&mut stream).await, 1);
}

#[tokio::test]
async fn bytes_in_all_are_bounded_and_unreachable_hops_make_room() {
    let node = Node::new().await;
    let (_socket, unreachable) = deaf_socket();
    let (mut hops, counters) =
        hops(EgressConfig { max_queued_bytes: 3 * 389, initial_backoff: HOUR, maximum_backoff: HOUR, ..config() });
    for number in 0..3 {
        hops.hand_over(unreachable, frame(number));
    }
    until(|| value(&counters.connects_failed) == 1).await;
    hops.hand_over(node.address, frame(0));
    assert_eq!(value(&counters.queued_bytes_full), 1);
    until(|| value(&counters.next_hop_unreachable) == 3).await;
    for number in 1..4 {
        hops.hand_over(node.address, frame(number));
    }
    let mut stream = node.accept().await;
    for number in 1..4 {
        assert_eq!(read_packet(&mut stream).await, number);
    }
    assert_eq!(value(&counters.queued_bytes_full), 1);
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_opened_again_when_needed() {
    let node = Node::new().await;
    let (mut hops, counters) = hops(EgressConfig { idle_limit: Duration::from_millis(20), ..config() });
    for number in 0..20 {
        hops.hand_over(node.address, frame(number));
        let mut stream = node.accept().await;
        assert_eq!(read_packet(&mut stream).await, number);
        assert!(has_ended(&mut stream).await);
    }
    soon(hops.tasks.join_next()).await.unwrap().unwrap();
    assert_eq!(value(&counters.packets_sent), 20);
    assert_eq!(accounted(&counters), 20);
}

#[tokio::test]
async fn draining_sends_what_is_queued() {
    let node = Node::new().await;
    let (_socket, unreachable) = deaf_socket();
    let (mut hops, counters) = hops(EgressConfig { initial_backoff: HOUR, maximum_backoff: HOUR, ..config() });
    hops.hand_over(unreachable, frame(0));
    until(|| value(&counters.connects_failed) == 1).await;
    hops.hand_over(unreachable, frame(1));
    for number in 0..128 {
        hops.hand_over(node.address, frame(number));
    }
    // An unreachable hop does not hold this up for its hour.
    soon(hops.drain(Instant::now() + HOUR)).await;
    assert_eq!(value(&counters.packets_sent), 128);
    assert_eq!(value(&counters.next_hop_unreachable), 2);
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
    hops.hand_over(node.address, sized_frame(0, 16 << 20));
    hops.hand_over(node.address, frame(1));
    let _never_read = node.accept().await;
    soon(hops.drain(Instant::now() + Duration::from_millis(50))).await;
    assert_eq!(value(&counters.next_hop_lost), 2);
    assert_eq!(accounted(&counters), 2);
}

#[tokio::test]
async fn a_hop_that_turns_out_unreachable_while_draining_is_not_tried_again() {
    let (_socket, unreachable) = deaf_socket();
    let (mut hops, counters) = hops(EgressConfig { initial_backoff: HOUR, maximum_backoff: HOUR, ..config() });
    hops.hand_over(unreachable, frame(0));
    soon(hops.drain(Instant::now() + HOUR)).await;
    assert_eq!(value(&counters.next_hop_unreachable), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_packet_is_accounted_for() {
    let (_socket, unreachable) = deaf_socket();
    let mut nodes = JoinSet::new();
    let mut addresses = vec![unreachable];
    // How many packets each node reads before it hangs up; the last one reads for ever.
    for patience in [0, 1, 7, 100, usize::MAX] {
        let node = Node::new().await;
        addresses.push(node.address);
        nodes.spawn(async move {
            loop {
                let (mut stream, _) = node.listener.accept().await.unwrap();
                for _ in 0..patience {
                    if stream.read_exact(&mut [0; 389]).await.is_err() {
                        break;
                    }
                }
            }
        });
    }
    let (mut hops, counters) = hops(EgressConfig {
        max_next_hops: 4,
        queue_packets: 16,
        max_queued_bytes: 40 * 389,
        idle_limit: Duration::from_millis(1),
        initial_backoff: Duration::from_millis(1),
        ..config()
    });
    let mut handed_over = 0;
    for round in 0..5_000 {
        for &address in addresses.iter().cycle().skip(round % 7).take(round % 11) {
            hops.hand_over(address, frame(0));
            handed_over += 1;
        }
        tokio::task::yield_now().await;
    }
    soon(hops.drain(Instant::now() + Duration::from_millis(200))).await;
    assert_eq!(accounted(&counters), handed_over, "{:?}", counters.snapshot());
    assert!(value(&counters.packets_sent) > 0);
}
