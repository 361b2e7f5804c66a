//! Sessions that are let in, superseded or refused, and clients that are forgotten.

use super::*;

#[test]
fn requests_out_of_phase_are_violations() {
    let mut bench = Bench::new(CONFIG);
    let session = SessionId(5);
    for request in [
        EdgeToStore { session, request: SessionRequest::FinishHandshake { material: vec![] } },
        EdgeToStore { session, request: SessionRequest::AbandonHandshake },
        EdgeToStore { session, request: SessionRequest::ConfirmReceipt { up_to: Sequence(0) } },
        EdgeToStore { session, request: SessionRequest::AnswerProbe { alive: true } },
    ] {
        let outcome = bench.core.handle_request(request, bench.now);
        assert!(matches!(outcome, Err(Fault::EdgeViolation(_))));
    }
    bench.attach(5);
    let token = AuthenticationToken::create(&key(), CLIENT, [77; 16]);
    let again =
        EdgeToStore { session, request: SessionRequest::AuthenticateClient { proof: LoginProof::CtrHmac(token) } };
    assert!(bench.core.handle_request(again, bench.now).is_err());
}

#[test]
fn a_spent_token_a_reserved_one_and_a_wrong_one_are_refused() {
    let mut bench = Bench::new(CONFIG);
    let token = AuthenticationToken::create(&key(), CLIENT, [77; 16]);
    bench.ask(EdgeToStore {
        session: SessionId(1),
        request: SessionRequest::AuthenticateClient { proof: LoginProof::CtrHmac(token) },
    });
    bench.finish_all_jobs();
    bench.ask(EdgeToStore { session: SessionId(1), request: SessionRequest::CloseSession });
    let mut low = [0; 16];
    low[15] = 1;
    for (session, token) in [
        (2, token),
        (3, AuthenticationToken::create(&key(), CLIENT, low)),
        (4, AuthenticationToken::create(&CtrHmacKey::from_bytes([8; 32]), CLIENT, [78; 16])),
        (5, AuthenticationToken::create(&key(), ClientAddress([2; 32]), [79; 16])),
    ] {
        bench.ask(EdgeToStore {
            session: SessionId(session),
            request: SessionRequest::AuthenticateClient { proof: LoginProof::CtrHmac(token) },
        });
        let reason = AuthenticationRefusal::Login(LoginError::NotProven);
        let refused =
            StoreToEdge { session: SessionId(session), answer: SessionAnswer::RefuseAuthentication { reason } };
        assert_eq!(bench.to_edge.last(), Some(&refused));
        assert!(bench.jobs.is_empty(), "a refusal writes nothing");
    }
}

pub(super) fn signed(key: &GcmSivKey, timestamp: u64) -> SignedLogin {
    SignedLogin { claim: LoginClaim::create(6, key, CLIENT, [3; 12], timestamp), signature: SIGNATURE }
}

#[test]
fn a_signed_login_is_checked_in_order_and_good_for_once() {
    let mut bench = Bench::new(CONFIG);
    let key = GcmSivKey::from_bytes([6; 32]);
    let entry =
        LedgerEntry::Register { client: CLIENT, key: SessionKey::GcmSiv(key.clone()), logins: LoginForm::Token };
    bench.mailbox.commit_ledger(&[entry]).unwrap();
    let present = |bench: &mut Bench, session: u64, login: SignedLogin| {
        let proof = LoginProof::Signed(login);
        bench.ask(EdgeToStore { session: SessionId(session), request: SessionRequest::AuthenticateClient { proof } });
        bench.finish_all_jobs();
        bench.to_edge.last().cloned().unwrap()
    };
    let stranger = LoginClaim { identity: ClientAddress([2; 32]), ..signed(&key, NOW).claim };
    let wrong_key = GcmSivKey::from_bytes([7; 32]);
    for (login, refusal) in [
        (signed(&wrong_key, NOW + 121), LoginError::Skewed { got: NOW + 121, now: NOW }),
        (signed(&key, NOW - 121), LoginError::Skewed { got: NOW - 121, now: NOW }),
        (SignedLogin { signature: [5; 64], ..signed(&wrong_key, NOW) }, LoginError::InvalidSignature),
        (SignedLogin { claim: stranger, signature: SIGNATURE }, LoginError::NotRegistered),
        (signed(&wrong_key, NOW), LoginError::WrongKey),
    ] {
        let reason = AuthenticationRefusal::Login(refusal);
        let refused = StoreToEdge { session: SessionId(1), answer: SessionAnswer::RefuseAuthentication { reason } };
        assert_eq!(present(&mut bench, 1, login), refused);
    }
    let attached = |key| StoreToEdge {
        session: SessionId(1),
        answer: SessionAnswer::AttachSession { key: AttachedKey::new(SessionKey::GcmSiv(key)) },
    };
    assert_eq!(present(&mut bench, 1, signed(&key, NOW)), attached(key.clone()));
    bench.ask(EdgeToStore { session: SessionId(1), request: SessionRequest::CloseSession });
    let reason = AuthenticationRefusal::Login(LoginError::NotNewer);
    let refused = StoreToEdge { session: SessionId(2), answer: SessionAnswer::RefuseAuthentication { reason } };
    assert_eq!(present(&mut bench, 2, signed(&key, NOW)), refused);
    // Neither what the login showed nor anything else that the key sealed is a token.
    for nonce in [[3; 12], [8; 12]] {
        assert_eq!(present_token(&mut bench, 1, &key, nonce), refused_token(1));
    }
}

fn present_token(bench: &mut Bench, session: u64, key: &GcmSivKey, nonce: [u8; 12]) -> StoreToEdge {
    let proof = LoginProof::GcmSiv(GcmSivToken::create(key, CLIENT, nonce));
    bench.ask(EdgeToStore { session: SessionId(session), request: SessionRequest::AuthenticateClient { proof } });
    bench.finish_all_jobs();
    bench.to_edge.last().cloned().unwrap()
}

fn refused_token(session: u64) -> StoreToEdge {
    let reason = AuthenticationRefusal::Login(LoginError::NotProven);
    StoreToEdge { session: SessionId(session), answer: SessionAnswer::RefuseAuthentication { reason } }
}

#[test]
fn logins_beyond_the_hourly_limit_are_refused_before_a_commit() {
    let mut bench = Bench::new(StoreConfig { client_logins_per_hour: 2, ..CONFIG });
    let key = GcmSivKey::from_bytes([6; 32]);
    let entry =
        LedgerEntry::Register { client: CLIENT, key: SessionKey::GcmSiv(key.clone()), logins: LoginForm::Token };
    bench.mailbox.commit_ledger(&[entry]).unwrap();
    let leave =
        |bench: &mut Bench| bench.ask(EdgeToStore { session: SessionId(1), request: SessionRequest::CloseSession });
    // A login that a listener repeats, and one that a stranger makes up, do not count.
    for nonce in [1, 1, 1, 2] {
        present_token(&mut bench, 1, &key, [nonce; 12]);
        leave(&mut bench);
        present_token(&mut bench, 2, &GcmSivKey::from_bytes([7; 32]), [9; 12]);
    }
    let commits = bench.core.counters.ledger_commits.load(Relaxed);
    let reason = AuthenticationRefusal::TooMany;
    let refused = StoreToEdge { session: SessionId(1), answer: SessionAnswer::RefuseAuthentication { reason } };
    assert_eq!(present_token(&mut bench, 1, &key, [3; 12]), refused);
    assert_eq!(bench.core.counters.logins_refused_rate.load(Relaxed), 1);
    assert_eq!(bench.core.counters.ledger_commits.load(Relaxed), commits);
    // A client that can sign is not kept out by a thief of its key, who cannot.
    let proof = LoginProof::Signed(signed(&key, NOW));
    bench.ask(EdgeToStore { session: SessionId(1), request: SessionRequest::AuthenticateClient { proof } });
    bench.finish_all_jobs();
    assert!(matches!(bench.to_edge.last(), Some(StoreToEdge { answer: SessionAnswer::AttachSession { .. }, .. })));
}

#[test]
fn a_login_refused_for_another_under_way_is_spent() {
    let (mut bench, key) = with_client_of_version_3(CONFIG);
    let token = |nonce| LoginProof::GcmSiv(GcmSivToken::create(&key, CLIENT, [nonce; 12]));
    bench.ask(EdgeToStore { session: SessionId(1), request: SessionRequest::AuthenticateClient { proof: token(1) } });
    bench.ask(EdgeToStore { session: SessionId(2), request: SessionRequest::AuthenticateClient { proof: token(2) } });
    let reason = AuthenticationRefusal::AlreadyConnected;
    let refused = StoreToEdge { session: SessionId(2), answer: SessionAnswer::RefuseAuthentication { reason } };
    assert_eq!(bench.to_edge.last(), Some(&refused));
    bench.finish_all_jobs();
    assert!(!bench.mailbox.is_fresh(&CLIENT, &Freshness::Nonce([2; 12])).unwrap());
}

/// A client of version 3.
pub(super) fn with_client_of_version_3(config: StoreConfig) -> (Bench, GcmSivKey) {
    let bench = Bench::new(config);
    let key = GcmSivKey::from_bytes([6; 32]);
    let entry =
        LedgerEntry::Register { client: CLIENT, key: SessionKey::GcmSiv(key.clone()), logins: LoginForm::Token };
    bench.mailbox.commit_ledger(&[entry]).unwrap();
    (bench, key)
}

#[test]
fn a_login_on_its_way_to_the_ledger_bars_all_others() {
    let session = |session| SessionId(session);
    for is_signed in [false, true] {
        let (mut bench, key) = with_client_of_version_3(CONFIG);
        let second = LoginProof::GcmSiv(GcmSivToken::create(&key, CLIENT, [3; 12]));
        let first = if is_signed { LoginProof::Signed(signed(&key, NOW)) } else { second };
        bench.ask(EdgeToStore { session: session(1), request: SessionRequest::AuthenticateClient { proof: first } });
        // The connection that sent it does not wait for the outcome.
        bench.ask(EdgeToStore { session: session(1), request: SessionRequest::CloseSession });
        bench.ask(EdgeToStore { session: session(2), request: SessionRequest::AuthenticateClient { proof: second } });
        let reason = AuthenticationRefusal::AlreadyConnected;
        let contested = StoreToEdge { session: session(2), answer: SessionAnswer::RefuseAuthentication { reason } };
        // If it is the same login, it is refused as one that was used before.
        let expected = if is_signed { contested } else { refused_token(2) };
        assert_eq!(bench.to_edge.last(), Some(&expected));
        bench.finish_all_jobs();
        bench.ask(EdgeToStore { session: session(2), request: SessionRequest::AuthenticateClient { proof: second } });
        bench.finish_all_jobs();
        assert_eq!(bench.to_edge.last(), Some(&refused_token(2)));
    }
}

/// The client has signed a handshake for this key.
pub(super) fn sign_handshake(bench: &mut Bench, session: u64, key: SessionKey) {
    let session = SessionId(session);
    bench.ask(EdgeToStore {
        session,
        request: SessionRequest::BeginHandshake { init: vec![], logins: LoginForm::Token },
    });
    assert!(matches!(bench.jobs.pop_back(), Some(Job::BeginHandshake { .. })));
    let registration = Registration { client: CLIENT, key, logins: LoginForm::Token };
    let session_ref = bench.core.sessions.reference(session);
    bench.core.handshake_finished(session_ref, Ok(registration), bench.now);
    bench.collect();
}

#[test]
fn who_proves_its_identity_takes_over_from_a_token_at_once() {
    for by_registration in [false, true] {
        let (mut bench, key) = with_client_of_version_3(CONFIG);
        present_token(&mut bench, 1, &key, [3; 12]);
        assert_eq!(bench.core.sessions.attachment(SessionId(1)).map(|one| one.client()), Some(CLIENT));
        bench.deliver(0);
        if by_registration {
            sign_handshake(&mut bench, 2, SessionKey::GcmSiv(GcmSivKey::from_bytes([7; 32])));
        } else {
            let proof = LoginProof::Signed(signed(&key, NOW));
            bench.ask(EdgeToStore { session: SessionId(2), request: SessionRequest::AuthenticateClient { proof } });
        }
        bench.finish_all_jobs();
        let ended =
            StoreToEdge { session: SessionId(1), answer: SessionAnswer::EndSession { reason: EndReason::Superseded } };
        assert!(bench.to_edge.contains(&ended));
        assert!(
            !bench
                .to_edge
                .iter()
                .any(|message| matches!(message, StoreToEdge { answer: SessionAnswer::ProbeSession, .. }))
        );
        assert_eq!(bench.pushed(2), [0]);
        // Not the other way round: a session by identity is probed before it gives way.
        if by_registration {
            present_token(&mut bench, 3, &GcmSivKey::from_bytes([7; 32]), [9; 12]);
            assert_eq!(
                bench.to_edge.last(),
                Some(&StoreToEdge { session: SessionId(2), answer: SessionAnswer::ProbeSession })
            );
        }
    }
}

/// A message that crashes software of 2021.
fn deliver_unfit(bench: &mut Bench, n: u64) {
    bench.deliver_to(CLIENT, n, Bytes::from_static(&[0; 10]));
    bench.finish_all_jobs();
}

#[test]
fn a_committed_key_decides_the_kind_of_client_whoever_waits() {
    let mut bench = Bench::new(CONFIG);
    deliver_unfit(&mut bench, 0);
    assert_eq!(bench.refused(), [0]);
    sign_handshake(&mut bench, 1, SessionKey::GcmSiv(GcmSivKey::from_bytes([6; 32])));
    bench.core.edge_down();
    bench.collect();
    bench.finish_all_jobs();
    deliver_unfit(&mut bench, 1);
    assert_eq!(bench.accepted(), [1]);
}

#[test]
fn a_key_whose_commit_failed_is_looked_up_when_storage_works() {
    let mut bench = Bench::new(CONFIG);
    deliver_unfit(&mut bench, 0);
    sign_handshake(&mut bench, 1, SessionKey::GcmSiv(GcmSivKey::from_bytes([6; 32])));
    let Some(Job::CommitLedger(entries)) = bench.jobs.pop_front() else { panic!("nothing is committed") };
    bench.mailbox.commit_ledger(&entries).unwrap();
    // The entry has reached the disk, and the failure came later.
    bench.core.ledger_committed(Err(MailboxError::Closed), bench.now);
    bench.mailbox.set(Health::Broken);
    bench.pass(Duration::from_secs(5));
    bench.finish_all_jobs();
    bench.mailbox.set(Health::Sound);
    bench.pass(Duration::from_secs(5));
    bench.finish_all_jobs();
    deliver_unfit(&mut bench, 1);
    assert_eq!((bench.refused(), bench.accepted()), (vec![0], vec![1]));
}

#[test]
fn a_forgotten_client_leaves_nothing_and_may_register_anew() {
    let mut bench = Bench::new(CONFIG);
    bench.deliver(0);
    bench.finish_all_jobs();
    bench.attach(1);
    bench.deliver(1);
    bench.ask(EdgeToStore { session: SessionId(1), request: SessionRequest::ForgetClient });
    let refused =
        |n| StoreToIngress::RefuseDelivery { delivery: DeliveryId(n), reason: DeliveryRefusal::UnknownClient };
    assert_eq!(bench.to_ingress.last(), Some(&refused(1)), "what is in flight is refused at once");
    // Until then no mail is taken for the client, and no session is let in as the client.
    bench.deliver(5);
    assert_eq!(bench.to_ingress.last(), Some(&refused(5)));
    bench.log_in(4);
    let reason = AuthenticationRefusal::AlreadyConnected;
    assert_eq!(
        bench.to_edge.last(),
        Some(&StoreToEdge { session: SessionId(4), answer: SessionAnswer::RefuseAuthentication { reason } })
    );
    // Receipts that were under way mean nothing any more.
    bench.ask(EdgeToStore { session: SessionId(1), request: SessionRequest::ConfirmReceipt { up_to: Sequence(1) } });
    bench.finish_all_jobs();
    assert_eq!(
        bench.to_edge.last(),
        Some(&StoreToEdge { session: SessionId(1), answer: SessionAnswer::ConfirmForgotten })
    );
    assert!(bench.stored().is_empty());
    let summary = bench.mailbox.summary_of(&CLIENT).unwrap();
    assert_eq!((summary.messages, summary.bytes), (0, 0));
    bench.deliver(2);
    assert_eq!(bench.to_ingress.last(), Some(&refused(2)));
    bench.log_in(2);
    let reason = AuthenticationRefusal::Login(LoginError::NotProven);
    assert_eq!(
        bench.to_edge.last(),
        Some(&StoreToEdge { session: SessionId(2), answer: SessionAnswer::RefuseAuthentication { reason } })
    );
    let entry = LedgerEntry::Register { client: CLIENT, key: SessionKey::CtrHmac(key()), logins: LoginForm::Token };
    bench.mailbox.commit_ledger(&[entry]).unwrap();
    bench.attach(3);
    bench.deliver(3);
    assert_eq!(bench.pushed(3), [3]);
}

#[test]
fn who_claims_a_client_that_is_being_forgotten_is_refused() {
    for is_probed in [false, true] {
        let mut bench = Bench::new(CONFIG);
        bench.attach(1);
        bench.log_in(2);
        if is_probed {
            bench.finish_all_jobs();
            assert_eq!(
                bench.to_edge.last(),
                Some(&StoreToEdge { session: SessionId(1), answer: SessionAnswer::ProbeSession })
            );
        }
        bench.ask(EdgeToStore { session: SessionId(1), request: SessionRequest::ForgetClient });
        bench.finish_all_jobs();
        let reason = AuthenticationRefusal::AlreadyConnected;
        assert!(
            bench.to_edge.contains(&StoreToEdge {
                session: SessionId(2),
                answer: SessionAnswer::RefuseAuthentication { reason }
            })
        );
        assert!(
            bench.to_edge.contains(&StoreToEdge { session: SessionId(1), answer: SessionAnswer::ConfirmForgotten })
        );
    }
}

#[test]
fn after_a_failed_forget_no_place_is_used_twice() {
    let mut bench = Bench::new(CONFIG);
    bench.attach(1);
    bench.deliver(0);
    bench.pass(SPILL);
    bench.ask(EdgeToStore { session: SessionId(1), request: SessionRequest::ForgetClient });
    assert_eq!(bench.refused(), [0]);
    // While the message is on its way to the disk, the ledger fails and works again.
    let under_way = bench.jobs.pop_front().unwrap();
    assert!(matches!(under_way, Job::CommitMail(_)));
    bench.mailbox.set(Health::Broken);
    bench.finish_all_jobs();
    bench.mailbox.set(Health::Sound);
    bench.pass(Duration::from_secs(5));
    bench.finish_all_jobs();
    bench.jobs.push_back(under_way);
    bench.deliver(1);
    bench.finish_job();
    assert_eq!((bench.stored(), bench.accepted()), (vec![0], vec![]), "the newer one is not written yet");
    bench.finish_all_jobs();
    assert_eq!((bench.stored(), bench.accepted()), (vec![1], vec![1]));
    let summary = bench.mailbox.summary_of(&CLIENT).unwrap();
    assert_eq!((summary.messages, summary.bytes), (1, 40));
}

#[test]
fn a_challenger_of_a_live_session_is_refused_token_spent() {
    let mut bench = Bench::new(CONFIG);
    bench.attach(1);
    let token = AuthenticationToken::create(&key(), CLIENT, [77; 16]);
    bench.ask(EdgeToStore {
        session: SessionId(2),
        request: SessionRequest::AuthenticateClient { proof: LoginProof::CtrHmac(token) },
    });
    bench.finish_all_jobs();
    assert_eq!(bench.to_edge.last(), Some(&StoreToEdge { session: SessionId(1), answer: SessionAnswer::ProbeSession }));
    bench.ask(EdgeToStore { session: SessionId(1), request: SessionRequest::AnswerProbe { alive: true } });
    let reason = AuthenticationRefusal::AlreadyConnected;
    let refused = StoreToEdge { session: SessionId(2), answer: SessionAnswer::RefuseAuthentication { reason } };
    assert_eq!(bench.to_edge.last(), Some(&refused));
    bench.deliver(0);
    assert_eq!(bench.pushed(1), [0], "the older session goes on");
    assert!(!bench.mailbox.is_fresh(&CLIENT, &Freshness::Iv([77; 16])).unwrap());
}

#[test]
fn a_challenger_of_a_dead_session_gets_its_unproved_mail() {
    for silent in [false, true] {
        let mut bench = Bench::new(CONFIG);
        bench.attach(1);
        bench.deliver(0);
        bench.log_in(2);
        bench.finish_all_jobs();
        if silent {
            bench.pass(Duration::from_millis(750));
        } else {
            bench.ask(EdgeToStore { session: SessionId(1), request: SessionRequest::AnswerProbe { alive: false } });
        }
        bench.finish_all_jobs();
        let ended =
            StoreToEdge { session: SessionId(1), answer: SessionAnswer::EndSession { reason: EndReason::Superseded } };
        assert!(bench.to_edge.contains(&ended));
        assert_eq!(bench.pushed(2), [0]);
        // `client-edge` learns late that the old session has ended: a receipt and its end change nothing.
        bench
            .ask(EdgeToStore { session: SessionId(1), request: SessionRequest::ConfirmReceipt { up_to: Sequence(0) } });
        bench.ask(EdgeToStore { session: SessionId(1), request: SessionRequest::CloseSession });
        bench.deliver(1);
        assert_eq!(bench.pushed(2), [0, 1]);
    }
}

#[test]
fn a_challenger_or_its_rival_may_leave_at_any_time() {
    let mut bench = Bench::new(CONFIG);
    bench.attach(1);
    bench.log_in(2);
    bench.finish_all_jobs();
    bench.ask(EdgeToStore { session: SessionId(2), request: SessionRequest::CloseSession });
    bench.ask(EdgeToStore { session: SessionId(1), request: SessionRequest::AnswerProbe { alive: false } });
    bench.deliver(0);
    assert_eq!(bench.pushed(1), [0], "nobody claims the client any more");
    bench.log_in(3);
    bench.finish_all_jobs();
    bench.ask(EdgeToStore { session: SessionId(1), request: SessionRequest::CloseSession });
    bench.finish_all_jobs();
    assert_eq!(bench.pushed(3), [0]);
}

#[test]
fn when_the_edge_dies_unproved_mail_is_written() {
    let mut bench = Bench::new(CONFIG);
    bench.attach(1);
    bench.deliver(0);
    bench.log_in(2);
    bench.core.edge_down();
    bench.collect();
    bench.core.edge_up();
    bench.finish_all_jobs();
    assert_eq!((bench.accepted(), bench.stored()), (vec![0], vec![0]));
    let before = bench.to_edge.len();
    // Session numbers start again.
    bench.attach(1);
    assert_eq!(bench.pushed(1).len(), 2);
    assert!(bench.to_edge.len() > before);
}

#[test]
fn more_sessions_than_the_rules_allow_are_a_violation() {
    let mut bench = Bench::new(StoreConfig { max_sessions: 2, ..CONFIG });
    let begin = |session| EdgeToStore {
        session: SessionId(session),
        request: SessionRequest::BeginHandshake { init: vec![], logins: LoginForm::Token },
    };
    bench.attach(1);
    bench.deliver(0);
    bench.core.handle_request(begin(2), bench.now).unwrap();
    let one_more = bench.core.handle_request(begin(3), bench.now);
    assert!(matches!(one_more, Err(Fault::EdgeViolation(_))), "{one_more:?}");
    // Those that there are go on, and one that ends makes room.
    bench.confirm_all(1);
    assert_eq!(bench.accepted(), [0]);
    bench.ask(EdgeToStore { session: SessionId(1), request: SessionRequest::CloseSession });
    bench.core.handle_request(begin(3), bench.now).unwrap();
}

#[test]
fn a_login_is_refused_while_another_waits_for_a_probe() {
    let mut bench = Bench::new(CONFIG);
    bench.attach(1);
    bench.log_in(2);
    bench.finish_all_jobs();
    assert_eq!(bench.to_edge.last(), Some(&StoreToEdge { session: SessionId(1), answer: SessionAnswer::ProbeSession }));
    bench.log_in(3);
    let reason = AuthenticationRefusal::AlreadyConnected;
    assert_eq!(
        bench.to_edge.last(),
        Some(&StoreToEdge { session: SessionId(3), answer: SessionAnswer::RefuseAuthentication { reason } })
    );
}

#[test]
fn a_client_whose_entry_is_unreadable_is_told_so() {
    let mut bench = Bench::new(CONFIG);
    bench.mailbox.spoil_entry(CLIENT);
    bench.log_in(1);
    let reason = AuthenticationRefusal::UnreadableEntry;
    assert_eq!(
        bench.to_edge.last(),
        Some(&StoreToEdge { session: SessionId(1), answer: SessionAnswer::RefuseAuthentication { reason } })
    );
    bench.deliver(0);
    assert_eq!(bench.refused(), [0]);
    assert_eq!(bench.core.health.storage(), Storage::Sound, "others are served as before");
}
