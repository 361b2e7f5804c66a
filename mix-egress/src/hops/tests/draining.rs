//! Draining: queued packets are sent within the time limit, if their hops can be reached.

use super::*;

#[tokio::test]
async fn draining_sends_what_is_queued() {
    let node = Node::new().await;
    let (_socket, unreachable) = deaf_socket();
    let (mut hops, counters) = hops(EgressConfig { initial_backoff: HOUR, maximum_backoff: HOUR, ..config() });
    hops.hand_over(Origin::Clients, unreachable, frame(0));
    until(|| value(&counters.connects_failed) == 1).await;
    hops.hand_over(Origin::Clients, unreachable, frame(1));
    for number in 0..128 {
        hops.hand_over(Origin::Clients, node.address, frame(number));
    }
    // An unreachable hop does not delay this for the hour of its backoff.
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
    hops.hand_over(Origin::Clients, node.address, sized_frame(0, 16 << 20));
    hops.hand_over(Origin::Clients, node.address, frame(1));
    let _never_read = node.accept().await;
    soon(hops.drain(Instant::now() + Duration::from_millis(50))).await;
    assert_eq!(value(&counters.next_hop_lost), 2);
    assert_eq!(accounted(&counters), 2);
}

#[tokio::test]
async fn a_hop_found_unreachable_while_draining_is_not_tried_again() {
    let (_socket, unreachable) = deaf_socket();
    let (mut hops, counters) = hops(EgressConfig { initial_backoff: HOUR, maximum_backoff: HOUR, ..config() });
    hops.hand_over(Origin::Clients, unreachable, frame(0));
    soon(hops.drain(Instant::now() + HOUR)).await;
    assert_eq!(value(&counters.next_hop_unreachable), 1);
}
