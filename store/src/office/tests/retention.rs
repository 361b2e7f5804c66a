//! What is kept for too long.

use super::*;

#[test]
fn messages_that_are_too_old_go_and_the_others_stay() {
    let mut bench = Bench::new(RULES);
    for n in 0..5 {
        bench.deliver(n);
    }
    bench.finish_all_jobs();
    bench.live_on(20);
    for n in 5..8 {
        bench.deliver(n);
    }
    bench.finish_all_jobs();
    assert_eq!(bench.stored().len(), 8);
    bench.live_on(11);
    assert_eq!(bench.stored(), [5, 6, 7]);
    assert_eq!(bench.office.counters.messages_expired.load(Relaxed), 5);
    let summary = bench.mailbox.summary_of(&CLIENT).unwrap();
    assert_eq!((summary.next, summary.messages, summary.bytes), (8, 3, 120));
    bench.attach(1);
    bench.finish_all_jobs();
    assert_eq!(bench.pushed(1), [5, 6, 7]);
}

#[test]
fn while_the_clock_is_in_doubt_nothing_is_removed_for_its_age() {
    let mut bench = Bench::new(RULES);
    for n in 0..3 {
        bench.deliver(n);
    }
    bench.finish_all_jobs();
    bench.mailbox.is_in_doubt.store(true, Relaxed);
    bench.live_on(500);
    assert_eq!(bench.stored(), [0, 1, 2]);
    assert!(bench.mailbox.key_of(&CLIENT).unwrap().is_some());
    bench.mailbox.is_in_doubt.store(false, Relaxed);
    bench.live_on(1);
    assert!(bench.stored().is_empty());
    assert_eq!(bench.mailbox.key_of(&CLIENT).unwrap(), None);
}

#[test]
fn what_is_removed_for_its_age_is_counted_when_that_is_committed_and_once() {
    let mut bench = Bench::new(RULES);
    let expired = |bench: &Bench| {
        let StoreCounters { messages_expired, clients_expired, .. } = bench.office.counters.as_ref();
        (messages_expired.load(Relaxed), clients_expired.load(Relaxed))
    };
    for n in 0..3 {
        bench.deliver(n);
    }
    bench.finish_all_jobs();
    let sweep_until = |bench: &mut Bench, is_it: fn(&Job) -> bool| {
        while !bench.jobs.front().is_some_and(is_it) {
            bench.finish_job();
            bench.pass(Duration::from_millis(10));
        }
    };
    bench.mailbox.clock.fetch_add(DAY.as_secs() * 31, Relaxed);
    bench.pass(DAY * 31);
    sweep_until(&mut bench, |job| matches!(job, Job::CommitMail(_)));
    assert_eq!(expired(&bench), (0, 0));
    bench.mailbox.set(Health::Broken);
    bench.finish_job();
    assert_eq!(expired(&bench), (0, 0), "what failed was counted");
    bench.mailbox.set(Health::Sound);
    bench.pass(Duration::from_secs(1));
    sweep_until(&mut bench, |job| matches!(job, Job::CommitMail(_)));
    bench.finish_job();
    assert_eq!(expired(&bench), (3, 0));

    bench.mailbox.clock.fetch_add(DAY.as_secs() * 180, Relaxed);
    bench.pass(DAY * 180);
    sweep_until(&mut bench, |job| matches!(job, Job::CommitLedger(_)));
    bench.finish_job();
    sweep_until(&mut bench, |job| matches!(job, Job::CommitMail(_)));
    assert_eq!(expired(&bench), (3, 0));
    bench.finish_all_jobs();
    assert_eq!(expired(&bench), (3, 1));
}

#[test]
fn mail_on_its_way_to_an_attached_client_is_left_alone_and_a_failed_removal_is_made_up_for() {
    let mut bench = Bench::new(RULES);
    for n in 0..3 {
        bench.deliver(n);
    }
    bench.finish_all_jobs();
    bench.attach(1);
    bench.live_on(31);
    assert_eq!(bench.stored().len(), 3);
    bench.confirm_all(1);
    bench.finish_all_jobs();
    assert!(bench.stored().is_empty());
    for n in 3..6 {
        bench.deliver(n);
        bench.pass(SPILL);
    }
    bench.finish_all_jobs();
    bench.ask(EdgeToStore::CloseSession { session: SessionId(1) });
    bench.finish_all_jobs();
    assert_eq!(bench.stored().len(), 3);
    // The removal fails at first, and whoever comes meanwhile sees nothing of what is to go.
    bench.mailbox.clock.fetch_add(DAY.as_secs() * 31, Relaxed);
    bench.pass(DAY * 31);
    while !matches!(bench.jobs.front(), Some(Job::CommitMail(_))) {
        bench.finish_job();
        bench.pass(Duration::from_millis(10));
    }
    bench.mailbox.set(Health::Broken);
    bench.finish_job();
    bench.mailbox.set(Health::Sound);
    for _ in 0..3 {
        bench.pass(Duration::from_secs(1));
        bench.finish_all_jobs();
    }
    bench.deliver(6);
    bench.attach(2);
    bench.finish_all_jobs();
    assert_eq!(bench.pushed(2), [6]);
    bench.confirm_all(2);
    bench.finish_all_jobs();
    assert!(bench.stored().is_empty());
    assert_eq!(bench.mailbox.summary_of(&CLIENT).unwrap().messages, 0);
}

#[test]
fn a_client_that_is_not_seen_for_long_is_forgotten_and_one_that_is_attached_is_being_seen() {
    let mut bench = Bench::new(Rules { message_age: DAY * 1_000, ..RULES });
    let (away, imported) = (ClientAddress([2; 32]), ClientAddress([3; 32]));
    for client in [away, imported] {
        let entry = LedgerEntry::Register { client, key: SessionKey::CtrHmac(key()), logins: LoginForm::Token };
        bench.mailbox.commit_ledger(&[entry]).unwrap();
        bench.deliver_to(client, 1, body(1));
    }
    bench.mailbox.forget_when_seen(&imported);
    bench.attach(1);
    bench.live_on(90);
    bench.live_on(90);
    assert_eq!(bench.mailbox.key_of(&away).unwrap(), None);
    assert!(bench.mailbox.stored(&away).is_empty());
    assert_eq!(bench.office.counters.clients_expired.load(Relaxed), 1);
    bench.deliver_to(away, 2, body(2));
    assert_eq!(bench.refused(), [2]);
    // One whose entry is of before there were such times counts as seen when that was noticed.
    assert!(bench.mailbox.key_of(&imported).unwrap().is_some());
    bench.ask(EdgeToStore::CloseSession { session: SessionId(1) });
    bench.live_on(91);
    assert_eq!(bench.mailbox.key_of(&imported).unwrap(), None);
    // Whoever was attached all the time was last seen when it left.
    bench.live_on(80);
    assert!(bench.mailbox.key_of(&CLIENT).unwrap().is_some());
    bench.live_on(10);
    assert_eq!(bench.mailbox.key_of(&CLIENT).unwrap(), None);
    bench.log_in(7);
    bench.finish_all_jobs();
    assert!(matches!(bench.to_edge.last(), Some(StoreToEdge::RefuseAuthentication { .. })), "{:?}", bench.to_edge);
}
