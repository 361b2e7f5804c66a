//! What outlives a peer; when something is due; and when the core is settled.

use super::*;

use client_wire::handshake::HandshakeError;
use session_ipc::RegistrationRefusal;

impl Bench {
    /// Asks, and leaves every job under way.
    fn ask_and_wait(&mut self, request: EdgeToStore) -> Job {
        self.core.handle_request(request, self.now).unwrap();
        self.collect();
        self.jobs.pop_back().unwrap()
    }

    fn replace_edge(&mut self) {
        self.core.edge_down();
        self.collect();
        self.core.edge_up();
    }

    fn login(&mut self, session: u64, key: &CtrHmacKey) -> EdgeToStore {
        let token = AuthenticationToken::create(key, CLIENT, self.fresh_nonce());
        EdgeToStore {
            session: SessionId(session),
            request: SessionRequest::AuthenticateClient { proof: LoginProof::CtrHmac(token) },
        }
    }

    fn attached(&self) -> Vec<u64> {
        let attached = |message: &StoreToEdge| match message {
            StoreToEdge { session, answer: SessionAnswer::AttachSession { .. } } => Some(session.0),
            _ => None,
        };
        self.to_edge.iter().filter_map(attached).collect()
    }
}

fn stranger() -> CtrHmacKey {
    CtrHmacKey::from_bytes([8; 32])
}

/// A new edge counts its sessions from the start, so the number of a session says nothing without the edge.
#[test]
fn a_login_checked_for_a_dead_edge_lets_nobody_in() {
    let mut bench = Bench::new(CONFIG);
    let good = bench.login(1, &key());
    let good = bench.ask_and_wait(good);
    bench.replace_edge();
    let bad = bench.login(1, &stranger());
    let bad = bench.ask_and_wait(bad);
    bench.finish(good);
    bench.finish_all_jobs();
    assert!(bench.attached().is_empty(), "somebody else was let in as the client");
    bench.finish(bad);
    bench.finish_all_jobs();
    let reason = AuthenticationRefusal::Login(LoginError::NotProven);
    assert_eq!(
        bench.to_edge,
        [StoreToEdge { session: SessionId(1), answer: SessionAnswer::RefuseAuthentication { reason } }]
    );
}

#[test]
fn a_login_written_for_a_dead_edge_lets_nobody_in() {
    let mut bench = Bench::new(CONFIG);
    bench.log_in(1);
    assert!(matches!(bench.jobs.front(), Some(Job::CommitLedger(_))));
    bench.replace_edge();
    let bad = bench.login(1, &stranger());
    let bad = bench.ask_and_wait(bad);
    bench.finish_all_jobs();
    assert!(bench.attached().is_empty());
    bench.finish(bad);
    assert!(bench.attached().is_empty());
}

#[test]
fn mail_read_for_a_dead_edge_is_pushed_to_nobody() {
    let mut bench = Bench::new(CONFIG);
    bench.deliver(0);
    bench.finish_all_jobs();
    bench.log_in(1);
    bench.finish_job();
    let read = bench.jobs.pop_front().unwrap();
    assert!(matches!(read, Job::Peek { .. }), "{read:?}");
    bench.replace_edge();
    bench.log_in(1);
    bench.finish(read);
    assert!(bench.pushed(1).is_empty(), "the session is not let in yet");
    bench.finish_all_jobs();
    assert_eq!(bench.pushed(1), [0]);
}

#[test]
fn a_handshake_is_answered_unless_its_edge_is_dead() {
    let mut bench = Bench::new(CONFIG);
    let init = || EdgeToStore {
        session: SessionId(1),
        request: SessionRequest::BeginHandshake { init: vec![], logins: LoginForm::Token },
    };
    let begin = |bench: &mut Bench| match bench.ask_and_wait(init()) {
        Job::BeginHandshake { session_ref, .. } => session_ref,
        job => panic!("{job:?}"),
    };
    let old = begin(&mut bench);
    bench.replace_edge();
    let new = begin(&mut bench);
    bench.core.handshake_begun(old, Err(HandshakeError::MalformedInit));
    bench.collect();
    assert_eq!(bench.to_edge, []);
    bench.core.handshake_begun(new, Err(HandshakeError::NoIdentity));
    bench.collect();
    let reason = RegistrationRefusal::Handshake(HandshakeError::NoIdentity);
    assert_eq!(
        bench.to_edge,
        [StoreToEdge { session: SessionId(1), answer: SessionAnswer::RefuseHandshake { reason } }]
    );
}

#[test]
fn a_registration_checked_for_a_dead_edge_registers_nobody() {
    let mut bench = Bench::new(CONFIG);
    let init = || EdgeToStore {
        session: SessionId(1),
        request: SessionRequest::BeginHandshake { init: vec![], logins: LoginForm::Token },
    };
    let Job::BeginHandshake { session_ref: old, .. } = bench.ask_and_wait(init()) else { panic!("no handshake") };
    bench.replace_edge();
    bench.ask_and_wait(init());
    let client = ClientAddress([2; 32]);
    let registration = Registration { client, key: SessionKey::CtrHmac(stranger()), logins: LoginForm::Token };
    bench.core.handshake_finished(old, Ok(registration), bench.now);
    bench.collect();
    bench.finish_all_jobs();
    assert!(bench.attached().is_empty());
    assert!(bench.mailbox.key_of(&client).unwrap().is_none());
}

#[test]
fn the_core_is_woken_when_the_first_thing_is_due() {
    let mut bench = Bench::new(CONFIG);
    let idle = bench.core.deadline().unwrap();
    assert!(idle > bench.now + SPILL, "the next look for old mail");
    bench.attach(1);
    bench.deliver(0);
    assert_eq!(bench.core.deadline(), Some(bench.now + SPILL), "live mail is written then");
    bench.log_in(2);
    bench.finish_all_jobs();
    let probe = bench.core.deadline().unwrap();
    assert!(probe > bench.now, "a probe is not due at once");
    bench.confirm_all(1);
    bench.pass(Duration::from_secs(2));
    bench.finish_all_jobs();
    bench.mailbox.set(Health::Broken);
    bench.ask(EdgeToStore { session: SessionId(1), request: SessionRequest::CloseSession });
    bench.deliver(1);
    bench.finish_all_jobs();
    let retry = bench.core.deadline().unwrap();
    assert!(retry > bench.now && retry <= bench.now + Duration::from_secs(1), "storage is tried again");
}

#[test]
fn what_is_to_be_said_is_an_order_until_it_is_taken() {
    let mut bench = Bench::new(CONFIG);
    assert!(!bench.core.has_effects());
    bench.core.deliver(DeliveryId(0), ClientAddress([2; 32]), (body(0), Ack::Owed), bench.now).unwrap();
    assert!(bench.core.has_effects(), "a refusal of mail");
    bench.core.take_effects();
    assert!(!bench.core.has_effects());
    let session = SessionId(1);
    let token = AuthenticationToken::create(&key(), CLIENT, [77; 16]);
    let login =
        EdgeToStore { session, request: SessionRequest::AuthenticateClient { proof: LoginProof::CtrHmac(token) } };
    bench.core.handle_request(login, bench.now).unwrap();
    assert!(bench.core.has_effects(), "a job");
    let effects = bench.core.take_effects();
    assert!(!bench.core.has_effects());
    let Some(Job::CheckLogin { session_ref, .. }) = effects.jobs.into_iter().next() else { panic!("no check") };
    bench.core.login_checked(session_ref, Err(LoginError::NotProven.into()), bench.now);
    assert!(bench.core.has_effects(), "a refusal of a login");
}

#[test]
fn at_the_end_live_mail_is_written_before_all_is_settled() {
    let mut bench = Bench::new(CONFIG);
    bench.attach(1);
    bench.deliver(0);
    assert!(bench.core.is_settled(), "live mail waits for its client, not for the disk");
    bench.core.spill_everything();
    assert!(!bench.core.is_settled(), "it waits to be written");
    bench.collect();
    assert!(!bench.core.is_settled(), "it is being written");
    bench.finish_all_jobs();
    assert!(bench.core.is_settled());
    assert_eq!((bench.stored(), bench.accepted()), (vec![0], vec![0]));

    bench.log_in(2);
    assert!(!bench.core.is_settled(), "a login is being written");
    bench.finish_all_jobs();
    assert!(bench.core.is_settled());
}

#[test]
fn what_cannot_be_written_is_not_waited_for_at_the_end() {
    let mut bench = Bench::new(CONFIG);
    bench.attach(1);
    for n in 0..2 {
        bench.deliver(n);
    }
    bench.mailbox.set(Health::Broken);
    bench.core.spill_everything();
    bench.collect();
    bench.finish_all_jobs();
    assert!(bench.core.is_settled());
    assert_eq!((bench.stored(), bench.accepted()), (vec![], vec![]));
}

#[test]
fn a_client_forgotten_for_a_dead_edge_is_confirmed_to_nobody() {
    let mut bench = Bench::new(CONFIG);
    bench.attach(1);
    bench.ask(EdgeToStore { session: SessionId(1), request: SessionRequest::ForgetClient });
    bench.replace_edge();
    bench.to_edge.clear();
    bench.finish_all_jobs();
    assert_eq!(bench.to_edge, []);
    assert!(bench.mailbox.key_of(&CLIENT).unwrap().is_none(), "it is forgotten all the same");
}

#[test]
fn there_are_pushes_until_they_are_taken() {
    let mut bench = Bench::new(CONFIG);
    bench.attach(1);
    assert!(!bench.core.has_pushes());
    bench.core.deliver(DeliveryId(0), CLIENT, (body(0), Ack::Owed), bench.now).unwrap();
    assert!(bench.core.has_pushes());
    bench.collect();
    assert!(!bench.core.has_pushes());
}
