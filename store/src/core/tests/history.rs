//! Any order of events at all.

use super::{super::load::Pile, *};

/// What may happen around the core.
#[derive(Clone, Debug)]
enum Event {
    Deliver,
    /// What came without a SURB-ack.
    DeliverAckless,
    FinishJob,
    Pass(u16),
    LogIn,
    Close,
    Confirm(usize),
    AnswerProbe(bool),
    EdgeDies,
    Storage(Health),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        8 => Just(Event::Deliver),
        6 => Just(Event::DeliverAckless),
        8 => Just(Event::FinishJob),
        3 => (0u16..400).prop_map(Event::Pass),
        3 => Just(Event::LogIn),
        2 => Just(Event::Close),
        4 => (0usize..6).prop_map(Event::Confirm),
        2 => any::<bool>().prop_map(Event::AnswerProbe),
        1 => Just(Event::EdgeDies),
        1 => prop_oneof![Just(Health::Sound), Just(Health::Full), Just(Health::Broken)].prop_map(Event::Storage),
    ];
    proptest::collection::vec(event, 0..120)
}

proptest! {
    /// Whatever happens in whatever order, storage failing or not: each session is pushed the inbox in order, from the oldest message
    /// that no client has confirmed, without those that were refused or have given way. No accepted message is lost, except that of mail
    /// without a SURB-ack only the latest stays. No delivery is answered twice.
    #[test]
    fn nothing_accepted_is_lost_and_nothing_is_out_of_order(events in events(), inbox_messages in 4..40_u64) {
        let mut bench = Bench::new(StoreConfig { inbox_messages, ..CONFIG });
        let mut delivered = 0;
        let mut ackless = BTreeSet::new();
        let mut session = 0;
        // Next message that no client has confirmed; and what each session had seen confirmed when it began.
        let mut confirmed = 0;
        let mut seen: BTreeMap<u64, u64> = BTreeMap::new();
        let mut attached: Option<u64> = None;
        let mut confirmed_messages = BTreeSet::new();
        for event in events {
            match event {
                Event::Deliver => {
                    bench.deliver(delivered);
                    delivered += 1;
                }
                Event::DeliverAckless => {
                    bench.deliver_ackless(delivered);
                    ackless.insert(delivered);
                    delivered += 1;
                }
                Event::FinishJob => bench.finish_job(),
                Event::Pass(ms) => bench.pass(Duration::from_millis(ms.into())),
                Event::LogIn => {
                    session += 1;
                    bench.log_in(session);
                }
                Event::Close => {
                    if let Some(session) = attached {
                        bench.ask(EdgeToStore { session: SessionId(session), request: SessionRequest::CloseSession });
                        attached = None;
                    }
                }
                Event::Confirm(nth) => {
                    if let Some(session) = attached
                        && let Some((up_to, n)) = bench.pushes(session).get(nth).copied()
                    {
                        bench.ask(EdgeToStore { session: SessionId(session), request: SessionRequest::ConfirmReceipt { up_to } });
                        confirmed = confirmed.max(n + 1);
                        confirmed_messages.extend(bench.pushed(session).into_iter().filter(|pushed| *pushed <= n));
                    }
                }
                Event::AnswerProbe(alive) => {
                    if let Some(session) = attached {
                        bench.ask(EdgeToStore { session: SessionId(session), request: SessionRequest::AnswerProbe { alive } });
                    }
                }
                Event::Storage(health) => bench.mailbox.set(health),
                Event::EdgeDies => {
                    bench.core.edge_down();
                    bench.collect();
                    bench.core.edge_up();
                    attached = None;
                    // Sessions of the new edge get numbers that the test has not used, to tell them apart.
                }
            }
            for message in &bench.to_edge {
                match message {
                    StoreToEdge { session, answer: SessionAnswer::AttachSession { .. } } => {
                        seen.entry(session.0).or_insert_with(|| {
                            attached = Some(session.0);
                            confirmed
                        });
                    }
                    StoreToEdge { session, answer: SessionAnswer::EndSession { .. } } if attached == Some(session.0) => attached = None,
                    _ => {}
                }
            }
            let refused = bench.refused();
            for (session, first) in &seen {
                let pushed = bench.pushed(*session);
                prop_assert!(pushed.is_sorted_by(|a, b| a < b), "session {}: {:?}", session, pushed);
                if let Some(last) = pushed.last() {
                    for n in (*first..*last).filter(|n| !refused.contains(n) && !ackless.contains(n)) {
                        prop_assert!(pushed.contains(&n), "session {} was not pushed {} in {:?}", session, n, pushed);
                    }
                    prop_assert!(pushed.iter().all(|n| n >= first));
                }
            }
            let accepted = bench.accepted();
            let stored = bench.stored();
            for n in accepted.iter().filter(|n| !confirmed_messages.contains(n) && !ackless.contains(n)) {
                prop_assert!(stored.contains(n), "{} was accepted, not received, and is not on disk", n);
            }
            let answered: BTreeSet<u64> = accepted.iter().chain(&refused).copied().collect();
            prop_assert_eq!(answered.len(), accepted.len() + refused.len());
        }
        // Let everything settle: all mail is answered, and a client that comes now gets all that was not refused.
        bench.mailbox.set(Health::Sound);
        if let Some(session) = attached {
            bench.ask(EdgeToStore { session: SessionId(session), request: SessionRequest::CloseSession });
        }
        for _ in 0..3 {
            bench.pass(Duration::from_secs(2));
            bench.finish_all_jobs();
        }
        bench.core.edge_down();
        bench.collect();
        bench.core.edge_up();
        bench.finish_all_jobs();
        let (accepted, refused) = (bench.accepted(), bench.refused());
        prop_assert_eq!((accepted.len() + refused.len()) as u64, delivered);
        let is_kept = |n: &u64| accepted.contains(n) && !confirmed_messages.contains(n);
        // Of what came without a SURB-ack some has given way.
        let stored = bench.stored();
        let expected: Vec<u64> =
            (confirmed..delivered).filter(|n| is_kept(n) && (!ackless.contains(n) || stored.contains(n))).collect();
        prop_assert!(stored.iter().filter(|n| ackless.contains(n)).count() as u64 <= inbox_messages);
        prop_assert_eq!(&stored, &expected);
        bench.to_edge.clear();
        bench.attach(9_999);
        prop_assert_eq!(bench.pushed(9_999), expected);
        bench.confirm_all(9_999);
        bench.finish_all_jobs();
        prop_assert!(bench.stored().is_empty());
        let summary = bench.mailbox.summary_of(&CLIENT).unwrap();
        prop_assert_eq!((summary.messages, summary.bytes, summary.ackless), (0, 0, 0));
        let inbox = bench.core.inboxes.get(&CLIENT).unwrap();
        prop_assert!([inbox.stored(), inbox.pending().spilling(), inbox.pending().live()].into_iter().all(Pile::is_empty));
    }
}
