//! The core against a mailbox in memory; the test decides on time and on the order of events.

mod ackless;
mod budgets;
mod health;
mod history;
mod listener;
mod lives;
mod operator;
mod pending;
mod retention;
mod sessions;
mod shares;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::atomic::Ordering::Relaxed,
    time::Duration,
};

use bytes::Bytes;

use proptest::prelude::*;

use client_wire::{
    key::{CtrHmacKey, GcmSivKey, Iv, SessionKey},
    login::{Freshness, LoginError, LoginForm, LoginProof},
    token::{AuthenticationToken, GcmSivToken, LoginClaim, SignedLogin},
};
use ipc::{
    credit::Window,
    ingress_store::{ACKLESS_LEN, Ack, DeliveryId, DeliveryRefusal, StoreToIngress},
    operator::StoreAnswer,
};
use session_ipc::{
    AttachedKey, AuthenticationRefusal, EdgeToStore, EndReason, RegistrationRefusal, Sequence, SessionAnswer,
    SessionId, SessionRequest, StoreToEdge,
};
use wire::address::ClientAddress;

use super::{health::Storage, inboxes::KEEP_CLASSES, *};

use crate::{
    mailbox::{
        Filling, LedgerEntry, LedgerRoom, MailBatch, MailboxError, PageLimit, Uncommitted, commit,
        remembered::{Health, Remembered},
    },
    registrar::Registration,
};

const CLIENT: ClientAddress = ClientAddress([1; 32]);

const SPILL: Duration = Duration::from_millis(250);

/// By the gateway's clock, in seconds since 1970.
const NOW: u64 = 1_000_000;

/// The only signature that holds.
const SIGNATURE: [u8; 64] = [4; 64];

const DAY: Duration = Duration::from_secs(86_400);

const CONFIG: StoreConfig = StoreConfig {
    spill_after: SPILL,
    inbox_messages: 1_000,
    inbox_bytes: 1 << 20,
    newcomer_share: 1,
    message_age: DAY.saturating_mul(30),
    client_idle: DAY.saturating_mul(180),
    window: Window { messages: 8_000, bytes: 20 << 20 },
    max_sessions: 64,
    data_bytes: 1 << 30,
    replay_bytes: 1 << 20,
    session_credit: Window { messages: 1_024, bytes: 1 << 20 },
    pushed_bytes: 8 << 20,
    read_ahead_bytes: 1 << 20,
    client_logins_per_hour: 1_000,
};

/// The core with everything around it that the test plays.
struct Bench {
    mailbox: Arc<Remembered>,
    core: Core<Remembered>,
    now: Instant,
    /// Jobs that are under way, oldest first.
    jobs: VecDeque<Job>,
    to_ingress: Vec<StoreToIngress>,
    to_edge: Vec<StoreToEdge>,
    to_operator: Vec<(QuestionId, StoreAnswer)>,
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
    fn new(config: StoreConfig) -> Self {
        let mailbox = Arc::new(Remembered::default());
        mailbox.clock.store(NOW, Relaxed);
        let entry = LedgerEntry::Register { client: CLIENT, key: SessionKey::CtrHmac(key()), logins: LoginForm::Token };
        mailbox.commit_ledger(&[entry]).unwrap();
        let now = Instant::now();
        let core = Core::new(Arc::clone(&mailbox), config, Arc::default(), now);
        let mut bench = Self {
            mailbox,
            core,
            now,
            jobs: VecDeque::new(),
            to_ingress: Vec::new(),
            to_edge: Vec::new(),
            to_operator: Vec::new(),
            nonces: 1,
        };
        bench.core.ingress_up();
        bench.core.edge_up();
        // The first sweep reads the clock only.
        bench.pass(Duration::ZERO);
        bench.finish_all_jobs();
        bench
    }

    fn collect(&mut self) {
        loop {
            let effects = self.core.take_effects();
            self.to_ingress.extend(effects.to_ingress);
            self.to_edge.extend(effects.to_edge);
            self.to_operator.extend(effects.to_operator);
            self.jobs.extend(effects.jobs);
            while let Some(push) = self.core.next_push(self.now) {
                self.to_edge.push(push);
            }
            if !self.core.has_effects() {
                return;
            }
        }
    }

    fn deliver(&mut self, n: u64) {
        self.deliver_to(CLIENT, n, body(n));
    }

    fn deliver_to(&mut self, destination: ClientAddress, n: u64, message: Bytes) {
        let delivery = DeliveryId(n);
        self.core.deliver(delivery, destination, (message, Ack::Owed), self.now).unwrap();
        self.collect();
    }

    /// Delivers a message that came without a SURB-ack.
    fn deliver_ackless(&mut self, n: u64) {
        let message = (body(n).slice(..ACKLESS_LEN), Ack::NotOwed);
        self.core.deliver(DeliveryId(n), CLIENT, message, self.now).unwrap();
        self.collect();
    }

    fn ask(&mut self, request: EdgeToStore) {
        self.core.handle_request(request, self.now).unwrap();
        self.collect();
        // A check that needs no ledger is done at once: its time does not matter here.
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
        let mailbox = self.mailbox.as_ref();
        let done = match job {
            Job::CommitMail(batch) => Done::Mail(commit(mailbox, batch)),
            Job::CommitLedger(entries) => Done::Ledger(mailbox.commit_ledger(&entries)),
            Job::Restore { reopen } => {
                let opened = if reopen { mailbox.reopen() } else { Ok(()) };
                Done::Restored(opened.and_then(|()| mailbox.lack()))
            }
            Job::Sweep(page) => Done::Swept(page.read(mailbox, Duration::from_secs(mailbox.clock.load(Relaxed)))),
            Job::Peek { session_ref, client, range, limit } => {
                let messages = limit.messages.min(3);
                Done::Read(session_ref, mailbox.peek(&client, range, PageLimit { messages, ..limit }))
            }
            Job::CheckLogin { session_ref, proof } => {
                let is_signed = |_: &_, _: &[u8], signature: &[u8; 64]| *signature == SIGNATURE;
                Done::LoginChecked(session_ref, check_claim(proof, NOW, is_signed))
            }
            Job::KeepClasses(classes) => Done::ClassesKept(mailbox.keep_classes(&classes)),
            Job::BeginHandshake { .. } | Job::FinishHandshake { .. } => unreachable!("no test here registers"),
        };
        self.core.report(done, self.now);
        self.collect();
    }

    fn finish_all_jobs(&mut self) {
        while !self.jobs.is_empty() {
            self.finish_job();
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.core.tick(self.now);
        self.collect();
    }

    /// Lets days pass, with more than one sweep at the end.
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
        self.ask(EdgeToStore {
            session: SessionId(session),
            request: SessionRequest::AuthenticateClient { proof: LoginProof::CtrHmac(token) },
        });
    }

    fn attach(&mut self, session: u64) {
        self.log_in(session);
        self.finish_all_jobs();
        let attached = |message: &StoreToEdge| matches!(message, StoreToEdge { session: s, answer: SessionAnswer::AttachSession { .. } } if s.0 == session);
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
                StoreToEdge { session, answer: SessionAnswer::PushMessage { sequence, message } }
                    if session.0 == in_session =>
                {
                    Some((*sequence, number(&message.0)))
                }
                _ => None,
            })
            .collect()
    }

    fn confirm_all(&mut self, session: u64) {
        if let Some((up_to, _)) = self.pushes(session).last().copied() {
            self.ask(EdgeToStore { session: SessionId(session), request: SessionRequest::ConfirmReceipt { up_to } });
        }
    }

    fn stored(&self) -> Vec<u64> {
        self.mailbox.stored(&CLIENT).iter().map(|(_, message)| number(message)).collect()
    }
}

#[test]
fn nothing_is_on_disk_without_what_came_before_it() {
    let session_credit = Window { messages: 2, ..CONFIG.session_credit };
    let mut bench = Bench::new(StoreConfig { session_credit, ..CONFIG });
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
