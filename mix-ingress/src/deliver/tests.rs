//! Deliveries without a `store`: their end, and what is counted.

use std::time::Duration;

use figures::Number;
use tokio::time::Instant;
use worker::{
    drain,
    lossy::{self, LinkFigures},
};

use super::*;
use crate::replay::tests::{marker, tag};

const WINDOW: Window = Window { messages: 1, bytes: 100 };
const DEADLINE: Duration = Duration::from_secs(3);

/// Without a `store` and without a keeper of the replay filter.
fn deliveries() -> (Deliveries, Arc<Counters>) {
    let counters = Arc::new(Counters::default());
    let (acks, _) = lossy::channel(WINDOW, LinkFigures::default());
    let (archive_links, _) = mpsc::channel(1);
    (Deliveries::new(WINDOW, acks, archive_links, Arc::clone(&counters)), counters)
}

/// Delivers these batches and ends, with the keeper of the replay filter gone already. Returns how long that took, and how many
/// packets were cut off. `more` keeps a connection open.
async fn drained(batches: Vec<Vec<Delivery>>, more: bool) -> (Duration, u64) {
    let (deliveries, counters) = deliveries();
    let (connection, taken) = mpsc::channel(4);
    for batch in batches {
        connection.send(batch).await.unwrap();
    }
    let connection = more.then_some(connection);
    let (_links, events) = mpsc::channel(1);
    let (reports, _reported) = mpsc::channel(1);
    let (order, drain) = drain::channel();
    let start = Instant::now();
    order.begin(start + DEADLINE);
    tokio::spawn(async move {
        tokio::time::sleep(DEADLINE).await;
        drop(connection);
    });
    deliveries.run(taken, events, Heartbeat::new(reports, Number::default()), drain).await;
    (start.elapsed(), counters.packets_cut_off.load(Relaxed))
}

fn delivery(mark: Option<ProvisionalMark>) -> Delivery {
    Delivery {
        destination: ClientAddress([5; 32]),
        message: Bytes::from_static(b"m"),
        ack: None,
        mark,
        _in_flight: Number::default().raise(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_at_once_when_nothing_is_left() {
    assert_eq!(drained(Vec::new(), false).await, (Duration::ZERO, 0));
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_connections_and_answers() {
    assert_eq!(drained(Vec::new(), true).await, (DEADLINE, 0));
    // The window holds one, another waits for it, and the last is still with its connection.
    let batches = vec![vec![delivery(None), delivery(None)], vec![delivery(None)]];
    assert_eq!(drained(batches, false).await, (DEADLINE, 3));
    assert_eq!(drained(vec![vec![delivery(None)]], false).await, (DEADLINE, 1));
}

/// `store` may have accepted it, and the answer was lost with the end of the worker.
#[tokio::test(start_paused = true)]
async fn at_the_end_what_is_not_answered_counts_as_seen() {
    let (marker, _full) = marker();
    let sight = |number| marker.first_sight(&tag(number));
    assert_eq!(drained(vec![vec![delivery(sight(0))]], false).await.1, 1);
    assert_eq!([0, 1].map(|number| sight(number).is_some()), [false, true]);
}

#[test]
fn a_window_that_is_full_counts_once_until_it_has_room() {
    let (mut deliveries, counters) = deliveries();
    let full = || counters.window_full.load(Relaxed);
    for times in 1..=3 {
        deliveries.waiting.extend([delivery(None), delivery(None)]);
        for _ in 0..2 {
            deliveries.deliver_waiting();
            assert_eq!(full(), times);
        }
        // The window is full again at once, so that is no other time.
        let first = *deliveries.unanswered.keys().next().unwrap();
        assert!(deliveries.take_answered(first).is_some());
        deliveries.deliver_waiting();
        deliveries.waiting.push_back(delivery(None));
        deliveries.deliver_waiting();
        assert_eq!(full(), times);
        for _ in 0..2 {
            let answered = *deliveries.unanswered.keys().next().unwrap();
            assert!(deliveries.take_answered(answered).is_some());
            deliveries.deliver_waiting();
        }
    }
    assert_eq!(full(), 3);
}

#[test]
fn what_is_left_of_the_window_is_shown() {
    let (mut deliveries, counters) = deliveries();
    let shown = |deliveries: &Deliveries| {
        deliveries.show_window();
        [&counters.window_messages_left, &counters.window_size_left].map(|left| left.load(Relaxed))
    };
    assert_eq!(shown(&deliveries), [1, 100]);
    deliveries.waiting.push_back(delivery(None));
    deliveries.deliver_waiting();
    assert_eq!(shown(&deliveries), [0, 99]);
    let answered = *deliveries.unanswered.keys().next().unwrap();
    assert!(deliveries.take_answered(answered).is_some());
    assert_eq!(shown(&deliveries), [1, 100]);
}

#[test]
fn what_a_new_store_is_asked_again_is_counted() {
    let (mut deliveries, counters) = deliveries();
    let again = || counters.deliveries_sent_again.load(Relaxed);
    deliveries.send_again();
    assert_eq!(again(), 0);
    deliveries.waiting.push_back(delivery(None));
    deliveries.deliver_waiting();
    deliveries.send_again();
    assert_eq!((again(), deliveries.unanswered.len()), (1, 1));
}
