//! Mail without a SURB-ack: a quota for each inbox, in which the oldest gives way.

use super::{super::inbox::Pile, *};

const QUOTA: u64 = 256;

impl Bench {
    fn displaced(&self) -> u64 {
        self.office.counters.ackless_displaced.load(Relaxed)
    }

    /// The store dies, and its successor knows what is on disk.
    fn restart(&mut self, rules: Rules) {
        self.office = Office::new(Arc::clone(&self.mailbox), rules, Arc::default(), self.now);
        self.office.ingress_up();
        self.office.edge_up();
    }
}

#[test]
fn of_mail_without_surb_ack_the_oldest_gives_way() {
    let mut bench = Bench::new(RULES);
    (0..3).for_each(|n| bench.deliver(n));
    for n in 3..3 + QUOTA + 50 {
        bench.deliver_ackless(n);
        bench.finish_all_jobs();
    }
    let latest = |end: u64| end - QUOTA..end;
    let end = 3 + QUOTA + 50;
    assert_eq!(bench.stored(), (0..3).chain(latest(end)).collect::<Vec<_>>());
    assert_eq!((bench.displaced(), bench.refused()), (50, vec![]));
    // The next process knows which they are.
    bench.restart(RULES);
    bench.deliver_ackless(end);
    bench.finish_all_jobs();
    assert_eq!(bench.stored(), (0..3).chain(latest(end + 1)).collect::<Vec<_>>());
    // Other mail has all of the room that there is for it.
    (end + 1..end + 998).for_each(|n| bench.deliver(n));
    bench.finish_all_jobs();
    assert!(bench.refused().is_empty());
    bench.deliver(5_000);
    assert_eq!(bench.refused(), [5_000], "1,000 messages are a full inbox");
    bench.deliver_ackless(5_001);
    bench.finish_all_jobs();
    assert_eq!((bench.stored().len() as u64, bench.displaced()), (1_000 + QUOTA, 2));
}

#[test]
fn what_gives_way_before_it_is_written_is_refused() {
    let mut bench = Bench::new(Rules { inbox_messages: 2, ..RULES });
    // The first is on its way to disk when it gives way, the next two are not yet.
    (0..5).for_each(|n| bench.deliver_ackless(n));
    bench.finish_all_jobs();
    assert_eq!((bench.accepted(), bench.refused()), (vec![3, 4], vec![0, 1, 2]));
    assert_eq!((bench.stored(), bench.displaced()), (vec![3, 4], 3));
}

#[test]
fn what_has_given_way_is_pushed_no_more_and_counted_once() {
    let session_credit = Window { messages: 2, ..RULES.session_credit };
    let mut bench = Bench::new(Rules { inbox_messages: 6, session_credit, ..RULES });
    (0..6).for_each(|n| bench.deliver_ackless(n));
    bench.deliver(6);
    bench.finish_all_jobs();
    bench.attach(1);
    bench.finish_all_jobs();
    let pushed = bench.pushed(1);
    assert!(!pushed.is_empty() && pushed.len() < 3, "{pushed:?}");
    // Both what was pushed and what was not.
    (7..11).for_each(|n| bench.deliver_ackless(n));
    bench.finish_all_jobs();
    assert_eq!(bench.stored(), [4, 5, 6, 7, 8, 9, 10]);
    for _ in 0..10 {
        bench.confirm_all(1);
        bench.finish_all_jobs();
    }
    assert_eq!(bench.pushed(1), pushed.into_iter().chain(4..11).collect::<Vec<_>>());
    assert!(bench.stored().is_empty());
    let inbox = bench.office.inboxes.get(&CLIENT).unwrap();
    assert!([inbox.stored, inbox.spilling, inbox.live].iter().all(Pile::is_empty), "{inbox:?}");
}

#[test]
fn a_store_three_quarters_full_keeps_none_of_it() {
    let mut bench = Bench::new(Rules { newcomer_share: 64, inbox_messages: 64_000, ..RULES });
    (0..10).for_each(|n| bench.deliver_ackless(n));
    bench.finish_all_jobs();
    // What is left of the quota is 5, and then nothing.
    bench.office.filling = Filling { alive: 745 << 20, capacity: 1_000 << 20 };
    bench.deliver_ackless(10);
    assert_eq!((bench.displaced(), bench.refused()), (6, vec![]));
    bench.finish_all_jobs();
    bench.office.filling = Filling { alive: 750 << 20, capacity: 1_000 << 20 };
    bench.deliver_ackless(11);
    assert_eq!((bench.displaced(), bench.refused()), (6, vec![11]));
    assert_eq!(bench.stored(), [6, 7, 8, 9, 10]);
}

#[test]
fn a_large_message_without_surb_ack_breaks_a_rule() {
    let mut bench = Bench::new(RULES);
    let mut deliver = |len| {
        bench.office.ingress_delivers(DeliveryId(len as u64), CLIENT, (vec![0; len].into(), Ack::NotOwed), bench.now)
    };
    assert!(deliver(ACKLESS_LEN).is_ok());
    assert!(matches!(deliver(ACKLESS_LEN + 1), Err(Fault::IngressViolation(_))));
}
