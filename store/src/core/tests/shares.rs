//! Shares of stored mail: what accounts that never read can take from clients that read.

use std::collections::HashSet;

use super::*;
use crate::mailbox::Class;

/// A newcomer has 64 messages of a KiB.
const SHARED: StoreConfig =
    StoreConfig { inbox_messages: 64 * 64, inbox_bytes: 64 * (64 << 10), newcomer_share: 64, ..CONFIG };
const KIB: usize = 1 << 10;

fn client(n: u32) -> ClientAddress {
    let mut address = [9; 32];
    address[..4].copy_from_slice(&n.to_be_bytes());
    ClientAddress(address)
}

impl Bench {
    fn register(&self, client: ClientAddress) {
        let entry = LedgerEntry::Register { client, key: SessionKey::CtrHmac(key()), logins: LoginForm::Token };
        self.mailbox.commit_ledger(&[entry]).unwrap();
    }

    /// Delivers a message of a KiB to be stored.
    fn store(&mut self, to: ClientAddress, n: u64) {
        let mut message = vec![0; KIB];
        message[..8].copy_from_slice(&n.to_be_bytes());
        self.deliver_to(to, n, message.into());
    }

    /// Logs in, reads everything, proves it, and leaves.
    fn read_all(&mut self, client: ClientAddress, session: u64) {
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&session.to_be_bytes());
        let token = AuthenticationToken::create(&key(), client, nonce);
        let session = SessionId(session);
        self.ask(EdgeToStore {
            session,
            request: SessionRequest::AuthenticateClient { proof: LoginProof::CtrHmac(token) },
        });
        self.finish_all_jobs();
        let mut proved = 0;
        while proved < self.pushed(session.0).len() {
            proved = self.pushed(session.0).len();
            self.confirm_all(session.0);
            self.finish_all_jobs();
        }
        self.ask(EdgeToStore { session, request: SessionRequest::CloseSession });
        self.finish_all_jobs();
        self.to_edge.clear();
    }

    fn kept_class(&self, client: &ClientAddress) -> Option<Class> {
        self.mailbox.classes.lock().unwrap().get(client).copied()
    }
}

/// Three days of 1,000 accounts that never read and are sent a message each half an hour, beside 100 clients that read once a day and
/// are sent eight messages until then. Returns how many messages to clients that read were refused, and how many to the others.
fn three_days_of_siege(config: StoreConfig) -> (usize, usize) {
    const HOSTILE: u32 = 1_000;
    const HONEST: u32 = 100;
    const STEPS: u32 = 48;
    let mut bench = Bench::new(config);
    // A quarter of what the hostile ones might have.
    bench.mailbox.capacity.store(16 << 20, Relaxed);
    (0..HOSTILE + HONEST).for_each(|n| bench.register(client(n)));
    let (mut deliveries, mut session, mut to_honest) = (0, 0, HashSet::new());
    let (mut refused_honest, mut refused_hostile) = (0, 0);
    for step in 0..3 * STEPS {
        for n in 0..HOSTILE + HONEST {
            let is_honest = n >= HOSTILE;
            if is_honest && (step + n) % (STEPS / 8) != 0 {
                continue;
            }
            deliveries += 1;
            if is_honest {
                to_honest.insert(deliveries);
            }
            bench.store(client(n), deliveries);
            if n % 20 == 0 {
                bench.finish_all_jobs();
            }
        }
        for n in (HOSTILE..HOSTILE + HONEST).filter(|n| n % STEPS == step % STEPS) {
            session += 1;
            bench.read_all(client(n), session);
        }
        bench.pass(DAY / STEPS);
        bench.finish_all_jobs();
        let refused = bench.refused();
        let honest = refused.iter().filter(|delivery| to_honest.contains(delivery)).count();
        (refused_honest, refused_hostile) = (refused_honest + honest, refused_hostile + refused.len() - honest);
        bench.to_ingress.clear();
    }
    (refused_honest, refused_hostile)
}

#[test]
fn a_thousand_who_never_read_keep_no_mail_from_who_reads() {
    let (honest, hostile) = three_days_of_siege(SHARED);
    assert_eq!(honest, 0);
    assert!(hostile > 100_000, "{hostile} messages to those who never read were refused");
    // Without shares, mail to clients that read is refused.
    let (honest, _) = three_days_of_siege(StoreConfig { newcomer_share: 1, ..SHARED });
    assert!(honest > 1_000, "only {honest} messages are refused without shares");
}

#[test]
fn a_newcomer_has_a_share_and_more_when_it_has_read() {
    let mut bench = Bench::new(SHARED);
    let fill = |bench: &mut Bench, from: u64| {
        bench.to_ingress.clear();
        for n in from..from + 200 {
            bench.store(CLIENT, n);
        }
        bench.finish_all_jobs();
        bench.accepted().len()
    };
    assert_eq!(fill(&mut bench, 0), 64);
    assert_eq!(bench.core.counters.refused_inbox_share.load(Relaxed), 136);
    bench.read_all(CLIENT, 1);
    // One message, and then a quarter of 128, was less than the 64.
    assert_eq!(fill(&mut bench, 1_000), 200);
    assert_eq!(bench.kept_class(&CLIENT), None, "that is not on the path of a commit");
    bench.pass(KEEP_CLASSES);
    bench.finish_all_jobs();
    assert_eq!(bench.kept_class(&CLIENT), Some(Class(2)));
    // The next process knows it.
    bench.core = Core::new(Arc::clone(&bench.mailbox), SHARED, Arc::default(), bench.now);
    bench.core.ingress_up();
    bench.core.edge_up();
    assert_eq!(fill(&mut bench, 2_000), 56);
}

#[test]
fn classes_are_kept_once_a_minute_while_storage_works() {
    let mut bench = Bench::new(SHARED);
    let rise = |bench: &mut Bench, session: u64| {
        for n in 0..64 {
            bench.store(CLIENT, 100 * session + n);
        }
        bench.finish_all_jobs();
        bench.read_all(CLIENT, session);
    };
    let pass = |bench: &mut Bench, time: Duration| {
        bench.pass(time);
        bench.finish_all_jobs();
    };
    let almost = KEEP_CLASSES - Duration::from_secs(1);
    rise(&mut bench, 1);
    pass(&mut bench, almost);
    assert_eq!(bench.kept_class(&CLIENT), None);
    for unfit in [Storage::Full, Storage::Broken] {
        bench.core.health.set_storage(unfit);
        bench.core.tick(bench.now + KEEP_CLASSES);
        let effects = bench.core.take_effects();
        assert!(!effects.jobs.iter().any(|job| matches!(job, Job::KeepClasses(_))), "{unfit:?}");
        let deadline = bench.core.deadline().unwrap();
        assert!(deadline > bench.now + Duration::from_secs(1), "it is not asked again and again: {unfit:?}");
    }
    bench.core.health.set_storage(Storage::Sound);
    pass(&mut bench, Duration::from_secs(1));
    let first = bench.kept_class(&CLIENT);
    assert!(first > Some(Class(0)));

    rise(&mut bench, 2);
    pass(&mut bench, almost);
    assert_eq!(bench.kept_class(&CLIENT), first, "a minute has not passed");
    pass(&mut bench, Duration::from_secs(1));
    let second = bench.kept_class(&CLIENT);
    assert!(second > first);
    bench.mailbox.classes.lock().unwrap().clear();
    bench.pass(KEEP_CLASSES);
    assert!(!bench.jobs.iter().any(|job| matches!(job, Job::KeepClasses(_))));
    bench.finish_all_jobs();
    assert_eq!(bench.kept_class(&CLIENT), None, "nothing has changed, so nothing is written");
}

#[test]
fn mail_that_goes_to_its_client_at_once_needs_no_share() {
    let mut bench = Bench::new(SHARED);
    bench.attach(1);
    bench.core.health.set_filling(Filling { alive: 1, capacity: 1 });
    bench.deliver(0);
    assert_eq!((bench.pushed(1), bench.refused()), (vec![0], vec![]));
    bench.ask(EdgeToStore { session: SessionId(1), request: SessionRequest::CloseSession });
    bench.deliver(1);
    let refused = StoreToIngress::RefuseDelivery { delivery: DeliveryId(1), reason: DeliveryRefusal::InboxFull };
    assert_eq!(bench.to_ingress.last(), Some(&refused));
}

#[test]
fn nothing_is_kept_of_the_class_of_who_is_forgotten() {
    let mut bench = Bench::new(SHARED);
    bench.mailbox.keep_classes(&[(CLIENT, Class(3))]).unwrap();
    bench.attach(1);
    bench.ask(EdgeToStore { session: SessionId(1), request: SessionRequest::ForgetClient });
    bench.finish_all_jobs();
    bench.pass(KEEP_CLASSES);
    bench.finish_all_jobs();
    assert_eq!(bench.kept_class(&CLIENT), None);
}

#[test]
fn what_is_not_committed_yet_fills_the_store_too() {
    let mut bench = Bench::new(SHARED);
    bench.mailbox.capacity.store(100 << 10, Relaxed);
    bench.core.health.set_filling(Filling { alive: 0, capacity: 100 << 10 });
    // No commit ends meanwhile, and no inbox comes near its share of 64 messages.
    for n in 0..200 {
        let client = client(n / 8);
        bench.register(client);
        bench.store(client, n.into());
    }
    assert!((125..150).contains(&bench.refused().len()), "newcomers have three quarters: {}", bench.refused().len());
}
