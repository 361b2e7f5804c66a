use std::sync::atomic::Ordering::Relaxed;

use client_wire::handshake::HandshakeError;
use ipc::control::{EdgeConfig, session_credit};
use session_ipc::{
    EdgeToStore, EndReason, RegistrationRefusal, Rule, SessionAnswer, SessionId, SessionRequest, StoreToEdge,
};

use super::{
    client::{Client, Heard},
    gateway::{Gateway, SOON, attach, config, push, receipt},
};

#[tokio::test]
async fn a_receipt_is_confirmed_only_when_the_barrier_comes_back() {
    let (gateway, mut store) = Gateway::start(config()).await;
    let (mut client, session) = gateway.attach(&mut store).await;
    store.say(&[push(session, 3, b"one"), push(session, 8, b"two")]).await;
    client.hear_mail(b"one").await;
    client.hear_mail(b"two").await;
    let ping = client.hear_ping().await;
    assert_eq!(ping.len(), 8);
    for other in [&b""[..], b"1", &[0; 8], &[0xff; 8], &[0; 9], &[7; 125]] {
        client.pong(other).await;
    }
    // When this is answered, everything that the client sent has been read, and `store` has heard of no receipt.
    client.text("hello").await;
    client.hear_error("invalid request").await;
    assert_eq!(gateway.edge.counters().receipts.load(Relaxed), 0);
    client.pong(&ping).await;
    store.expect(receipt(session, 8)).await;
    client.pong(&ping).await;
    client.close(1000).await;
    store.expect(EdgeToStore { session, request: SessionRequest::CloseSession }).await;
}

#[tokio::test]
async fn a_burst_has_one_barrier() {
    let (gateway, mut store) = Gateway::start(config()).await;
    let (mut client, session) = gateway.attach(&mut store).await;
    let burst: Vec<_> = (0..20).map(|n| push(session, n, &[n as u8; 40])).collect();
    store.say(&burst).await;
    for n in 0..20 {
        client.hear_mail(&[n; 40]).await;
    }
    let ping = client.hear_ping().await;
    client.pong(&ping).await;
    store.expect(receipt(session, 19)).await;
}

#[tokio::test]
async fn a_pong_to_the_newest_ping_proves_all_mail_before_it() {
    let (gateway, mut store) = Gateway::start(config()).await;
    let (mut client, session) = gateway.attach(&mut store).await;
    let mut newest = Vec::new();
    for n in 1..=3 {
        store.say(&[push(session, n, b"mail")]).await;
        client.hear_mail(b"mail").await;
        newest = client.hear_ping().await;
    }
    client.pong(&newest).await;
    store.expect(receipt(session, 3)).await;
}

#[tokio::test]
async fn a_client_that_proves_nothing_in_time_is_disconnected() {
    let (gateway, mut store) = Gateway::start(EdgeConfig { receipt_timeout: SOON, ..config() }).await;
    let (mut client, session) = gateway.attach(&mut store).await;
    store.say(&[push(session, 1, b"proved")]).await;
    client.hear_mail(b"proved").await;
    let ping = client.hear_ping().await;
    client.pong(&ping).await;
    store.expect(receipt(session, 1)).await;
    store.say(&[push(session, 2, b"not proved")]).await;
    store.expect(EdgeToStore { session, request: SessionRequest::CloseSession }).await;
    client.hear_mail(b"not proved").await;
    client.hear_ping().await;
    client.hear_close(1008).await;
    assert_eq!(gateway.edge.counters().receipt_timeouts.load(Relaxed), 1);
}

#[tokio::test]
async fn an_unreading_client_is_still_read_until_its_time_ends() {
    let (mut gateway, mut store) = Gateway::start_narrow(EdgeConfig { receipt_timeout: SOON * 5, ..config() }).await;
    let mut client = Client::connect_narrow(gateway.address).await;
    let session = store.attach(&mut client).await;
    // Much more than the buffers of both sockets hold.
    let large = vec![1; 32 * 1024];
    let mail: Vec<_> = (0..32).map(|n| push(session, n, &large)).collect();
    store.say(&mail).await;
    client.binary(&super::forwarding::sealed_packet()).await;
    assert_eq!(gateway.forwarded().await.len(), 1);
    let (mut other, _) = gateway.attach(&mut store).await;
    store.expect(EdgeToStore { session, request: SessionRequest::CloseSession }).await;
    other.text("hello").await;
    other.hear_error("invalid request").await;
}

/// Hears `messages` messages, and returns the barrier behind them.
async fn hear_much(client: &mut Client, messages: u64) -> Vec<u8> {
    let mut heard = 0;
    loop {
        match client.hear().await {
            Heard::Binary(_) => heard += 1,
            Heard::Ping(ping) if heard == messages => return ping,
            Heard::Ping(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn credit_comes_back_with_receipts_and_mail_beyond_it_violates() {
    let (mut gateway, mut store) = Gateway::start(config()).await;
    let (mut client, session) = gateway.attach(&mut store).await;
    let credit = u64::from(config().session_credit.messages);
    let mail = |range: std::ops::Range<u64>| range.map(|n| push(session, n, b"m")).collect::<Vec<_>>();
    store.say(&mail(0..credit)).await;
    let newest = hear_much(&mut client, credit).await;
    client.pong(&newest).await;
    store.expect(receipt(session, credit - 1)).await;

    store.say(&mail(credit..2 * credit)).await;
    hear_much(&mut client, credit).await;
    store.say(&mail(2 * credit..2 * credit + 1)).await;
    assert_eq!(gateway.violated_rule().await, Rule::MailOverCredit.to_string());
    client.hear_close(1012).await;
    while let Some(heard) = store.hear().await {
        assert_eq!(
            heard,
            EdgeToStore { session, request: SessionRequest::CloseSession },
            "a store that broke a rule hears nothing else"
        );
    }
}

#[tokio::test]
async fn credit_in_bytes_comes_back_with_receipts() {
    let (gateway, mut store) = Gateway::start(config()).await;
    let (mut client, session) = gateway.attach(&mut store).await;
    let large = vec![1; 32 * 1024];
    let at_once = 3 * config().session_credit.bytes / 4 / large.len() as u64;
    for round in 0..3 {
        let mail: Vec<_> = (round * at_once..(round + 1) * at_once).map(|n| push(session, n, &large)).collect();
        store.say(&mail).await;
        let newest = hear_much(&mut client, at_once).await;
        client.pong(&newest).await;
        store.expect(receipt(session, (round + 1) * at_once - 1)).await;
    }
}

#[tokio::test]
async fn a_large_message_beyond_a_small_credit_is_let_through_alone() {
    let (mut gateway, mut store) = Gateway::start(EdgeConfig { session_credit: session_credit(10), ..config() }).await;
    let (mut client, session) = gateway.attach(&mut store).await;
    for n in 1..=2 {
        store.say(&[push(session, n, b"more than ten bytes")]).await;
        client.hear_mail(b"more than ten bytes").await;
        let ping = client.hear_ping().await;
        client.pong(&ping).await;
        store.expect(receipt(session, n)).await;
    }
    store.say(&[push(session, 3, b"123456"), push(session, 4, b"12345")]).await;
    assert_eq!(gateway.violated_rule().await, Rule::MailOverCredit.to_string());
}

#[tokio::test]
async fn what_store_may_not_say_in_a_phase_is_a_violation() {
    for (rule, messages) in [
        (Rule::MailUnattached, (|s| vec![push(s, 0, b"m")]) as fn(SessionId) -> Vec<_>),
        (Rule::AttachedTwice, |s| vec![attach(s), attach(s)]),
        (Rule::MailOutOfOrder, |s| vec![attach(s), push(s, 4, b"m"), push(s, 4, b"m")]),
        (Rule::AuthenticationAnswer, |session| {
            vec![StoreToEdge {
                session,
                answer: SessionAnswer::RefuseHandshake {
                    reason: RegistrationRefusal::Handshake(HandshakeError::NoIdentity),
                },
            }]
        }),
        (Rule::UnaskedAnswer, |session| {
            vec![
                attach(session),
                StoreToEdge { session, answer: SessionAnswer::ReplyHandshake { payload: Vec::new() } },
            ]
        }),
        (Rule::TooManyCommands, |session| {
            [vec![attach(session)], vec![StoreToEdge { session, answer: SessionAnswer::ProbeSession }; 100]].concat()
        }),
    ] {
        let (mut gateway, mut store) = Gateway::start(config()).await;
        let mut client = gateway.connect().await;
        client.text(super::client::authenticate()).await;
        let session = store.expect_authentication().await;
        store.say(&messages(session)).await;
        assert_eq!(gateway.violated_rule().await, rule.to_string());
        let mut heard = client.hear().await;
        while !matches!(heard, Heard::Close(_)) {
            heard = client.hear().await;
        }
        assert_eq!(heard, Heard::Close(1012), "{rule}");
        assert_eq!(gateway.edge.counters().store_violations.load(Relaxed), 1, "{rule}");
    }
}

#[tokio::test]
async fn what_comes_for_a_session_that_has_ended_is_ignored() {
    let (gateway, mut store) = Gateway::start(config()).await;
    let (client, session) = gateway.attach(&mut store).await;
    drop(client);
    store.expect(EdgeToStore { session, request: SessionRequest::CloseSession }).await;
    store
        .say(&[
            push(session, 9, b"late"),
            StoreToEdge { session, answer: SessionAnswer::ProbeSession },
            attach(session),
        ])
        .await;
    gateway.attach(&mut store).await;
    assert_eq!(gateway.edge.counters().store_violations.load(Relaxed), 0);
}

#[tokio::test]
async fn a_probed_client_that_returns_the_barrier_is_alive() {
    let (gateway, mut store) = Gateway::start(config()).await;
    let (mut client, session) = gateway.attach(&mut store).await;
    store.say(&[StoreToEdge { session, answer: SessionAnswer::ProbeSession }]).await;
    let ping = client.hear_ping().await;
    client.pong(&ping).await;
    store.expect(EdgeToStore { session, request: SessionRequest::AnswerProbe { alive: true } }).await;
}

#[tokio::test]
async fn a_later_barrier_answers_a_probe_and_proves_its_mail() {
    let (gateway, mut store) = Gateway::start(config()).await;
    let (mut client, session) = gateway.attach(&mut store).await;
    store.say(&[push(session, 1, b"before")]).await;
    client.hear_mail(b"before").await;
    client.hear_ping().await;
    store.say(&[StoreToEdge { session, answer: SessionAnswer::ProbeSession }]).await;
    let probe = client.hear_ping().await;
    store.say(&[push(session, 2, b"after")]).await;
    client.hear_mail(b"after").await;
    let later = client.hear_ping().await;
    assert!(later > probe);
    client.pong(&later).await;
    store.expect(EdgeToStore { session, request: SessionRequest::AnswerProbe { alive: true } }).await;
    store.expect(receipt(session, 2)).await;
}

#[tokio::test]
async fn a_probed_client_with_only_an_earlier_barrier_is_superseded() {
    let (gateway, mut store) = Gateway::start(config()).await;
    let (mut client, session) = gateway.attach(&mut store).await;
    store.say(&[push(session, 1, b"before")]).await;
    client.hear_mail(b"before").await;
    let earlier = client.hear_ping().await;
    store.say(&[StoreToEdge { session, answer: SessionAnswer::ProbeSession }]).await;
    client.hear_ping().await;
    client.pong(&earlier).await;
    store.expect(receipt(session, 1)).await;
    store.expect(EdgeToStore { session, request: SessionRequest::AnswerProbe { alive: false } }).await;
    store.say(&[StoreToEdge { session, answer: SessionAnswer::EndSession { reason: EndReason::Superseded } }]).await;
    store.expect(EdgeToStore { session, request: SessionRequest::CloseSession }).await;
    client.hear_close(1008).await;
}
