//! When connections are opened, closed and opened again, to which hops, and what is written into them.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_opens_for_the_first_packet_and_keeps_order() {
    let node = Node::new().await;
    let (mut hops, counters) = hops(EgressConfig { queue_packets: 2_000, ..config() });
    assert!(hops.tasks.is_empty());
    for number in 0..1_000 {
        hops.hand_over(Origin::Clients, node.address, frame(number));
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
        hops.hand_over(Origin::Clients, address, frame(number));
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
async fn a_node_that_restarts_is_tried_again_at_once() {
    let node = Node::new().await;
    let (mut hops, counters) = hops(EgressConfig { initial_backoff: HOUR, maximum_backoff: HOUR, ..config() });
    hops.hand_over(Origin::Clients, node.address, frame(0));
    let mut stream = node.accept().await;
    assert_eq!(read_packet(&mut stream).await, 0);
    until(|| value(&counters.packets_sent) == 1).await;
    let address = node.address;
    drop((node, stream));
    // The task ends with the connection, because there is nothing to send.
    until(|| hops.hops[&address].queue.is_closed()).await;
    let down = Instant::now();
    hops.hand_over(Origin::Clients, address, frame(1));
    until(|| value(&counters.connects_failed) == 3).await;
    assert!(down.elapsed() >= Duration::from_millis(250), "attempts came faster than the backoff allows");
    let node = Node::at(&address.to_string()).await;
    assert_eq!(read_packet(&mut node.accept().await).await, 1);
    until(|| accounted(&counters) == 2).await;
}

#[tokio::test]
async fn a_packet_asks_for_a_node_that_was_down_for_long() {
    let node = Node::new().await;
    let (mut hops, counters) = hops(EgressConfig { initial_backoff: HOUR, maximum_backoff: HOUR, ..config() });
    hops.hand_over(Origin::Clients, node.address, frame(0));
    let mut stream = node.accept().await;
    assert_eq!(read_packet(&mut stream).await, 0);
    let address = node.address;
    drop((node, stream));
    until(|| hops.hops[&address].queue.is_closed()).await;
    hops.hand_over(Origin::Clients, address, frame(1));
    until(|| value(&counters.connects_failed) == 5).await;
    let node = Node::at(&address.to_string()).await;
    hops.hand_over(Origin::Clients, address, frame(2));
    let mut stream = node.accept().await;
    assert_eq!(read_packet(&mut stream).await, 1);
    assert_eq!(read_packet(&mut stream).await, 2);
}

#[tokio::test]
async fn an_attempt_to_connect_has_a_time_limit() {
    // A listener that accepts nothing. Once its backlog is full, the kernel ignores further attempts.
    let (socket, address) = deaf_socket();
    let _listener = socket.listen(1).unwrap();
    let mut backlog = Vec::new();
    while let Ok(stream) = timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
        backlog.push(stream.unwrap());
        assert!(backlog.len() < 10, "the backlog never fills");
    }
    let (mut hops, counters) = hops(EgressConfig { connect_timeout: Duration::from_millis(50), ..config() });
    hops.hand_over(Origin::Clients, address, frame(0));
    until(|| value(&counters.connects_failed) == 2).await;
}

#[tokio::test]
async fn nothing_is_written_into_a_connection_the_node_has_closed() {
    let node = Node::new().await;
    let (mut hops, counters) = hops(config());
    for round in 0..100 {
        // From the second round on, the task still believes the connection of the round before to be open.
        hops.hand_over(Origin::Clients, node.address, frame(round));
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
    hops.hand_over(Origin::Clients, node.address, frame(0));
    let mut stream = node.accept().await;
    assert_eq!(read_packet(&mut stream).await, 0);
    // More than socket buffers hold, so the write ends only if the hop task reads.
    soon(stream.write_all(&vec![0; 32 << 20])).await.unwrap();
    hops.hand_over(Origin::Clients, node.address, frame(1));
    assert_eq!(read_packet(&mut stream).await, 1);
}

#[tokio::test]
async fn a_packet_cut_off_by_the_node_is_lost_and_the_next_backs_off() {
    let node = Node::new().await;
    let (mut hops, counters) = hops(config());
    hops.hand_over(Origin::Clients, node.address, sized_frame(0, 16 << 20));
    hops.hand_over(Origin::Clients, node.address, frame(1));
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
    assert_eq!(hops.send(Origin::Clients, ask(386)), Ok(()));
    assert_eq!(hops.send(Origin::Clients, ask(385)), Err(Rule::WrongLength));
    assert_eq!(hops.send(Origin::Clients, ask(386)), Ok(()));
    let mut stream = node.accept().await;
    assert_eq!(read_packet(&mut stream).await, 0);
    assert_eq!(read_packet(&mut stream).await, 0);
}

#[tokio::test]
async fn ipv6_works() {
    let node = Node::at("[::1]:0").await;
    let (mut hops, _counters) = hops(config());
    hops.hand_over(Origin::Clients, SocketAddr::new(Ipv6Addr::LOCALHOST.into(), node.address.port()), frame(1));
    assert_eq!(read_packet(&mut node.accept().await).await, 1);
}

#[tokio::test]
async fn both_ways_to_write_an_ipv4_address_mean_one_connection() {
    let node = Node::new().await;
    let SocketAddr::V4(plain) = node.address else { panic!("not IPv4") };
    let mapped = SocketAddr::new(plain.ip().to_ipv6_mapped().into(), plain.port());
    let (mut hops, _counters) = hops(config());
    hops.hand_over(Origin::Clients, mapped, frame(0));
    hops.hand_over(Origin::Clients, node.address, frame(1));
    let mut stream = node.accept().await;
    assert_eq!(read_packet(&mut stream).await, 0);
    assert_eq!(read_packet(&mut stream).await, 1);
}

#[tokio::test]
async fn forbidden_next_hops_are_counted_and_never_connected() {
    let node = Node::new().await;
    let (mut hops, counters) = hops(EgressConfig { allow_private: false, ..config() });
    hops.hand_over(Origin::Clients, node.address, frame(0));
    assert_eq!(value(&counters.next_hop_forbidden), 1);
    assert!(hops.tasks.is_empty());
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_opened_again_when_needed() {
    let node = Node::new().await;
    let timeouts = Timeouts { idle: Duration::from_millis(20), ..Timeouts::default() };
    let (mut hops, counters) = hops_with(config(), timeouts);
    for number in 0..20 {
        hops.hand_over(Origin::Clients, node.address, frame(number));
        let mut stream = node.accept().await;
        assert_eq!(read_packet(&mut stream).await, number);
        assert!(has_ended(&mut stream).await);
    }
    soon(hops.tasks.join_next()).await.unwrap().unwrap();
    assert_eq!(value(&counters.packets_sent), 20);
    assert_eq!(accounted(&counters), 20);
}

#[tokio::test]
async fn what_waits_is_shown_by_the_state_of_its_next_hop() {
    let (_socket, unreachable) = deaf_socket();
    let (stalled, works) = (Node::new().await, Node::new().await);
    let (mut hops, counters) = hops(EgressConfig { initial_backoff: HOUR, maximum_backoff: HOUR, ..config() });
    let shown = |hops: &Hops| {
        hops.show();
        let states = [
            (&counters.hops_new, &counters.queued_for_new),
            (&counters.hops_proven, &counters.queued_for_proven),
            (&counters.hops_unreachable, &counters.queued_for_unreachable),
        ];
        states.map(|(hops, queued)| (value(hops), value(queued)))
    };
    let one = frame(0).wire_len() as u64;
    hops.hand_over(Origin::Clients, unreachable, frame(0));
    assert_eq!(shown(&hops), [(1, one), (0, 0), (0, 0)]);
    until(|| value(&counters.connects_failed) == 1).await;
    hops.hand_over(Origin::Clients, unreachable, frame(1));
    assert_eq!(shown(&hops), [(0, 0), (0, 0), (1, 2 * one)]);

    hops.hand_over(Origin::Clients, works.address, frame(0));
    let mut stream = works.accept().await;
    assert_eq!(read_packet(&mut stream).await, 0);
    until(|| shown(&hops)[1] == (1, 0)).await;
    // Its buffers take a part, and the rest waits.
    let large = sized_frame(0, 16 << 20);
    let queued = large.wire_len() as u64;
    hops.hand_over(Origin::Clients, stalled.address, large);
    let _never_read = stalled.accept().await;
    assert_eq!(shown(&hops)[1..], [(1, 0), (1, 2 * one)]);
    assert_eq!(shown(&hops)[0], (1, queued));
    assert_eq!(value(&counters.queued_memory), queued + 2 * one);
}
