//! A listener hears every login, and sends it again before the ledger knows it.

use super::{
    sessions::{signed, with_client_of_version_3},
    *,
};

/// The outcome of a login in this session.
fn refusal_of(bench: &Bench, session: u64) -> AuthenticationRefusal {
    match bench.to_edge.last() {
        Some(StoreToEdge { session: of, answer: SessionAnswer::RefuseAuthentication { reason } })
            if of.0 == session =>
        {
            *reason
        }
        other => panic!("{other:?}"),
    }
}

fn present(bench: &mut Bench, session: u64, proof: LoginProof) {
    bench.ask(EdgeToStore { session: SessionId(session), request: SessionRequest::AuthenticateClient { proof } });
}

fn token(key: &GcmSivKey, nonce: u8) -> LoginProof {
    LoginProof::GcmSiv(GcmSivToken::create(key, CLIENT, [nonce; 12]))
}

#[test]
fn a_login_sent_again_before_its_commit_uses_nothing_up() {
    for is_signed in [false, true] {
        let (mut bench, key) = with_client_of_version_3(StoreConfig { client_logins_per_hour: 2, ..CONFIG });
        let login =
            |n: u8| if is_signed { LoginProof::Signed(signed(&key, NOW + u64::from(n))) } else { token(&key, n) };
        let used = match is_signed {
            true => LoginError::NotNewer,
            false => LoginError::NotProven,
        };
        present(&mut bench, 1, login(1));
        for session in 2..20 {
            present(&mut bench, session, login(1));
            assert_eq!(refusal_of(&bench, session), AuthenticationRefusal::Login(used));
        }
        bench.finish_all_jobs();
        assert_eq!(bench.core.counters.ledger_commits.load(Relaxed), 1);
        bench.ask(EdgeToStore { session: SessionId(1), request: SessionRequest::CloseSession });
        present(&mut bench, 1, login(2));
        bench.finish_all_jobs();
        assert!(
            matches!(bench.to_edge.last(), Some(StoreToEdge { answer: SessionAnswer::AttachSession { .. }, .. })),
            "{:?}",
            bench.to_edge.last()
        );
    }
}

#[test]
fn a_signed_login_refused_for_its_time_bars_tokens() {
    let (mut bench, key) = with_client_of_version_3(CONFIG);
    let commits = |bench: &Bench| bench.core.counters.ledger_commits.load(Relaxed);
    // A login that the client has not signed, or signed under another key, does not bar tokens.
    let unsigned = SignedLogin { signature: [5; 64], ..signed(&key, NOW + 200) };
    for login in [unsigned, signed(&GcmSivKey::from_bytes([7; 32]), NOW + 200)] {
        present(&mut bench, 1, LoginProof::Signed(login));
        assert!(matches!(refusal_of(&bench, 1), AuthenticationRefusal::Login(LoginError::Skewed { .. })));
    }
    bench.finish_all_jobs();
    assert!(bench.mailbox.is_fresh(&CLIENT, &Freshness::Nonce([3; 12])).unwrap());
    for session in 1..5 {
        present(&mut bench, session, LoginProof::Signed(signed(&key, NOW + 200)));
        assert!(matches!(refusal_of(&bench, session), AuthenticationRefusal::Login(LoginError::Skewed { .. })));
    }
    bench.finish_all_jobs();
    for nonce in [3, 8] {
        present(&mut bench, 1, token(&key, nonce));
        assert_eq!(refusal_of(&bench, 1), AuthenticationRefusal::Login(LoginError::NotProven));
    }
    // It is written once, however often it is sent, and the client itself gets in when its clock is right.
    present(&mut bench, 1, LoginProof::Signed(signed(&key, NOW + 200)));
    bench.finish_all_jobs();
    assert_eq!(commits(&bench), 1);
    present(&mut bench, 1, LoginProof::Signed(signed(&key, NOW)));
    bench.finish_all_jobs();
    assert!(
        matches!(bench.to_edge.last(), Some(StoreToEdge { answer: SessionAnswer::AttachSession { .. }, .. })),
        "{:?}",
        bench.to_edge.last()
    );
}

#[test]
fn a_signed_login_refused_for_the_limit_bars_tokens() {
    let (mut bench, key) = with_client_of_version_3(StoreConfig { client_logins_per_hour: 1, ..CONFIG });
    // The limit is the client's, whatever its key.
    present(&mut bench, 1, LoginProof::Signed(signed(&key, NOW)));
    bench.finish_all_jobs();
    bench.ask(EdgeToStore { session: SessionId(1), request: SessionRequest::CloseSession });
    let new = GcmSivKey::from_bytes([8; 32]);
    let entry =
        LedgerEntry::Register { client: CLIENT, key: SessionKey::GcmSiv(new.clone()), logins: LoginForm::Token };
    bench.mailbox.commit_ledger(&[entry]).unwrap();
    present(&mut bench, 1, LoginProof::Signed(signed(&new, NOW + 1)));
    assert_eq!(refusal_of(&bench, 1), AuthenticationRefusal::TooMany);
    bench.finish_all_jobs();
    present(&mut bench, 1, token(&new, 3));
    assert_eq!(refusal_of(&bench, 1), AuthenticationRefusal::Login(LoginError::NotProven));
}

#[test]
fn an_older_signed_login_is_refused_while_a_newer_is_written() {
    let (mut bench, key) = with_client_of_version_3(CONFIG);
    present(&mut bench, 1, LoginProof::Signed(signed(&key, NOW + 1)));
    for (session, time) in [(2, NOW), (3, NOW + 1)] {
        present(&mut bench, session, LoginProof::Signed(signed(&key, time)));
        assert_eq!(refusal_of(&bench, session), AuthenticationRefusal::Login(LoginError::NotNewer));
    }
    present(&mut bench, 4, LoginProof::Signed(signed(&key, NOW + 2)));
    assert_eq!(refusal_of(&bench, 4), AuthenticationRefusal::AlreadyConnected);
}
