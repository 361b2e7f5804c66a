//! Mail without a SURB-ack: a quota for each inbox, in which the oldest gives way.

use super::{super::load::Pile, *};

const QUOTA: u64 = 256;

impl Bench {
    fn displaced(&self) -> u64 {
        self.core.counters.ackless_displaced.load(Relaxed)
    }

    /// The store dies, and its successor knows what is on disk.
    fn restart(&mut self, config: StoreConfig) {
        self.core = Core::new(Arc::clone(&self.mailbox), config, Arc::default(), self.now);
        self.core.ingress_up();
        self.core.edge_up();
    }
}

#[test]
fn of_mail_without_surb_ack_the_oldest_gives_way() {
    let mut bench = Bench::new(CONFIG);
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
    bench.restart(CONFIG);
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
    let mut bench = Bench::new(StoreConfig { inbox_messages: 2, ..CONFIG });
    // The first is on its way to disk when it gives way, the next two are not yet.
    (0..5).for_each(|n| bench.deliver_ackless(n));
    bench.finish_all_jobs();
    assert_eq!((bench.accepted(), bench.refused()), (vec![3, 4], vec![0, 1, 2]));
    assert_eq!((bench.stored(), bench.displaced()), (vec![3, 4], 3));
}

#[test]
fn what_has_given_way_is_pushed_no_more_and_counted_once() {
    let session_credit = Window { messages: 2, ..CONFIG.session_credit };
    let mut bench = Bench::new(StoreConfig { inbox_messages: 6, session_credit, ..CONFIG });
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
    let inbox = bench.core.inboxes.get(&CLIENT).unwrap();
    assert!(
        [inbox.stored(), inbox.pending().spilling(), inbox.pending().live()].into_iter().all(Pile::is_empty),
        "{inbox:?}"
    );
}

#[test]
fn a_store_three_quarters_full_keeps_none_of_it() {
    let mut bench = Bench::new(StoreConfig { newcomer_share: 64, inbox_messages: 64_000, ..CONFIG });
    (0..10).for_each(|n| bench.deliver_ackless(n));
    bench.finish_all_jobs();
    // What is left of the quota is 5, and then nothing.
    bench.core.health.set_filling(Filling { alive: 745 << 20, capacity: 1_000 << 20 });
    bench.deliver_ackless(10);
    assert_eq!((bench.displaced(), bench.refused()), (6, vec![]));
    bench.finish_all_jobs();
    bench.core.health.set_filling(Filling { alive: 750 << 20, capacity: 1_000 << 20 });
    bench.deliver_ackless(11);
    assert_eq!((bench.displaced(), bench.refused()), (6, vec![11]));
    assert_eq!(bench.core.counters.refused_inbox_share.load(Relaxed), 1);
    assert_eq!(bench.stored(), [6, 7, 8, 9, 10]);
}

#[test]
fn a_large_message_without_surb_ack_breaks_a_rule() {
    let mut bench = Bench::new(CONFIG);
    let mut deliver =
        |len| bench.core.deliver(DeliveryId(len as u64), CLIENT, (vec![0; len].into(), Ack::NotOwed), bench.now);
    assert!(deliver(ACKLESS_LEN).is_ok());
    assert!(matches!(deliver(ACKLESS_LEN + 1), Err(Fault::IngressViolation(_))));
}

#[test]
fn what_came_with_a_surb_ack_never_gives_way() {
    let mut bench = Bench::new(StoreConfig { inbox_messages: 2, ..CONFIG });
    // While one with a SURB-ack is being written there is nothing else on disk.
    bench.deliver(0);
    (1..4).for_each(|n| bench.deliver_ackless(n));
    bench.finish_all_jobs();
    assert_eq!((bench.accepted(), bench.refused()), (vec![0, 2, 3], vec![1]));
    assert_eq!(bench.stored(), [0, 2, 3]);
}

/// Of the ones on disk the oldest is no message, and two sessions find it before it is set aside.
#[test]
fn mail_being_set_aside_does_not_give_way_and_is_counted_once() {
    let mut bench = Bench::new(StoreConfig { inbox_messages: 3, ..CONFIG });
    (0..3).for_each(|n| bench.deliver_ackless(n));
    bench.finish_all_jobs();
    bench.mailbox.spoil(CLIENT, Sequence(0));
    for session in [1, 2] {
        bench.log_in(session);
        let ledger = bench.jobs.pop_back_if(|job| matches!(job, Job::CommitLedger(_))).unwrap();
        bench.finish(ledger);
        let read = bench.jobs.pop_back_if(|job| matches!(job, Job::Peek { .. })).unwrap();
        bench.finish(read);
        assert_eq!(bench.pushed(session), [1, 2]);
        assert!(matches!(bench.jobs.front(), Some(Job::CommitMail(_))), "it is being set aside");
        bench.ask(EdgeToStore { session: SessionId(session), request: SessionRequest::CloseSession });
    }
    assert_eq!(bench.core.inboxes.get(&CLIENT).unwrap().stored().ackless, 2);
    bench.deliver_ackless(3);
    assert_eq!(bench.displaced(), 0);
    bench.deliver_ackless(4);
    assert_eq!(bench.displaced(), 1);
    bench.finish_all_jobs();
    assert_eq!(bench.stored(), [2, 3, 4]);
    assert_eq!(bench.core.counters.set_aside.load(Relaxed), 1);
}

/// The link to `client-edge` has no room, so what was read waits.
#[test]
fn what_gives_way_after_it_was_read_is_not_pushed() {
    let mut bench = Bench::new(StoreConfig { inbox_messages: 2, ..CONFIG });
    (0..2).for_each(|n| bench.deliver_ackless(n));
    bench.deliver(2);
    bench.finish_all_jobs();
    bench.log_in(1);
    bench.finish_job();
    let Some(Job::Peek { session_ref, client, range, limit }) = bench.jobs.pop_front() else {
        panic!("nothing is read")
    };
    let page = bench.mailbox.peek(&client, range, limit);
    bench.core.report(Done::Read(session_ref, page), bench.now);
    let message = (body(3).slice(..ACKLESS_LEN), Ack::NotOwed);
    bench.core.deliver(DeliveryId(3), CLIENT, message, bench.now).unwrap();
    bench.collect();
    bench.finish_all_jobs();
    assert_eq!((bench.pushed(1), bench.displaced()), (vec![1, 2, 3], 1));
    assert_eq!(bench.core.delivery.used()[1], 0);
}
