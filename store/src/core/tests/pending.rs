//! When a message is accepted, refused, pushed and removed.

use super::*;

#[test]
fn offline_mail_is_accepted_when_it_is_committed_and_not_before() {
    let mut bench = Bench::new(CONFIG);
    bench.deliver(7);
    assert!(bench.accepted().is_empty());
    assert_eq!(bench.jobs.len(), 1);
    bench.finish_job();
    assert_eq!(bench.accepted(), [7]);
    assert_eq!(bench.stored(), [7]);
}

#[test]
fn a_record_that_is_no_message_is_set_aside_the_rest_pushed() {
    let mut bench = Bench::new(CONFIG);
    for n in 0..8 {
        bench.deliver(n);
    }
    bench.finish_all_jobs();
    for n in [0, 4, 5, 6] {
        bench.mailbox.spoil(CLIENT, Sequence(n));
    }
    bench.attach(1);
    bench.finish_all_jobs();
    assert_eq!(bench.pushed(1), [1, 2, 3, 7]);
    assert_eq!(bench.stored(), [1, 2, 3, 7]);
    assert_eq!(bench.core.counters.set_aside.load(Relaxed), 4);
    // What comes later is not held up, and a receipt leaves nothing behind.
    bench.deliver(8);
    bench.confirm_all(1);
    bench.finish_all_jobs();
    assert_eq!(bench.pushed(1), [1, 2, 3, 7, 8]);
    assert!(bench.stored().is_empty());
    let summary = bench.mailbox.summary_of(&CLIENT).unwrap();
    assert_eq!((summary.messages, summary.bytes), (0, 0));
}

#[test]
fn a_record_two_sessions_find_is_set_aside_once() {
    let mut bench = Bench::new(CONFIG);
    for n in 0..2 {
        bench.deliver(n);
    }
    bench.finish_all_jobs();
    bench.mailbox.spoil(CLIENT, Sequence(0));
    bench.log_in(1);
    bench.finish_job();
    bench.finish_job();
    assert!(matches!(bench.jobs.front(), Some(Job::CommitMail(_))), "{:?}", bench.jobs);
    bench.mailbox.set(Health::Broken);
    bench.finish_job();
    bench.ask(EdgeToStore { session: SessionId(1), request: SessionRequest::CloseSession });
    bench.mailbox.set(Health::Sound);
    bench.pass(Duration::from_secs(2));
    bench.finish_all_jobs();
    bench.attach(2);
    bench.finish_all_jobs();
    assert_eq!(bench.pushed(2), [1]);
    assert_eq!(bench.stored(), [1]);
    assert_eq!(bench.mailbox.summary_of(&CLIENT).unwrap().messages, 1);
    assert_eq!(bench.core.counters.set_aside.load(Relaxed), 1);
}

#[test]
fn what_comes_during_a_commit_goes_into_the_next_one() {
    let mut bench = Bench::new(CONFIG);
    for n in 0..5 {
        bench.deliver(n);
    }
    assert_eq!(bench.jobs.len(), 1);
    bench.finish_job();
    assert_eq!(bench.accepted(), [0]);
    assert_eq!(bench.jobs.len(), 1);
    bench.finish_job();
    assert_eq!(bench.accepted(), [0, 1, 2, 3, 4]);
    assert!(bench.jobs.is_empty());
}

#[test]
fn live_mail_is_accepted_on_receipt_and_never_touches_the_disk() {
    let mut bench = Bench::new(CONFIG);
    bench.attach(1);
    bench.deliver(7);
    assert_eq!(bench.pushed(1), [7]);
    assert!(bench.accepted().is_empty());
    bench.confirm_all(1);
    assert_eq!(bench.accepted(), [7]);
    bench.pass(SPILL * 2);
    assert!(bench.jobs.is_empty());
    assert!(bench.stored().is_empty());
}

#[test]
fn unproved_live_mail_is_written_in_time_and_removed_on_receipt() {
    let mut bench = Bench::new(CONFIG);
    bench.attach(1);
    bench.deliver(7);
    bench.pass(SPILL - Duration::from_millis(1));
    assert!(bench.jobs.is_empty());
    bench.pass(Duration::from_millis(1));
    bench.finish_job();
    assert_eq!((bench.accepted(), bench.stored()), (vec![7], vec![7]));
    bench.confirm_all(1);
    bench.finish_all_jobs();
    assert!(bench.stored().is_empty());
    assert_eq!(bench.accepted(), [7], "accepted once");
}

#[test]
fn a_receipt_while_spilling_accepts_and_then_removes() {
    let mut bench = Bench::new(CONFIG);
    bench.attach(1);
    bench.deliver(7);
    bench.pass(SPILL);
    assert_eq!(bench.jobs.len(), 1, "the commit is under way");
    bench.confirm_all(1);
    assert_eq!(bench.accepted(), [7]);
    bench.finish_job();
    assert_eq!(bench.stored(), [7]);
    bench.finish_all_jobs();
    assert!(bench.stored().is_empty());
    assert_eq!(bench.accepted(), [7]);
}

#[test]
fn stored_mail_precedes_live_mail_without_a_gap() {
    let mut bench = Bench::new(CONFIG);
    for n in 0..10 {
        bench.deliver(n);
    }
    bench.finish_all_jobs();
    bench.log_in(1);
    bench.finish_job();
    for n in 10..20 {
        bench.deliver(n);
        bench.finish_job();
    }
    bench.finish_all_jobs();
    assert_eq!(bench.pushed(1), (0..20).collect::<Vec<_>>());
}

#[test]
fn every_session_begins_at_the_oldest_unproved_message() {
    let mut bench = Bench::new(CONFIG);
    bench.attach(1);
    for n in 0..6 {
        bench.deliver(n);
    }
    let third = bench.pushes(1)[2].0;
    bench.ask(EdgeToStore { session: SessionId(1), request: SessionRequest::ConfirmReceipt { up_to: third } });
    bench.ask(EdgeToStore { session: SessionId(1), request: SessionRequest::CloseSession });
    bench.attach(2);
    assert_eq!(bench.pushed(2), [3, 4, 5]);
}

#[test]
fn a_message_without_a_client_is_refused() {
    let mut bench = Bench::new(CONFIG);
    bench.deliver_to(ClientAddress([2; 32]), 7, body(7));
    let refused = StoreToIngress::RefuseDelivery { delivery: DeliveryId(7), reason: DeliveryRefusal::UnknownClient };
    assert_eq!(bench.to_ingress, [refused]);
}

#[test]
fn a_message_that_would_crash_a_client_of_2021_is_refused() {
    let mut bench = Bench::new(CONFIG);
    for (n, len) in [0, 20, 22, 31].into_iter().enumerate() {
        bench.deliver_to(CLIENT, n as u64, vec![0; len].into());
        let delivery = DeliveryId(n as u64);
        let refused = StoreToIngress::RefuseDelivery { delivery, reason: DeliveryRefusal::UnfitForClient };
        assert_eq!(bench.to_ingress.last(), Some(&refused), "{len}");
    }
    bench.deliver_to(CLIENT, 10, vec![0; 21].into());
    bench.deliver_to(CLIENT, 11, vec![0; 32].into());
    bench.finish_all_jobs();
    assert_eq!(bench.accepted(), [10, 11]);
}

#[test]
fn a_full_inbox_refuses_until_mail_is_fetched() {
    let mut bench = Bench::new(StoreConfig { inbox_messages: 2, ..CONFIG });
    for n in 0..3 {
        bench.deliver(n);
    }
    let refused = StoreToIngress::RefuseDelivery { delivery: DeliveryId(2), reason: DeliveryRefusal::InboxFull };
    assert_eq!(bench.to_ingress, [refused]);
    bench.finish_all_jobs();
    bench.attach(1);
    bench.confirm_all(1);
    bench.finish_all_jobs();
    bench.deliver(3);
    assert_eq!(bench.pushed(1), [0, 1, 3]);
    let mut bench = Bench::new(StoreConfig { inbox_bytes: 100, ..CONFIG });
    for n in 0..3 {
        bench.deliver(n);
    }
    bench.finish_all_jobs();
    assert_eq!(bench.accepted(), [0, 1]);
}

#[test]
fn a_slow_client_gets_its_credit_and_the_rest_goes_to_disk() {
    let mut bench = Bench::new(StoreConfig { inbox_messages: 5_000, inbox_bytes: 1 << 30, ..CONFIG });
    bench.attach(1);
    let credit = u64::from(CONFIG.session_credit.messages);
    for n in 0..credit + 50 {
        bench.deliver(n);
    }
    assert_eq!(bench.pushed(1).len() as u64, credit);
    bench.finish_all_jobs();
    assert_eq!(bench.accepted().len() as u64, credit + 50, "what has no credit does not wait for a receipt");
    assert_eq!(bench.core.counters.client_buffers_full.load(Relaxed), 1);
    bench.confirm_all(1);
    bench.finish_all_jobs();
    bench.confirm_all(1);
    bench.finish_all_jobs();
    assert_eq!(bench.pushed(1), (0..credit + 50).collect::<Vec<_>>());
    assert_eq!(bench.core.counters.client_buffers_full.load(Relaxed), 1, "it keeps up again");
    assert!(bench.stored().is_empty());
}

#[test]
fn credit_in_bytes_is_kept_and_a_larger_message_goes_alone() {
    // Each message has 40 bytes.
    for (bytes, at_once) in [(1, 1), (79, 1), (80, 2), (120, 3)] {
        let session_credit = Window { bytes, ..CONFIG.session_credit };
        let mut bench = Bench::new(StoreConfig { session_credit, ..CONFIG });
        bench.attach(1);
        for n in 0..7 {
            bench.deliver(n);
        }
        let mut due = at_once;
        while due < 7 + at_once {
            bench.finish_all_jobs();
            assert_eq!(bench.pushed(1), (0..due.min(7)).collect::<Vec<_>>(), "{bytes} bytes");
            assert_eq!(bench.core.delivery.used()[1], 0, "nothing is read ahead that has no credit");
            bench.confirm_all(1);
            let reads = bench.jobs.iter().any(|job| matches!(job, Job::Peek { .. }));
            assert_eq!(reads, due < 7, "what had no credit is read again");
            due += at_once;
        }
        bench.finish_all_jobs();
        assert_eq!(bench.accepted().len(), 7);
        assert!(bench.stored().is_empty());
    }
}

#[test]
fn a_receipt_counts_only_up_to_what_was_pushed_in_the_session() {
    let mut bench = Bench::new(CONFIG);
    bench.attach(1);
    let receipt = |up_to| EdgeToStore {
        session: SessionId(1),
        request: SessionRequest::ConfirmReceipt { up_to: Sequence(up_to) },
    };
    assert!(bench.core.handle_request(receipt(0), bench.now).is_err());
    bench.deliver(0);
    assert!(bench.core.handle_request(receipt(1), bench.now).is_err());
    assert!(bench.core.handle_request(receipt(0), bench.now).is_ok());
}

#[test]
fn more_deliveries_than_the_window_are_a_violation() {
    let mut bench = Bench::new(StoreConfig { inbox_messages: u64::MAX, inbox_bytes: u64::MAX, ..CONFIG });
    let now = bench.now;
    let mut deliver = |n| bench.core.deliver(DeliveryId(n), CLIENT, (body(n), Ack::Owed), now);
    for n in 0..u64::from(CONFIG.window.messages) {
        deliver(n).unwrap();
    }
    let one_more = deliver(u64::MAX);
    assert!(matches!(one_more, Err(Fault::IngressViolation(_))));

    for window in [Window { messages: 2, bytes: 1_000 }, Window { messages: 9, bytes: 80 }] {
        let mut bench = Bench::new(StoreConfig { window, ..CONFIG });
        bench.deliver(0);
        bench.deliver(1);
        let one_more = bench.core.deliver(DeliveryId(2), CLIENT, (body(2), Ack::Owed), bench.now);
        assert!(matches!(one_more, Err(Fault::IngressViolation(_))), "{window:?}");
    }
}

#[test]
fn nobody_is_answered_for_what_a_dead_ingress_delivered() {
    let mut bench = Bench::new(CONFIG);
    bench.deliver(0);
    bench.core.ingress_up();
    bench.finish_all_jobs();
    assert!(bench.to_ingress.is_empty());
    assert_eq!(bench.stored(), [0]);
}

/// The disk's view of the inbox is out of date until then: if it was read again, received mail would be pushed again.
#[test]
fn an_inbox_with_a_removal_under_way_is_not_forgotten() {
    for waits_for_another_commit in [true, false] {
        let mut bench = Bench::new(CONFIG);
        let others = [2, 3, 4].map(|n| ClientAddress([n; 32]));
        for client in others {
            let entry = LedgerEntry::Register { client, key: SessionKey::CtrHmac(key()), logins: LoginForm::Token };
            bench.mailbox.commit_ledger(&[entry]).unwrap();
        }
        bench.deliver(0);
        bench.finish_all_jobs();
        bench.attach(1);
        bench.finish_all_jobs();
        // While another commit is under way the removal waits, and with it nothing holds the inbox any more.
        if waits_for_another_commit {
            bench.deliver_to(others[0], 1, body(1));
        }
        bench.confirm_all(1);
        bench.ask(EdgeToStore { session: SessionId(1), request: SessionRequest::CloseSession });
        for (n, client) in (2..).zip(others) {
            bench.deliver_to(client, n, body(n));
        }
        bench.log_in(2);
        let ledger = bench.jobs.pop_back_if(|job| matches!(job, Job::CommitLedger(_))).unwrap();
        bench.finish(ledger);
        assert_eq!(bench.core.inboxes.get(&CLIENT).unwrap().load().messages, 0, "{waits_for_another_commit}");
        bench.finish_all_jobs();
        assert_eq!(bench.pushed(2), Vec::<u64>::new(), "{waits_for_another_commit}");
    }
}

#[test]
fn inboxes_nobody_uses_are_forgotten_and_attached_ones_are_not() {
    let mut bench = Bench::new(CONFIG);
    bench.attach(1);
    let others = || (2..30).map(|n| ClientAddress([n; 32]));
    for (n, client) in (0..).zip(others()) {
        let entry = LedgerEntry::Register { client, key: SessionKey::CtrHmac(key()), logins: LoginForm::Token };
        bench.mailbox.commit_ledger(&[entry]).unwrap();
        bench.deliver_to(client, n, body(n));
        bench.finish_all_jobs();
    }
    let known = others().filter(|client| bench.core.inboxes.get(client).is_some()).count();
    assert!(known < 4, "{known} are known");
    bench.deliver(99);
    assert_eq!(bench.pushed(1), [99]);
}

#[test]
fn a_full_inbox_takes_no_live_mail_either() {
    // Each message has 40 bytes.
    for (inbox_messages, inbox_bytes) in [(2, 1 << 20), (9, 80), (9, 100), (9, 119)] {
        let mut bench = Bench::new(StoreConfig { inbox_messages, inbox_bytes, ..CONFIG });
        bench.attach(1);
        (0..3).for_each(|n| bench.deliver(n));
        assert_eq!((bench.pushed(1), bench.refused()), (vec![0, 1], vec![2]), "{inbox_messages}, {inbox_bytes}");
        bench.confirm_all(1);
        bench.deliver(3);
        assert_eq!(bench.pushed(1), [0, 1, 3]);
    }
}

#[test]
fn a_receipt_for_refused_mail_takes_no_stored_mail_away() {
    let mut bench = Bench::new(CONFIG);
    bench.attach(1);
    bench.deliver(0);
    bench.mailbox.set(Health::Full);
    // A commit fails, so the core knows; then what was pushed live cannot be written.
    bench.deliver_to(ClientAddress([2; 32]), 9, body(9));
    bench.core.check_storage(bench.now);
    bench.pass(SPILL);
    assert!(bench.refused().contains(&0));
    bench.mailbox.set(Health::Sound);
    bench.pass(Duration::from_secs(5));
    bench.finish_all_jobs();
    bench.deliver(1);
    bench.pass(SPILL);
    bench.finish_all_jobs();
    let (first, _) = bench.pushes(1)[0];
    bench.ask(EdgeToStore { session: SessionId(1), request: SessionRequest::ConfirmReceipt { up_to: first } });
    assert_eq!(bench.core.inboxes.get(&CLIENT).unwrap().stored().with_ack.messages, 1);
    bench.ask(EdgeToStore { session: SessionId(1), request: SessionRequest::CloseSession });
    bench.attach(2);
    bench.finish_all_jobs();
    assert_eq!(bench.pushed(2), [1]);
}

#[test]
fn what_was_received_is_not_pushed_again_before_it_is_removed() {
    let mut bench = Bench::new(CONFIG);
    (0..2).for_each(|n| bench.deliver(n));
    bench.finish_all_jobs();
    bench.attach(1);
    bench.finish_all_jobs();
    let (first, _) = bench.pushes(1)[0];
    bench.ask(EdgeToStore { session: SessionId(1), request: SessionRequest::ConfirmReceipt { up_to: first } });
    bench.ask(EdgeToStore { session: SessionId(1), request: SessionRequest::CloseSession });
    let removal = bench.jobs.pop_front().unwrap();
    assert!(matches!(removal, Job::CommitMail(_)));
    bench.attach(2);
    assert_eq!(bench.pushed(2), [1]);
    bench.finish(removal);
}

/// Otherwise its sender would wait for its acceptance until somebody has read.
#[test]
fn what_cannot_be_pushed_at_once_is_written_at_once() {
    let is_written = |bench: &mut Bench, n: u64| {
        bench.jobs.clear();
        bench.core.commits.lose_commit();
        bench.deliver(n);
        let Some(Job::CommitMail(batch)) = bench.jobs.iter().find(|job| matches!(job, Job::CommitMail(_))) else {
            return false;
        };
        batch.puts().any(|(client, _)| client == CLIENT)
    };
    // Stored mail is being read.
    let mut bench = Bench::new(CONFIG);
    bench.deliver(0);
    bench.finish_all_jobs();
    bench.log_in(1);
    bench.finish_job();
    assert!(is_written(&mut bench, 1));
    // Stored mail was read, and the link has no room for it.
    let mut bench = Bench::new(CONFIG);
    bench.deliver(0);
    bench.finish_all_jobs();
    bench.log_in(1);
    bench.finish_job();
    let Some(Job::Peek { session_ref, client, range, limit }) = bench.jobs.pop_front() else {
        panic!("nothing is read")
    };
    let page = bench.mailbox.peek(&client, range, limit);
    bench.core.report(Done::Read(session_ref, page), bench.now);
    assert!(is_written(&mut bench, 1));
    // A larger message waits for credit, and a small one would have some. Each has 40 bytes, and an ack has 21.
    let session_credit = Window { bytes: 110, ..CONFIG.session_credit };
    let mut bench = Bench::new(StoreConfig { session_credit, ..CONFIG });
    bench.attach(1);
    (0..3).for_each(|n| bench.deliver(n));
    assert_eq!(bench.pushed(1), [0, 1]);
    bench.deliver_to(CLIENT, 3, vec![0; 21].into());
    assert_eq!(
        bench.core.inboxes.get(&CLIENT).unwrap().pending().live().with_ack.messages,
        0,
        "the small one is not live"
    );
    // There is no memory for what is pushed.
    let pushed_bytes = 4 * session_ipc::message_cost(40);
    let mut bench = Bench::new(StoreConfig { pushed_bytes, ..CONFIG });
    bench.attach(1);
    (0..5).for_each(|n| bench.deliver(n));
    let inbox = bench.core.inboxes.get(&CLIENT).unwrap();
    assert_eq!(
        (bench.pushed(1).len(), inbox.pending().live().with_ack.messages),
        (3, 0),
        "what waits is written when more comes"
    );
}
