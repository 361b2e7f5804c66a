//! The office against a mailbox in memory, with time and the order of events in the hands of the test.

mod ackless;
mod budgets;
mod custody;
mod desk;
mod history;
mod listener;
mod lives;
mod retention;
mod shares;
mod storage;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::Ordering::Relaxed,
};

use bytes::Bytes;

use proptest::prelude::*;

use client_wire::{
    key::{CtrHmacKey, GcmSivKey, Iv, SessionKey},
    login::{Freshness, LoginError, LoginForm},
    token::{AuthenticationToken, GcmSivToken, LoginClaim, SignedLogin},
};
use ipc::ingress_store::{ACKLESS_LEN, DeliveryRefusal, StoreToIngress};
use session_ipc::{AuthenticationRefusal, EndReason, RegistrationRefusal};

use super::*;

use crate::mailbox::{
    LedgerEntry, LedgerRoom, PageLimit, commit,
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
    newcomer_share: 1,
    message_age: DAY.saturating_mul(30),
    client_idle: DAY.saturating_mul(180),
    window: Window { messages: 8_000, bytes: 20 << 20 },
    max_sessions: 64,
    session_credit: Window { messages: 1_024, bytes: 1 << 20 },
    pushed_bytes: 8 << 20,
    read_ahead_bytes: 1 << 20,
    client_logins_per_hour: 1_000,
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
        let entry = LedgerEntry::Register { client: CLIENT, key: SessionKey::CtrHmac(key()), logins: LoginForm::Token };
        mailbox.commit_ledger(&[entry]).unwrap();
        let now = Instant::now();
        let office = Office::new(Arc::clone(&mailbox), rules, Arc::default(), now);
        let mut bench = Self {
            mailbox,
            office,
            now,
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
            let orders = self.office.take_orders();
            self.to_ingress.extend(orders.to_ingress);
            self.to_edge.extend(orders.to_edge);
            self.jobs.extend(orders.jobs);
            while let Some(push) = self.office.next_push(self.now) {
                self.to_edge.push(push);
            }
            if !self.office.has_orders() {
                return;
            }
        }
    }

    fn deliver(&mut self, n: u64) {
        self.deliver_to(CLIENT, n, body(n));
    }

    fn deliver_to(&mut self, destination: ClientAddress, n: u64, message: Bytes) {
        let delivery = DeliveryId(n);
        self.office.ingress_delivers(delivery, destination, (message, Ack::Owed), self.now).unwrap();
        self.collect();
    }

    /// Delivers a message that came without a SURB-ack.
    fn deliver_ackless(&mut self, n: u64) {
        let message = (body(n).slice(..ACKLESS_LEN), Ack::NotOwed);
        self.office.ingress_delivers(DeliveryId(n), CLIENT, message, self.now).unwrap();
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
        let done = match job {
            Job::CommitMail(batch) => Done::Mail(commit(self.mailbox.as_ref(), batch)),
            Job::CommitLedger(entries) => Done::Ledger(self.mailbox.commit_ledger(&entries)),
            Job::Restore { reopen } => {
                let opened = if reopen { self.mailbox.reopen() } else { Ok(()) };
                Done::Restored(opened.and_then(|()| self.mailbox.lack()))
            }
            Job::Sweep(page) => {
                let clock = Duration::from_secs(self.mailbox.clock.load(Relaxed));
                Done::Swept(page.read(self.mailbox.as_ref(), clock))
            }
            Job::Peek { visit, client, range, limit } => {
                let messages = limit.messages.min(3);
                Done::Read(visit, self.mailbox.peek(&client, range, PageLimit { messages, ..limit }))
            }
            Job::CheckLogin { visit, proof } => {
                Done::LoginChecked(visit, check_claim(proof, NOW, |_, _, signature| *signature == SIGNATURE))
            }
            Job::KeepClasses(classes) => Done::ClassesKept(self.mailbox.keep_classes(&classes)),
            Job::BeginHandshake { .. } | Job::FinishHandshake { .. } => unreachable!("no test here registers"),
        };
        self.office.report(done, self.now);
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
