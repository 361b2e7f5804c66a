//! Messages that have begun and do not end.

use std::sync::atomic::Ordering::Relaxed;

use ipc::control::EdgeConfig;
use session_ipc::{EdgeToStore, SessionRequest};

use super::{
    client::{Client, Heard},
    gateway::{Gateway, SOON, config},
};

#[tokio::test]
async fn before_login_no_more_than_a_login_needs_is_taken() {
    let (gateway, _store) = Gateway::start(config()).await;
    let mut stranger = gateway.connect().await;
    stranger.begin(60_000, 9_000).await;
    assert_eq!(stranger.hear().await, Heard::Close(1008));
}

#[tokio::test]
async fn a_message_that_does_not_end_in_time_ends_its_session() {
    let (gateway, mut store) = Gateway::start(EdgeConfig { half_message: SOON, ..config() }).await;
    let (mut client, session) = gateway.attach(&mut store).await;
    client.begin(60_000, 30_000).await;
    store.expect(EdgeToStore { session, request: SessionRequest::CloseSession }).await;
    client.hear_close(1008).await;
    assert_eq!(gateway.edge.counters().half_message_timeouts.load(Relaxed), 1);
}

#[tokio::test]
async fn the_largest_half_message_for_longest_gives_way_to_others() {
    let (gateway, mut store) = Gateway::start(EdgeConfig { half_message_bytes: 70_000, ..config() }).await;
    let (mut old, session) = gateway.attach(&mut store).await;
    old.begin(60_000, 55_000).await;
    let mut others: Vec<Client> = Vec::new();
    for _ in 0..2 {
        let (mut other, _) = gateway.attach(&mut store).await;
        other.begin(60_000, 10_000).await;
        others.push(other);
    }
    store.expect(EdgeToStore { session, request: SessionRequest::CloseSession }).await;
    assert!(matches!(old.hear().await, Heard::End));
    assert_eq!(gateway.edge.counters().half_messages_for_others.load(Relaxed), 1);
}
