//! What is kept for too long.

use super::*;
use crate::mailbox::{OldMail, SeenClients};

#[test]
fn messages_that_are_too_old_go_and_the_others_stay() {
    let mut bench = Bench::new(CONFIG);
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
    assert_eq!(bench.core.counters.messages_expired.load(Relaxed), 5);
    let summary = bench.mailbox.summary_of(&CLIENT).unwrap();
    assert_eq!((summary.next, summary.messages, summary.bytes), (8, 3, 120));
    bench.attach(1);
    bench.finish_all_jobs();
    assert_eq!(bench.pushed(1), [5, 6, 7]);
}

#[test]
fn while_the_clock_is_in_doubt_nothing_is_removed_for_its_age() {
    let mut bench = Bench::new(CONFIG);
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
fn expired_mail_is_counted_once_when_that_is_committed() {
    let mut bench = Bench::new(CONFIG);
    let expired = |bench: &Bench| {
        let StoreCounters { messages_expired, clients_expired, .. } = bench.core.counters.as_ref();
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
fn attached_clients_keep_old_mail_and_expiry_is_retried() {
    let mut bench = Bench::new(CONFIG);
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
    bench.ask(EdgeToStore { session: SessionId(1), request: SessionRequest::CloseSession });
    bench.finish_all_jobs();
    assert_eq!(bench.stored().len(), 3);
    // The removal fails at first, and a client that logs in meanwhile gets none of the expired messages.
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
fn a_client_not_seen_for_long_is_forgotten_unless_attached() {
    let mut bench = Bench::new(StoreConfig { message_age: DAY * 1_000, ..CONFIG });
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
    assert_eq!(bench.core.counters.clients_expired.load(Relaxed), 1);
    bench.deliver_to(away, 2, body(2));
    assert_eq!(bench.refused(), [2]);
    // A client whose entry has no such time counts as seen when the sweep finds that.
    assert!(bench.mailbox.key_of(&imported).unwrap().is_some());
    bench.ask(EdgeToStore { session: SessionId(1), request: SessionRequest::CloseSession });
    bench.live_on(91);
    assert_eq!(bench.mailbox.key_of(&imported).unwrap(), None);
    // A client that was attached all the time was last seen when it left.
    bench.live_on(80);
    assert!(bench.mailbox.key_of(&CLIENT).unwrap().is_some());
    bench.live_on(10);
    assert_eq!(bench.mailbox.key_of(&CLIENT).unwrap(), None);
    bench.log_in(7);
    bench.finish_all_jobs();
    assert!(
        matches!(bench.to_edge.last(), Some(StoreToEdge { answer: SessionAnswer::RefuseAuthentication { .. }, .. })),
        "{:?}",
        bench.to_edge
    );
}

/// A page of the sweep is due in 10 ms.
const PAUSE: Duration = Duration::from_millis(10);

impl Bench {
    fn sweeps(&self) -> Vec<SweepPage> {
        let page = |job: &Job| if let Job::Sweep(page) = job { Some(page.clone()) } else { None };
        self.jobs.iter().filter_map(page).collect()
    }

    /// The sweep has found these on disk: place, bytes of a message, and that they are too old.
    fn find_old(&mut self, found: &[u64]) {
        let messages = found.iter().map(|n| (CLIENT, Sequence(*n), 40, Ack::Owed)).collect();
        self.core.report(Done::Swept(Ok(Swept::Mail(OldMail { messages, next: None }, DAY))), self.now);
    }

    /// The sweep has found these clients, last seen then.
    fn find_clients(&mut self, clients: Vec<(ClientAddress, Option<u64>)>, clock: u64) {
        let page = SeenClients { clients, next: None };
        self.core.report(Done::Swept(Ok(Swept::Clients(page, Duration::from_secs(clock)))), self.now);
    }
}

#[test]
fn a_sweep_begins_four_times_within_the_shortest_age() {
    let age = Duration::from_secs(400);
    for rules in [StoreConfig { message_age: age, ..CONFIG }, StoreConfig { client_idle: age, ..CONFIG }] {
        let mut bench = Bench::new(rules);
        for _ in 0..3 {
            assert_eq!(bench.core.deadline(), Some(bench.now + age / 4));
            bench.pass(age / 4);
            for page in 0..4 {
                assert_eq!(bench.sweeps().len(), 1, "{page}");
                let is_expected = match (&bench.sweeps()[0], page) {
                    (SweepPage::Clock, 0) => true,
                    // The client, and that there is no other.
                    (SweepPage::Clients { after, .. }, 1 | 2) => after.is_some() == (page == 2),
                    (SweepPage::Mail { .. }, 3) => true,
                    _ => false,
                };
                assert!(is_expected, "{page}: {:?}", bench.sweeps());
                bench.finish_all_jobs();
                if page < 3 {
                    assert_eq!(bench.core.deadline(), Some(bench.now + PAUSE), "{page}");
                    bench.pass(PAUSE);
                }
            }
        }
    }
}

#[test]
fn a_sweep_waits_while_much_waits_for_the_disk() {
    const WAITING: u64 = 2_048;
    let wait = |bench: &mut Bench, n: u64, is_mail: bool| match is_mail {
        true => bench.core.commits.mail_mut().remove(CLIENT, Sequence(n)),
        false => bench.core.commits.ledger_mut().push(LedgerEntry::Seen { client: CLIENT, at: n }, None),
    };
    for is_mail in [true, false] {
        let mut bench = Bench::new(CONFIG);
        bench.pass(DAY);
        assert_eq!(bench.sweeps().len(), 1);
        bench.jobs.clear();
        (0..WAITING).for_each(|n| wait(&mut bench, n, is_mail));
        for sweeps in [1, 0] {
            bench.find_old(&[]);
            bench.now += DAY;
            bench.core.tick(bench.now);
            let effects = std::mem::take(&mut bench.core.effects);
            assert_eq!(effects.jobs.iter().filter(|job| matches!(job, Job::Sweep(_))).count(), sweeps);
            wait(&mut bench, WAITING, is_mail);
        }
        assert_eq!(bench.core.deadline(), Some(bench.now + PAUSE));
        bench.core.take_effects();
        bench.pass(PAUSE);
        assert_eq!(bench.sweeps().len(), 1);
    }
    let mut bench = Bench::new(CONFIG);
    bench.core.health.set_storage(Storage::Broken);
    bench.pass(DAY);
    assert_eq!(bench.sweeps().len(), 0);
}

#[test]
fn an_attached_client_is_marked_seen_each_quarter_of_its_time() {
    let mut bench = Bench::new(StoreConfig { client_idle: Duration::from_secs(40_000), ..CONFIG });
    bench.attach(1);
    for (seconds, seen) in [(9_999, 0), (1, 10_000), (9_999, 10_000), (1, 20_000)] {
        bench.mailbox.clock.fetch_add(seconds, Relaxed);
        let clock = bench.mailbox.clock.load(Relaxed);
        let latest = bench.mailbox.last_seen(&CLIENT).unwrap();
        bench.find_clients(vec![(CLIENT, latest)], clock);
        bench.collect();
        bench.finish_all_jobs();
        assert_eq!(bench.mailbox.last_seen(&CLIENT).unwrap(), Some(NOW + seen));
    }
}

#[test]
fn few_clients_are_forgotten_at_once_and_none_that_came_back() {
    let mut bench = Bench::new(CONFIG);
    let clients = || (10..40).map(|n| ClientAddress([n; 32]));
    for client in clients() {
        let entry = LedgerEntry::Register { client, key: SessionKey::CtrHmac(key()), logins: LoginForm::Token };
        bench.mailbox.commit_ledger(&[entry]).unwrap();
    }
    let clock = NOW + CONFIG.client_idle.as_secs();
    // Each of these was seen after the page had been read.
    bench.find_clients(clients().map(|client| (client, Some(NOW - 1))).collect(), clock);
    assert_eq!(bench.core.retention.forgetting(), 0);
    bench.find_clients(clients().map(|client| (client, Some(NOW))).collect(), clock - 1);
    assert_eq!(bench.core.retention.forgetting(), 0, "a second is left");
    bench.find_clients(clients().map(|client| (client, Some(NOW))).collect(), clock);
    assert_eq!(bench.core.retention.forgetting(), 16);
}

#[test]
fn old_mail_goes_from_the_front_of_an_inbox_and_once() {
    let expired = |bench: &Bench| bench.core.commits.mail().expirations().map(|(_, n)| n.0).collect::<Vec<u64>>();
    let mut bench = Bench::new(CONFIG);
    (0..4).for_each(|n| bench.deliver(n));
    bench.finish_all_jobs();
    // One that is being written is not old, whatever was read, nor is what would come behind it.
    bench.deliver(4);
    bench.find_old(&[4, 5]);
    assert!(expired(&bench).is_empty());
    bench.find_old(&[0, 1]);
    assert_eq!(expired(&bench), [0, 1], "while a later one is being written");
    bench.find_old(&[0, 1]);
    bench.collect();
    assert_eq!(bench.core.inboxes.get(&CLIENT).unwrap().stored().with_ack.messages, 2);
    // Before that is on disk a client comes.
    bench.log_in(1);
    let commit = bench.jobs.pop_front().unwrap();
    bench.finish_job();
    let Some(Job::Peek { range, .. }) = bench.jobs.front() else { panic!("{:?}", bench.jobs) };
    assert_eq!(range.0, Sequence(2));
    bench.finish_job();
    bench.find_old(&[2, 3]);
    assert_eq!(expired(&bench), [0, 1], "the client is attached");
    bench.finish(commit);
    bench.finish_all_jobs();
    assert_eq!(bench.core.counters.messages_expired.load(Relaxed), 2);

    // What was received is not old as well, though it is still on disk.
    bench.confirm_all(1);
    bench.ask(EdgeToStore { session: SessionId(1), request: SessionRequest::CloseSession });
    bench.find_old(&[2, 3]);
    assert!(expired(&bench).is_empty());
}
