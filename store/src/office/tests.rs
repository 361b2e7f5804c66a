//! The office against a mailbox in memory, with time and the order of events in the hands of the test.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::Ordering::Relaxed,
};

use bytes::Bytes;
use proptest::prelude::*;
use proto::{
    ipc::{
        ingress_store::{DeliveryId, Refusal},
        store_edge::{AuthenticationRefusal, EndReason, SessionKey},
    },
    wire::client::{
        key::{CtrHmacKey, GcmSivKey, Iv},
        login::Freshness,
        token::{AuthenticationToken, GcmSivToken, LoginClaim, SignedLogin},
    },
};

use super::*;
use crate::mailbox::{
    PageLimit, commit,
    remembered::{Health, Remembered},
};

const CLIENT: ClientAddress = ClientAddress([1; 32]);
const SPILL: Duration = Duration::from_millis(250);
/// By the gateway's clock, in seconds since 1970.
const NOW: u64 = 1_000_000;
/// The only signature that holds.
const SIGNATURE: [u8; 64] = [4; 64];
const DAY: Duration = Duration::from_secs(86_400);
const RULES: Rules = Rules {
    spill_after: SPILL,
    inbox_messages: 1_000,
    inbox_bytes: 1 << 20,
    message_age: DAY.saturating_mul(30),
    client_idle: DAY.saturating_mul(180),
    window: Window { messages: 8_000, bytes: 20 << 20 },
    session_credit: Window { messages: 1_024, bytes: 1 << 20 },
};

/// The office with everything around it that the test plays.
struct Bench {
    mailbox: Arc<Remembered>,
    office: Office<Remembered>,
    now: Instant,
    /// Jobs that are under way, oldest first.
    jobs: VecDeque<Job>,
    to_ingress: Vec<StoreToIngress>,
    to_edge: Vec<StoreToEdge>,
    nonces: u8,
}

fn key() -> CtrHmacKey {
    CtrHmacKey::from_bytes([9; 32])
}

/// A body that a client of 2021 survives, recognisable by its number.
fn body(n: u64) -> Bytes {
    let mut body = vec![0; 40];
    body[..8].copy_from_slice(&n.to_be_bytes());
    body.into()
}

fn number(message: &[u8]) -> u64 {
    u64::from_be_bytes(message[..8].try_into().unwrap())
}

impl Bench {
    fn new(rules: Rules) -> Self {
        let mailbox = Arc::new(Remembered::default());
        mailbox.clock.store(NOW, Relaxed);
        let entry = LedgerEntry::Register { client: CLIENT, key: SessionKey::CtrHmac(key()) };
        mailbox.commit_ledger(&[entry]).unwrap();
        let office = Office::new(Arc::clone(&mailbox), rules, Arc::default());
        let mut bench = Self {
            mailbox,
            office,
            now: Instant::now(),
            jobs: VecDeque::new(),
            to_ingress: Vec::new(),
            to_edge: Vec::new(),
            nonces: 1,
        };
        bench.office.ingress_up();
        bench.office.edge_up();
        // The clock is looked at at the start.
        bench.pass(Duration::ZERO);
        bench.finish_all_jobs();
        bench
    }

    fn collect(&mut self) {
        loop {
            while let Some(push) = self.office.next_push() {
                self.to_edge.push(push);
            }
            let orders = self.office.take_orders();
            let more = !orders.jobs.is_empty();
            self.to_ingress.extend(orders.to_ingress);
            self.to_edge.extend(orders.to_edge);
            self.jobs.extend(orders.jobs);
            if !more {
                return;
            }
        }
    }

    fn deliver(&mut self, n: u64) {
        self.deliver_to(CLIENT, n, body(n));
    }

    fn deliver_to(&mut self, destination: ClientAddress, n: u64, message: Bytes) {
        let delivery = DeliveryId(n);
        self.office.ingress_delivers(delivery, destination, message, self.now).unwrap();
        self.collect();
    }

    fn ask(&mut self, request: EdgeToStore) {
        self.office.edge_says(request, self.now).unwrap();
        self.collect();
        // What needs no ledger is checked at once: it is nobody's business here when.
        if let Some(check) = self.jobs.pop_back_if(|job| matches!(job, Job::CheckLogin { .. })) {
            self.finish(check);
        }
    }

    /// Finishes the oldest job.
    fn finish_job(&mut self) {
        if let Some(job) = self.jobs.pop_front() {
            self.finish(job);
        }
    }

    fn finish(&mut self, job: Job) {
        match job {
            Job::CommitMail(batch) => {
                let done = commit(self.mailbox.as_ref(), batch);
                self.office.mail_committed(done, self.now);
            }
            Job::CommitLedger(entries) => {
                let done = self.mailbox.commit_ledger(&entries);
                self.office.ledger_committed(done, self.now);
            }
            Job::Restore { reopen } => {
                let opened = if reopen { self.mailbox.reopen() } else { Ok(()) };
                self.office.restored(opened.and_then(|()| self.mailbox.has_room()), self.now);
            }
            Job::Sweep(page) => {
                let clock = Duration::from_secs(self.mailbox.clock.load(Relaxed));
                self.office.swept(page.read(self.mailbox.as_ref(), clock), self.now);
            }
            Job::Peek { visit, client, range } => {
                let page = self.mailbox.peek(&client, range, PageLimit { messages: 3, bytes: usize::MAX });
                self.office.peeked(visit, page, self.now);
            }
            Job::CheckLogin { visit, proof } => {
                let outcome = proof.check_claim(NOW, |_, _, signature| *signature == SIGNATURE).map(|()| proof);
                self.office.login_checked(visit, outcome, self.now);
            }
            Job::BeginHandshake { .. } | Job::FinishHandshake { .. } => unreachable!("no test here registers"),
        }
        self.collect();
    }

    fn finish_all_jobs(&mut self) {
        while !self.jobs.is_empty() {
            self.finish_job();
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.office.tick(self.now);
        self.collect();
    }

    /// Lets days pass, and everything be gone through in the end, and more than once.
    fn live_on(&mut self, days: u32) {
        let time = DAY * days;
        self.mailbox.clock.fetch_add(time.as_secs(), Relaxed);
        self.pass(time);
        for _ in 0..20 {
            self.finish_all_jobs();
            self.pass(Duration::from_secs(600));
        }
    }

    fn fresh_nonce(&mut self) -> Iv {
        self.nonces += 1;
        [self.nonces; 16]
    }

    fn log_in(&mut self, session: u64) {
        let token = AuthenticationToken::create(&key(), CLIENT, self.fresh_nonce());
        self.ask(EdgeToStore::AuthenticateClient { session: SessionId(session), proof: LoginProof::CtrHmac(token) });
    }

    fn attach(&mut self, session: u64) {
        self.log_in(session);
        self.finish_all_jobs();
        let attached =
            |message: &StoreToEdge| matches!(message, StoreToEdge::AttachSession { session: s, .. } if s.0 == session);
        assert!(self.to_edge.iter().any(attached), "{:?}", self.to_edge);
    }

    fn accepted(&self) -> Vec<u64> {
        self.to_ingress
            .iter()
            .filter_map(|answer| match answer {
                StoreToIngress::AcceptDelivery { delivery } => Some(delivery.0),
                StoreToIngress::RefuseDelivery { .. } | StoreToIngress::AnswerReplay(_) => None,
            })
            .collect()
    }

    fn refused(&self) -> Vec<u64> {
        self.to_ingress
            .iter()
            .filter_map(|answer| match answer {
                StoreToIngress::RefuseDelivery { delivery, .. } => Some(delivery.0),
                StoreToIngress::AcceptDelivery { .. } | StoreToIngress::AnswerReplay(_) => None,
            })
            .collect()
    }

    fn pushed(&self, in_session: u64) -> Vec<u64> {
        self.pushes(in_session).into_iter().map(|(_, n)| n).collect()
    }

    fn pushes(&self, in_session: u64) -> Vec<(Sequence, u64)> {
        self.to_edge
            .iter()
            .filter_map(|message| match message {
                StoreToEdge::PushMessage { session, sequence, message } if session.0 == in_session => {
                    Some((*sequence, number(&message.0)))
                }
                _ => None,
            })
            .collect()
    }

    fn confirm_all(&mut self, session: u64) {
        if let Some((up_to, _)) = self.pushes(session).last().copied() {
            self.ask(EdgeToStore::ConfirmReceipt { session: SessionId(session), up_to });
        }
    }

    fn stored(&self) -> Vec<u64> {
        self.mailbox.stored(&CLIENT).iter().map(|(_, message)| number(message)).collect()
    }
}

#[test]
fn offline_mail_is_accepted_when_it_is_committed_and_not_before() {
    let mut bench = Bench::new(RULES);
    bench.deliver(7);
    assert!(bench.accepted().is_empty());
    assert_eq!(bench.jobs.len(), 1);
    bench.finish_job();
    assert_eq!(bench.accepted(), [7]);
    assert_eq!(bench.stored(), [7]);
}

#[test]
fn a_record_that_is_no_message_is_set_aside_and_the_rest_is_pushed() {
    let mut bench = Bench::new(RULES);
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
    assert_eq!(bench.office.counters.set_aside.load(Relaxed), 4);
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
fn a_record_that_two_sessions_find_is_counted_once_even_if_setting_it_aside_fails_at_first() {
    let mut bench = Bench::new(RULES);
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
    bench.ask(EdgeToStore::CloseSession { session: SessionId(1) });
    bench.mailbox.set(Health::Sound);
    bench.pass(Duration::from_secs(2));
    bench.finish_all_jobs();
    bench.attach(2);
    bench.finish_all_jobs();
    assert_eq!(bench.pushed(2), [1]);
    assert_eq!(bench.stored(), [1]);
    assert_eq!(bench.mailbox.summary_of(&CLIENT).unwrap().messages, 1);
    assert_eq!(bench.office.counters.set_aside.load(Relaxed), 1);
}

#[test]
fn what_comes_during_a_commit_goes_into_the_next_one() {
    let mut bench = Bench::new(RULES);
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
    let mut bench = Bench::new(RULES);
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
    let mut bench = Bench::new(RULES);
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
fn a_receipt_while_spilling_accepts_at_once_and_removes_after_the_commit() {
    let mut bench = Bench::new(RULES);
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
    let mut bench = Bench::new(RULES);
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
fn delivery_begins_at_the_oldest_unproved_message_on_every_attach() {
    let mut bench = Bench::new(RULES);
    bench.attach(1);
    for n in 0..6 {
        bench.deliver(n);
    }
    let third = bench.pushes(1)[2].0;
    bench.ask(EdgeToStore::ConfirmReceipt { session: SessionId(1), up_to: third });
    bench.ask(EdgeToStore::CloseSession { session: SessionId(1) });
    bench.attach(2);
    assert_eq!(bench.pushed(2), [3, 4, 5]);
}

#[test]
fn a_message_without_a_client_is_refused() {
    let mut bench = Bench::new(RULES);
    bench.deliver_to(ClientAddress([2; 32]), 7, body(7));
    let refused = StoreToIngress::RefuseDelivery { delivery: DeliveryId(7), reason: Refusal::UnknownClient };
    assert_eq!(bench.to_ingress, [refused]);
}

#[test]
fn a_message_that_would_crash_a_client_of_2021_is_refused() {
    let mut bench = Bench::new(RULES);
    for (n, len) in [0, 20, 22, 31].into_iter().enumerate() {
        bench.deliver_to(CLIENT, n as u64, vec![0; len].into());
        let delivery = DeliveryId(n as u64);
        let refused = StoreToIngress::RefuseDelivery { delivery, reason: Refusal::UnfitForClient };
        assert_eq!(bench.to_ingress.last(), Some(&refused), "{len}");
    }
    bench.deliver_to(CLIENT, 10, vec![0; 21].into());
    bench.deliver_to(CLIENT, 11, vec![0; 32].into());
    bench.finish_all_jobs();
    assert_eq!(bench.accepted(), [10, 11]);
}

#[test]
fn a_full_inbox_refuses_until_mail_is_fetched() {
    let mut bench = Bench::new(Rules { inbox_messages: 2, ..RULES });
    for n in 0..3 {
        bench.deliver(n);
    }
    let refused = StoreToIngress::RefuseDelivery { delivery: DeliveryId(2), reason: Refusal::InboxFull };
    assert_eq!(bench.to_ingress, [refused]);
    bench.finish_all_jobs();
    bench.attach(1);
    bench.confirm_all(1);
    bench.finish_all_jobs();
    bench.deliver(3);
    assert_eq!(bench.pushed(1), [0, 1, 3]);
    let mut bench = Bench::new(Rules { inbox_bytes: 100, ..RULES });
    for n in 0..3 {
        bench.deliver(n);
    }
    bench.finish_all_jobs();
    assert_eq!(bench.accepted(), [0, 1]);
}

#[test]
fn a_slow_client_is_pushed_no_more_than_its_credit_and_the_rest_is_on_disk_at_once() {
    let mut bench = Bench::new(Rules { inbox_messages: 5_000, inbox_bytes: 1 << 30, ..RULES });
    bench.attach(1);
    let credit = u64::from(RULES.session_credit.messages);
    for n in 0..credit + 50 {
        bench.deliver(n);
    }
    assert_eq!(bench.pushed(1).len() as u64, credit);
    bench.finish_all_jobs();
    assert_eq!(bench.accepted().len() as u64, credit + 50, "what has no credit does not wait for a receipt");
    bench.confirm_all(1);
    bench.finish_all_jobs();
    bench.confirm_all(1);
    bench.finish_all_jobs();
    assert_eq!(bench.pushed(1), (0..credit + 50).collect::<Vec<_>>());
    assert!(bench.stored().is_empty());
}

#[test]
fn nothing_is_on_disk_without_what_came_before_it() {
    let session_credit = Window { messages: 2, ..RULES.session_credit };
    let mut bench = Bench::new(Rules { session_credit, ..RULES });
    bench.attach(1);
    for n in 0..4 {
        bench.deliver(n);
    }
    // The first commit holds the first message that had no credit; a crash may follow it at once.
    bench.finish_job();
    assert_eq!(bench.stored(), [0, 1, 2]);
    bench.finish_all_jobs();
    assert_eq!(bench.stored(), [0, 1, 2, 3]);
}

#[test]
fn credit_in_bytes_is_what_the_rules_say_and_a_message_larger_than_all_of_it_goes_alone() {
    // Each message has 40 bytes.
    for (bytes, at_once) in [(1, 1), (79, 1), (80, 2), (120, 3)] {
        let session_credit = Window { bytes, ..RULES.session_credit };
        let mut bench = Bench::new(Rules { session_credit, ..RULES });
        bench.attach(1);
        for n in 0..7 {
            bench.deliver(n);
        }
        let mut due = at_once;
        while due < 7 + at_once {
            bench.finish_all_jobs();
            assert_eq!(bench.pushed(1), (0..due.min(7)).collect::<Vec<_>>(), "{bytes} bytes");
            bench.confirm_all(1);
            due += at_once;
        }
        bench.finish_all_jobs();
        assert_eq!(bench.accepted().len(), 7);
        assert!(bench.stored().is_empty());
    }
}

#[test]
fn a_receipt_counts_only_up_to_what_was_pushed_in_the_session() {
    let mut bench = Bench::new(RULES);
    bench.attach(1);
    let receipt = |up_to| EdgeToStore::ConfirmReceipt { session: SessionId(1), up_to: Sequence(up_to) };
    assert!(bench.office.edge_says(receipt(0), bench.now).is_err());
    bench.deliver(0);
    assert!(bench.office.edge_says(receipt(1), bench.now).is_err());
    assert!(bench.office.edge_says(receipt(0), bench.now).is_ok());
}

#[test]
fn requests_out_of_phase_are_violations() {
    let mut bench = Bench::new(RULES);
    let session = SessionId(5);
    for request in [
        EdgeToStore::FinishHandshake { session, material: vec![] },
        EdgeToStore::AbandonHandshake { session },
        EdgeToStore::ConfirmReceipt { session, up_to: Sequence(0) },
        EdgeToStore::AnswerProbe { session, alive: true },
    ] {
        let outcome = bench.office.edge_says(request, bench.now);
        assert!(matches!(outcome, Err(Fault::Violation { peer: Role::ClientEdge, .. })));
    }
    bench.attach(5);
    let token = AuthenticationToken::create(&key(), CLIENT, [77; 16]);
    let again = EdgeToStore::AuthenticateClient { session, proof: LoginProof::CtrHmac(token) };
    assert!(bench.office.edge_says(again, bench.now).is_err());
}

#[test]
fn more_deliveries_than_the_window_are_a_violation() {
    let mut bench = Bench::new(Rules { inbox_messages: u64::MAX, inbox_bytes: u64::MAX, ..RULES });
    let now = bench.now;
    let mut deliver = |n| bench.office.ingress_delivers(DeliveryId(n), CLIENT, body(n), now);
    for n in 0..u64::from(RULES.window.messages) {
        deliver(n).unwrap();
    }
    let one_more = deliver(u64::MAX);
    assert!(matches!(one_more, Err(Fault::Violation { peer: Role::MixIngress, .. })));

    for window in [Window { messages: 2, bytes: 1_000 }, Window { messages: 9, bytes: 80 }] {
        let mut bench = Bench::new(Rules { window, ..RULES });
        bench.deliver(0);
        bench.deliver(1);
        let one_more = bench.office.ingress_delivers(DeliveryId(2), CLIENT, body(2), bench.now);
        assert!(matches!(one_more, Err(Fault::Violation { peer: Role::MixIngress, .. })), "{window:?}");
    }
}

#[test]
fn a_spent_token_a_reserved_one_and_a_wrong_one_are_refused() {
    let mut bench = Bench::new(RULES);
    let token = AuthenticationToken::create(&key(), CLIENT, [77; 16]);
    bench.ask(EdgeToStore::AuthenticateClient { session: SessionId(1), proof: LoginProof::CtrHmac(token) });
    bench.finish_all_jobs();
    bench.ask(EdgeToStore::CloseSession { session: SessionId(1) });
    let mut low = [0; 16];
    low[15] = 1;
    for (session, token) in [
        (2, token),
        (3, AuthenticationToken::create(&key(), CLIENT, low)),
        (4, AuthenticationToken::create(&CtrHmacKey::from_bytes([8; 32]), CLIENT, [78; 16])),
        (5, AuthenticationToken::create(&key(), ClientAddress([2; 32]), [79; 16])),
    ] {
        bench.ask(EdgeToStore::AuthenticateClient { session: SessionId(session), proof: LoginProof::CtrHmac(token) });
        let reason = AuthenticationRefusal::Login(LoginRefusal::NotProven);
        let refused = StoreToEdge::RefuseAuthentication { session: SessionId(session), reason };
        assert_eq!(bench.to_edge.last(), Some(&refused));
        assert!(bench.jobs.is_empty(), "a refusal writes nothing");
    }
}

fn signed(key: &GcmSivKey, timestamp: u64) -> SignedLogin {
    SignedLogin { claim: LoginClaim::create(6, key, CLIENT, [3; 12], timestamp), signature: SIGNATURE }
}

#[test]
fn a_signed_login_is_checked_in_order_and_good_for_once() {
    let mut bench = Bench::new(RULES);
    let key = GcmSivKey::from_bytes([6; 32]);
    let entry = LedgerEntry::Register { client: CLIENT, key: SessionKey::GcmSiv(key.clone()) };
    bench.mailbox.commit_ledger(&[entry]).unwrap();
    let present = |bench: &mut Bench, session: u64, login: SignedLogin| {
        let proof = LoginProof::Signed(login);
        bench.ask(EdgeToStore::AuthenticateClient { session: SessionId(session), proof });
        bench.finish_all_jobs();
        bench.to_edge.last().cloned().unwrap()
    };
    let stranger = LoginClaim { identity: ClientAddress([2; 32]), ..signed(&key, NOW).claim };
    let wrong_key = GcmSivKey::from_bytes([7; 32]);
    for (login, refusal) in [
        (signed(&wrong_key, NOW + 121), LoginRefusal::Skewed { got: NOW + 121, now: NOW }),
        (signed(&key, NOW - 121), LoginRefusal::Skewed { got: NOW - 121, now: NOW }),
        (SignedLogin { signature: [5; 64], ..signed(&wrong_key, NOW) }, LoginRefusal::InvalidSignature),
        (SignedLogin { claim: stranger, signature: SIGNATURE }, LoginRefusal::NotRegistered),
        (signed(&wrong_key, NOW), LoginRefusal::WrongKey),
    ] {
        let reason = AuthenticationRefusal::Login(refusal);
        let refused = StoreToEdge::RefuseAuthentication { session: SessionId(1), reason };
        assert_eq!(present(&mut bench, 1, login), refused);
    }
    let attached = |key| StoreToEdge::AttachSession { session: SessionId(1), key: SessionKey::GcmSiv(key) };
    assert_eq!(present(&mut bench, 1, signed(&key, NOW)), attached(key.clone()));
    bench.ask(EdgeToStore::CloseSession { session: SessionId(1) });
    let reason = AuthenticationRefusal::Login(LoginRefusal::NotNewer);
    let refused = StoreToEdge::RefuseAuthentication { session: SessionId(2), reason };
    assert_eq!(present(&mut bench, 2, signed(&key, NOW)), refused);
    let token = GcmSivToken::create(&key, CLIENT, [8; 12]);
    bench.ask(EdgeToStore::AuthenticateClient { session: SessionId(1), proof: LoginProof::GcmSiv(token) });
    bench.finish_all_jobs();
    assert_eq!(bench.to_edge.last(), Some(&attached(key)));
}

#[test]
fn one_who_wants_to_be_forgotten_leaves_nothing_and_can_come_back_as_new() {
    let mut bench = Bench::new(RULES);
    bench.deliver(0);
    bench.finish_all_jobs();
    bench.attach(1);
    bench.deliver(1);
    bench.ask(EdgeToStore::ForgetClient { session: SessionId(1) });
    let refused = |n| StoreToIngress::RefuseDelivery { delivery: DeliveryId(n), reason: Refusal::UnknownClient };
    assert_eq!(bench.to_ingress.last(), Some(&refused(1)), "what is in flight is refused at once");
    // Until it is done nobody writes to the client, and nobody is the client.
    bench.deliver(5);
    assert_eq!(bench.to_ingress.last(), Some(&refused(5)));
    bench.log_in(4);
    let reason = AuthenticationRefusal::AlreadyConnected;
    assert_eq!(bench.to_edge.last(), Some(&StoreToEdge::RefuseAuthentication { session: SessionId(4), reason }));
    // Receipts that were under way mean nothing any more.
    bench.ask(EdgeToStore::ConfirmReceipt { session: SessionId(1), up_to: Sequence(1) });
    bench.finish_all_jobs();
    assert_eq!(bench.to_edge.last(), Some(&StoreToEdge::ConfirmForgotten { session: SessionId(1) }));
    assert!(bench.stored().is_empty());
    assert_eq!(bench.mailbox.summary_of(&CLIENT).unwrap(), Default::default());
    bench.deliver(2);
    assert_eq!(bench.to_ingress.last(), Some(&refused(2)));
    bench.log_in(2);
    let reason = AuthenticationRefusal::Login(LoginRefusal::NotProven);
    assert_eq!(bench.to_edge.last(), Some(&StoreToEdge::RefuseAuthentication { session: SessionId(2), reason }));
    let entry = LedgerEntry::Register { client: CLIENT, key: SessionKey::CtrHmac(key()) };
    bench.mailbox.commit_ledger(&[entry]).unwrap();
    bench.attach(3);
    bench.deliver(3);
    assert_eq!(bench.pushed(3), [3]);
}

#[test]
fn a_newcomer_is_refused_if_the_older_session_lives_and_its_token_is_spent() {
    let mut bench = Bench::new(RULES);
    bench.attach(1);
    let token = AuthenticationToken::create(&key(), CLIENT, [77; 16]);
    bench.ask(EdgeToStore::AuthenticateClient { session: SessionId(2), proof: LoginProof::CtrHmac(token) });
    bench.finish_all_jobs();
    assert_eq!(bench.to_edge.last(), Some(&StoreToEdge::ProbeSession { session: SessionId(1) }));
    bench.ask(EdgeToStore::AnswerProbe { session: SessionId(1), alive: true });
    let reason = AuthenticationRefusal::AlreadyConnected;
    let refused = StoreToEdge::RefuseAuthentication { session: SessionId(2), reason };
    assert_eq!(bench.to_edge.last(), Some(&refused));
    bench.deliver(0);
    assert_eq!(bench.pushed(1), [0], "the older session goes on");
    assert!(!bench.mailbox.is_fresh(&CLIENT, &Freshness::Iv([77; 16])).unwrap());
}

#[test]
fn a_newcomer_takes_over_from_a_dead_session_with_all_its_unproved_mail() {
    for silent in [false, true] {
        let mut bench = Bench::new(RULES);
        bench.attach(1);
        bench.deliver(0);
        bench.log_in(2);
        bench.finish_all_jobs();
        if silent {
            bench.pass(Duration::from_millis(750));
        } else {
            bench.ask(EdgeToStore::AnswerProbe { session: SessionId(1), alive: false });
        }
        bench.finish_all_jobs();
        let ended = StoreToEdge::EndSession { session: SessionId(1), reason: EndReason::Superseded };
        assert!(bench.to_edge.contains(&ended));
        assert_eq!(bench.pushed(2), [0]);
        // The old one learns of it late: a receipt and its end change nothing.
        bench.ask(EdgeToStore::ConfirmReceipt { session: SessionId(1), up_to: Sequence(0) });
        bench.ask(EdgeToStore::CloseSession { session: SessionId(1) });
        bench.deliver(1);
        assert_eq!(bench.pushed(2), [0, 1]);
    }
}

#[test]
fn a_newcomer_whose_rival_leaves_or_who_leaves_itself_harms_nobody() {
    let mut bench = Bench::new(RULES);
    bench.attach(1);
    bench.log_in(2);
    bench.finish_all_jobs();
    bench.ask(EdgeToStore::CloseSession { session: SessionId(2) });
    bench.ask(EdgeToStore::AnswerProbe { session: SessionId(1), alive: false });
    bench.deliver(0);
    assert_eq!(bench.pushed(1), [0], "nobody claims the client any more");
    bench.log_in(3);
    bench.finish_all_jobs();
    bench.ask(EdgeToStore::CloseSession { session: SessionId(1) });
    bench.finish_all_jobs();
    assert_eq!(bench.pushed(3), [0]);
}

#[test]
fn when_the_edge_dies_everything_unproved_is_written_and_old_sessions_mean_nothing() {
    let mut bench = Bench::new(RULES);
    bench.attach(1);
    bench.deliver(0);
    bench.log_in(2);
    bench.office.edge_down();
    bench.collect();
    bench.office.edge_up();
    bench.finish_all_jobs();
    assert_eq!((bench.accepted(), bench.stored()), (vec![0], vec![0]));
    let before = bench.to_edge.len();
    // Session numbers start again.
    bench.attach(1);
    assert_eq!(bench.pushed(1).len(), 2);
    assert!(bench.to_edge.len() > before);
}

#[test]
fn nobody_is_answered_for_what_a_dead_ingress_delivered() {
    let mut bench = Bench::new(RULES);
    bench.deliver(0);
    bench.office.ingress_up();
    bench.finish_all_jobs();
    assert!(bench.to_ingress.is_empty());
    assert_eq!(bench.stored(), [0]);
}

#[test]
fn a_failed_commit_is_refused_and_service_resumes_by_itself() {
    for health in [Health::Full, Health::Broken] {
        let mut bench = Bench::new(RULES);
        bench.deliver(0);
        bench.finish_all_jobs();
        bench.deliver(1);
        bench.mailbox.set(health);
        bench.finish_job();
        bench.deliver(2);
        let refused = |n| StoreToIngress::RefuseDelivery { delivery: DeliveryId(n), reason: Refusal::StorageFailed };
        assert_eq!(bench.to_ingress[1..], [refused(1), refused(2)], "{health:?}");
        bench.pass(Duration::from_secs(5));
        bench.finish_all_jobs();
        bench.deliver(3);
        assert_eq!(bench.to_ingress[3..], [refused(3)]);
        bench.mailbox.set(Health::Sound);
        bench.pass(Duration::from_secs(5));
        bench.finish_all_jobs();
        bench.deliver(4);
        bench.finish_all_jobs();
        assert_eq!((bench.accepted(), bench.stored()), (vec![0, 4], vec![0, 4]), "{health:?}");
        let summary = bench.mailbox.summary_of(&CLIENT).unwrap();
        assert_eq!((summary.messages, summary.bytes), (2, 80));
    }
}

#[test]
fn when_the_disk_is_full_stored_mail_is_fetched_and_removed_and_live_mail_flows() {
    let mut bench = Bench::new(RULES);
    bench.deliver(0);
    bench.finish_all_jobs();
    bench.mailbox.set(Health::Full);
    bench.deliver(1);
    bench.finish_all_jobs();
    bench.attach(1);
    assert_eq!(bench.pushed(1), [0]);
    bench.confirm_all(1);
    bench.finish_all_jobs();
    assert!(bench.stored().is_empty());
    bench.deliver(2);
    bench.confirm_all(1);
    assert_eq!(bench.accepted(), [0, 2]);
    // Pushed, but neither proved in time nor written: refused, and its receipt changes nothing.
    bench.deliver(3);
    bench.pass(SPILL);
    let refused = StoreToIngress::RefuseDelivery { delivery: DeliveryId(3), reason: Refusal::StorageFailed };
    assert_eq!(bench.to_ingress.last(), Some(&refused));
    bench.confirm_all(1);
    bench.finish_all_jobs();
    let summary = bench.mailbox.summary_of(&CLIENT).unwrap();
    assert_eq!((summary.messages, summary.bytes), (0, 0));
}

#[test]
fn when_storage_is_broken_logins_are_refused_and_attached_clients_get_the_rest_later() {
    let mut bench = Bench::new(RULES);
    for n in 0..5 {
        bench.deliver(n);
    }
    bench.finish_all_jobs();
    bench.log_in(1);
    bench.finish_job();
    bench.mailbox.set(Health::Broken);
    bench.finish_all_jobs();
    assert!(bench.pushed(1).is_empty());
    bench.log_in(2);
    let reason = AuthenticationRefusal::StorageFailed;
    let refused = StoreToEdge::RefuseAuthentication { session: SessionId(2), reason };
    assert_eq!(bench.to_edge.last(), Some(&refused));
    bench.mailbox.set(Health::Sound);
    bench.pass(Duration::from_secs(5));
    bench.finish_all_jobs();
    assert_eq!(bench.pushed(1), [0, 1, 2, 3, 4]);
}

/// What may happen around the office.
#[derive(Clone, Debug)]
enum Event {
    Deliver,
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
    /// Whatever happens in whatever order, storage failing or not: each session is pushed the inbox in order, from the oldest
    /// message that no client has confirmed, leaving out only what was refused; nothing accepted is lost; nothing is
    /// answered twice.
    #[test]
    fn nothing_accepted_is_lost_and_nothing_is_out_of_order(events in events()) {
        let mut bench = Bench::new(RULES);
        let mut delivered = 0;
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
                Event::FinishJob => bench.finish_job(),
                Event::Pass(ms) => bench.pass(Duration::from_millis(ms.into())),
                Event::LogIn => {
                    session += 1;
                    bench.log_in(session);
                }
                Event::Close => {
                    if let Some(session) = attached {
                        bench.ask(EdgeToStore::CloseSession { session: SessionId(session) });
                        attached = None;
                    }
                }
                Event::Confirm(nth) => {
                    if let Some(session) = attached
                        && let Some((up_to, n)) = bench.pushes(session).get(nth).copied()
                    {
                        bench.ask(EdgeToStore::ConfirmReceipt { session: SessionId(session), up_to });
                        confirmed = confirmed.max(n + 1);
                        confirmed_messages.extend(bench.pushed(session).into_iter().filter(|pushed| *pushed <= n));
                    }
                }
                Event::AnswerProbe(alive) => {
                    if let Some(session) = attached {
                        bench.ask(EdgeToStore::AnswerProbe { session: SessionId(session), alive });
                    }
                }
                Event::Storage(health) => bench.mailbox.set(health),
                Event::EdgeDies => {
                    bench.office.edge_down();
                    bench.collect();
                    bench.office.edge_up();
                    attached = None;
                    // Sessions of the new edge get numbers that the test has not used, to tell them apart.
                }
            }
            for message in &bench.to_edge {
                match message {
                    StoreToEdge::AttachSession { session, .. } => {
                        seen.entry(session.0).or_insert_with(|| {
                            attached = Some(session.0);
                            confirmed
                        });
                    }
                    StoreToEdge::EndSession { session, .. } if attached == Some(session.0) => attached = None,
                    _ => {}
                }
            }
            let refused = bench.refused();
            for (session, first) in &seen {
                let pushed = bench.pushed(*session);
                prop_assert!(pushed.is_sorted_by(|a, b| a < b), "session {}: {:?}", session, pushed);
                if let Some(last) = pushed.last() {
                    for n in (*first..*last).filter(|n| !refused.contains(n)) {
                        prop_assert!(pushed.contains(&n), "session {} was not pushed {} in {:?}", session, n, pushed);
                    }
                    prop_assert!(pushed.iter().all(|n| n >= first));
                }
            }
            let accepted = bench.accepted();
            let stored = bench.stored();
            for n in accepted.iter().filter(|n| !confirmed_messages.contains(n)) {
                prop_assert!(stored.contains(n), "{} was accepted, not received, and is not on disk", n);
            }
            let answered: BTreeSet<u64> = accepted.iter().chain(&refused).copied().collect();
            prop_assert_eq!(answered.len(), accepted.len() + refused.len());
        }
        // Let everything settle: all mail is answered, and a client that comes now gets all that was not refused.
        bench.mailbox.set(Health::Sound);
        if let Some(session) = attached {
            bench.ask(EdgeToStore::CloseSession { session: SessionId(session) });
        }
        for _ in 0..3 {
            bench.pass(Duration::from_secs(2));
            bench.finish_all_jobs();
        }
        bench.office.edge_down();
        bench.collect();
        bench.office.edge_up();
        bench.finish_all_jobs();
        let (accepted, refused) = (bench.accepted(), bench.refused());
        prop_assert_eq!((accepted.len() + refused.len()) as u64, delivered);
        bench.to_edge.clear();
        bench.attach(9_999);
        let expected: Vec<u64> =
            (confirmed..delivered).filter(|n| accepted.contains(n) && !confirmed_messages.contains(n)).collect();
        prop_assert_eq!(bench.pushed(9_999), expected);
        bench.confirm_all(9_999);
        bench.finish_all_jobs();
        prop_assert!(bench.stored().is_empty());
        let summary = bench.mailbox.summary_of(&CLIENT).unwrap();
        prop_assert_eq!((summary.messages, summary.bytes), (0, 0));
    }
}

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
        let entry = LedgerEntry::Register { client, key: SessionKey::CtrHmac(key()) };
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

#[test]
fn storage_that_fails_again_and_again_is_tried_at_most_once_a_second() {
    let mut bench = Bench::new(RULES);
    let failed = || MailboxError::Database { database: "inboxes", source: sled::Error::ReportableBug("again".into()) };
    for n in 0..5 {
        bench.deliver(n);
        let Some(Job::CommitMail(batch)) = bench.jobs.pop_front() else { panic!("{:?}", bench.jobs) };
        let uncommitted = Uncommitted { batch, error: failed() };
        bench.office.mail_committed(Err(Box::new(uncommitted)), bench.now);
        bench.pass(Duration::ZERO);
        assert_eq!(bench.jobs.is_empty(), n > 0, "{:?}", bench.jobs);
        bench.pass(Duration::from_secs(1));
        assert!(matches!(bench.jobs.front(), Some(Job::Restore { reopen: true })), "{:?}", bench.jobs);
        bench.finish_job();
        // What was refused is removed, in case that a part of it was written.
        bench.jobs.clear();
        bench.office.mail_committed(commit(bench.mailbox.as_ref(), MailBatch::default()), bench.now);
    }
    assert_eq!(bench.refused(), [0, 1, 2, 3, 4]);
}
