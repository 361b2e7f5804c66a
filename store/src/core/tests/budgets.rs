//! The memory of all sessions together.

use super::*;

/// Of each message of [`body`].
const COST: u64 = session_ipc::message_cost(40);

const SECOND: Duration = Duration::from_secs(1);

fn client(n: u8) -> ClientAddress {
    ClientAddress([n; 32])
}

/// A message of 16 KiB.
fn large(n: u64) -> Bytes {
    [&n.to_be_bytes()[..], &[0; 16_376]].concat().into()
}

impl Bench {
    /// Registers a client and attaches it in the session of the same number.
    fn attach_client(&mut self, n: u8) {
        let entry =
            LedgerEntry::Register { client: client(n), key: SessionKey::CtrHmac(key()), logins: LoginForm::Token };
        self.mailbox.commit_ledger(&[entry]).unwrap();
        let token = AuthenticationToken::create(&key(), client(n), self.fresh_nonce());
        let proof = LoginProof::CtrHmac(token);
        self.ask(EdgeToStore { session: SessionId(n.into()), request: SessionRequest::AuthenticateClient { proof } });
        let ledger = self.jobs.pop_back_if(|job| matches!(job, Job::CommitLedger(_))).unwrap();
        self.finish(ledger);
    }

    fn deliver_to_client(&mut self, n: u8, message: u64) {
        self.deliver_to(client(n), message, body(message));
    }

    fn reads(&self) -> usize {
        self.jobs.iter().filter(|job| matches!(job, Job::Peek { .. })).count()
    }

    fn is_ended_for_memory(&self, session: u64) -> bool {
        let ended = StoreToEdge {
            session: SessionId(session),
            answer: SessionAnswer::EndSession { reason: EndReason::MemoryNeeded },
        };
        self.to_edge.contains(&ended)
    }

    fn close_session(&mut self, session: u64) {
        self.ask(EdgeToStore { session: SessionId(session), request: SessionRequest::CloseSession });
    }
}

#[test]
fn credit_doubles_with_receipts_and_nothing_is_read_without() {
    let mut bench = Bench::new(StoreConfig { inbox_bytes: 1 << 30, ..CONFIG });
    bench.attach(1);
    for n in 0..20 {
        bench.deliver_to(CLIENT, n, large(n));
    }
    for (pushed, receipts) in [(4, 0), (12, 1), (22, 2)] {
        bench.finish_all_jobs();
        assert_eq!(bench.pushed(1), (0..pushed).collect::<Vec<_>>(), "after {receipts} receipts");
        assert_eq!(bench.core.delivery.used()[1], 0, "after {receipts} receipts");
        if receipts < 2 {
            bench.deliver_to(CLIENT, 20 + receipts, large(20 + receipts));
            assert_eq!(bench.reads(), 0, "a paused session reads nothing");
        }
        bench.confirm_all(1);
    }
}

#[test]
fn memory_to_read_into_is_shared_in_turn() {
    // For one page, and not for two.
    let mut bench = Bench::new(StoreConfig { read_ahead_bytes: 100 * 1024, ..CONFIG });
    for n in 2..6 {
        bench.attach_client(n);
        bench.close_session(n.into());
        for message in 0..10 {
            bench.deliver_to_client(n, message);
        }
    }
    bench.finish_all_jobs();
    for n in 2..6 {
        bench.attach_client(n);
    }
    while let Some(job) = bench.jobs.pop_front() {
        assert!(bench.reads() + usize::from(matches!(job, Job::Peek { .. })) <= 1);
        assert!(bench.core.delivery.used()[1] <= 100 * 1024);
        bench.finish(job);
    }
    for n in 2..6 {
        assert_eq!(bench.pushed(n), (0..10).collect::<Vec<_>>(), "{n}");
    }
    assert_eq!(bench.core.delivery.used()[1], 0);
}

#[test]
fn memory_in_use_is_shown_while_it_is_in_use() {
    let shown = |bench: &mut Bench| {
        bench.pass(Duration::ZERO);
        let counters = &bench.core.counters;
        let shown = [&counters.pushed_memory, &counters.read_ahead_memory].map(|memory| memory.load(Relaxed));
        assert_eq!(shown, bench.core.delivery.used());
        shown.map(|bytes| bytes > 0)
    };
    let mut bench = Bench::new(CONFIG);
    bench.attach_client(2);
    bench.deliver_to_client(2, 0);
    assert_eq!(shown(&mut bench), [true, false]);
    bench.close_session(2);
    bench.finish_all_jobs();
    assert_eq!(shown(&mut bench), [false, false]);
    bench.attach_client(2);
    assert_eq!((bench.reads(), shown(&mut bench)), (1, [false, true]));
}

/// Three sessions, of which the first has taken its mail and proved nothing for long.
fn with_one_stalled() -> Bench {
    // Twelve messages for all sessions, and four more for sessions to which nothing is unproved.
    let mut bench = Bench::new(StoreConfig { pushed_bytes: 16 * COST, ..CONFIG });
    for n in 2..5 {
        bench.attach_client(n);
    }
    for message in 0..8 {
        bench.deliver_to_client(2, message);
    }
    bench.pass(2 * SECOND);
    bench
}

#[test]
fn when_memory_is_short_the_longest_stalled_is_ended() {
    let mut bench = with_one_stalled();
    for message in 0..4 {
        bench.deliver_to_client(3, message);
    }
    bench.deliver_to_client(4, 0);
    assert_eq!(bench.pushed(4), [0], "a session gets its first message from the reserve");
    assert!(!bench.is_ended_for_memory(2));
    bench.deliver_to_client(4, 1);
    assert!(bench.is_ended_for_memory(2) && !bench.is_ended_for_memory(3));
    assert_eq!(bench.pushed(4), [0], "the edge has not let go of anything yet");
    bench.close_session(2);
    bench.finish_all_jobs();
    assert_eq!(bench.pushed(4), [0, 1]);
    assert_eq!(bench.mailbox.stored(&client(2)).len(), 8, "nothing is lost");
    assert_eq!(bench.core.counters.ended_for_memory.load(Relaxed), 1);
    assert!(bench.core.delivery.used()[0] <= 16 * COST);
}

/// The session that is ended for memory may have a challenger, whose mail could be pushed at once.
#[test]
fn who_takes_over_for_memory_is_attached_before_its_mail() {
    let mut bench = with_one_stalled();
    let challenger = SessionId(5);
    let token = AuthenticationToken::create(&key(), client(2), bench.fresh_nonce());
    bench.ask(EdgeToStore {
        session: challenger,
        request: SessionRequest::AuthenticateClient { proof: LoginProof::CtrHmac(token) },
    });
    bench.finish_all_jobs();
    assert_eq!(bench.to_edge.last(), Some(&StoreToEdge { session: SessionId(2), answer: SessionAnswer::ProbeSession }));
    for message in 0..4 {
        bench.deliver_to_client(3, message);
    }
    bench.deliver_to_client(4, 0);
    bench.deliver_to_client(4, 1);
    assert!(bench.is_ended_for_memory(2));
    bench.finish_all_jobs();
    let of_challenger = |message: &StoreToEdge| match message {
        StoreToEdge { session, answer: SessionAnswer::AttachSession { .. } } if *session == challenger => Some(None),
        StoreToEdge { session, answer: SessionAnswer::PushMessage { sequence, .. } } if *session == challenger => {
            Some(Some(*sequence))
        }
        _ => None,
    };
    let told: Vec<_> = bench.to_edge.iter().filter_map(of_challenger).collect();
    assert_eq!(told.get(..2), Some(&[None, Some(Sequence(0))][..]));
}

#[test]
fn who_takes_its_mail_is_never_ended_and_waits_its_turn() {
    let mut bench = Bench::new(StoreConfig { pushed_bytes: 16 * COST, ..CONFIG });
    for n in 2..4 {
        bench.attach_client(n);
    }
    for message in 0..20 {
        bench.deliver_to_client(2, message);
    }
    assert_eq!(bench.pushed(2).len(), 12);
    bench.finish_all_jobs();
    bench.deliver_to_client(3, 0);
    bench.deliver_to_client(3, 1);
    bench.finish_all_jobs();
    assert_eq!(bench.pushed(3), [0]);
    bench.confirm_all(2);
    bench.finish_all_jobs();
    bench.pass(SECOND / 10);
    bench.finish_all_jobs();
    assert_eq!(bench.pushed(3), [0, 1]);
    bench.confirm_all(2);
    bench.finish_all_jobs();
    assert_eq!(bench.pushed(2), (0..20).collect::<Vec<_>>());
    assert_eq!(bench.core.counters.ended_for_memory.load(Relaxed), 0);
}

#[test]
fn with_nobody_to_end_sessions_are_not_searched_each_time() {
    let mut bench = Bench::new(StoreConfig { pushed_bytes: 16 * COST, ..CONFIG });
    for n in 2..40 {
        bench.attach_client(n);
    }
    for n in 2..40 {
        bench.deliver_to_client(n, 0);
        bench.deliver_to_client(n, 1);
    }
    // All sessions wait, and none has stalled for long.
    for _ in 0..100 {
        bench.core.resume_pushing();
        while bench.core.next_push(bench.now).is_some() {}
    }
    assert_eq!(bench.core.delivery.searches(), 1);
    // More wait than look again at once.
    bench.pass(Duration::from_millis(50));
    assert_eq!(bench.core.deadline(), Some(bench.now + Duration::from_millis(50)));
}

/// Sessions that were each pushed so many messages so many seconds ago, and a further one that finds no memory.
fn with_stalled(stalled: &[(u64, u32)], pushed_bytes: u64) -> Bench {
    let mut bench = Bench::new(StoreConfig { pushed_bytes, ..CONFIG });
    let clients = || (2_u8..).zip(stalled.iter().copied());
    for (n, _) in clients() {
        bench.attach_client(n);
    }
    bench.attach_client(100);
    bench.attach_client(101);
    let mut to_come = stalled.iter().map(|(_, age)| *age).max().unwrap_or_default();
    while to_come > 0 {
        for (n, (messages, _)) in clients().filter(|(_, (_, age))| *age == to_come) {
            (0..messages).for_each(|message| bench.deliver_to_client(n, message));
        }
        bench.pass(SECOND);
        to_come -= 1;
    }
    // One that has proved everything until now takes the rest, and another has a first message already.
    bench.deliver_to_client(101, 0);
    let mut message = 0;
    while bench.core.delivery.due().is_none() {
        bench.deliver_to_client(100, message);
        message += 1;
    }
    bench
}

/// What counts is bytes times age: neither alone, nor their sum.
#[test]
fn the_session_with_most_bytes_for_longest_is_ended() {
    for (stalled, ended, others) in [([(9, 1), (2, 4)], 2, 3), ([(4, 4), (6, 1)], 2, 3), ([(2, 4), (9, 1)], 3, 2)] {
        let bench = with_stalled(&stalled, 32 * COST);
        assert!(bench.is_ended_for_memory(ended), "{stalled:?}");
        assert!(!bench.is_ended_for_memory(others) && !bench.is_ended_for_memory(101), "{stalled:?}");
    }
}

/// Otherwise no session would be ended any more once as much memory had left as is needed.
#[test]
fn memory_of_a_session_that_left_is_not_waited_for() {
    let mut bench = with_stalled(&[(8, 2), (6, 2)], 32 * COST);
    assert!(bench.is_ended_for_memory(2) && !bench.is_ended_for_memory(3));
    bench.close_session(2);
    let others_ended = |bench: &Bench| bench.is_ended_for_memory(3) || bench.is_ended_for_memory(100);
    for message in 1_000..1_064 {
        bench.deliver_to_client(100, message);
        bench.pass(SECOND / 20);
        if others_ended(&bench) {
            return;
        }
    }
    panic!("memory is short again, and nobody has to leave");
}

#[test]
fn no_more_sessions_are_ended_than_memory_is_needed() {
    let bench = with_stalled(&[(1, 2); 8], 16 * COST);
    let ended: Vec<u64> = (2..10).filter(|session| bench.is_ended_for_memory(*session)).collect();
    assert_eq!(ended.len(), 1, "a sixteenth is one message: {ended:?}");
}

#[test]
fn the_death_of_the_edge_brings_all_memory_back() {
    let mut bench = with_stalled(&[(8, 2)], 16 * COST);
    assert!(bench.is_ended_for_memory(2) && bench.core.deadline() < Some(bench.now + SECOND / 10));
    bench.core.edge_down();
    bench.collect();
    bench.core.edge_up();
    bench.to_edge.clear();
    assert_eq!(bench.core.delivery.used()[0], 0);
    bench.pass(SPILL);
    bench.finish_all_jobs();
    assert!(bench.core.deadline() > Some(bench.now + SECOND / 10), "nobody waits for memory any more");
    // Nobody of the new edge is spared because a session of the old one was about to leave.
    bench.attach_client(2);
    bench.finish_all_jobs();
    bench.pass(2 * SECOND);
    bench.attach_client(50);
    (100..108).for_each(|message| bench.deliver_to_client(50, message));
    assert!(bench.is_ended_for_memory(2));
}

#[test]
fn who_waits_for_memory_looks_again_every_50_ms() {
    let tick = Duration::from_millis(50);
    let mut bench = Bench::new(StoreConfig { pushed_bytes: 16 * COST, ..CONFIG });
    bench.attach_client(2);
    bench.attach_client(3);
    (0..13).for_each(|message| bench.deliver_to_client(2, message));
    bench.finish_all_jobs();
    assert_eq!((bench.pushed(2).len(), bench.core.delivery.searches()), (12, 1));
    // Nobody has stalled for a second yet, and nothing happens but that time passes.
    for looked in 2..21 {
        assert_eq!(bench.core.deadline(), Some(bench.now + tick));
        bench.pass(tick / 2);
        assert_eq!(bench.core.delivery.searches(), looked - 1);
        bench.pass(tick / 2);
        assert_eq!(bench.core.delivery.searches(), looked);
        assert!(!bench.is_ended_for_memory(2));
    }
    bench.pass(tick);
    assert!(bench.is_ended_for_memory(2), "it has proved nothing for a second");
    bench.pass(tick);
    bench.finish_all_jobs();
    assert!(bench.core.deadline() > Some(bench.now + tick), "nobody waits any more");
}

#[test]
fn who_waits_to_read_reads_when_the_reader_leaves() {
    let mut bench = Bench::new(StoreConfig { read_ahead_bytes: 100 * 1024, ..CONFIG });
    for n in 2..4 {
        bench.attach_client(n);
        bench.close_session(n.into());
        bench.deliver_to_client(n, 0);
    }
    bench.finish_all_jobs();
    for n in 2..4 {
        bench.attach_client(n);
    }
    assert_eq!(bench.reads(), 1);
    let Some(Job::Peek { limit, .. }) = bench.jobs.front() else { panic!("{:?}", bench.jobs) };
    let cost = limit.bytes as u64 + limit.messages as u64 * session_ipc::message_cost(0);
    assert_eq!(bench.core.delivery.used()[1], cost, "all that the page may take");
    bench.close_session(2);
    assert_eq!(bench.reads(), 2);
    bench.finish_all_jobs();
    assert_eq!((bench.pushed(2), bench.pushed(3)), (vec![], vec![0]));
}
