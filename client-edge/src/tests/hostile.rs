use std::sync::atomic::Ordering::Relaxed;

use client_wire::{frame, handshake::HandshakeError, login::LoginError};
use ipc::control::WorkerReport;
use proptest::prelude::*;
use session_ipc::{
    AuthenticationRefusal, EdgeToStore, RegistrationRefusal, SessionAnswer, SessionRequest, StoreToEdge,
};

use super::{
    client::{Heard, authenticate, key},
    gateway::{Gateway, Store, attach, config, push, receipt},
};

/// Control frames of one client that are allowed within a minute.
const CONTROL_FRAMES: u64 = 300;

#[tokio::test]
async fn a_message_over_the_limit_ends_the_connection_with_its_code() {
    let (gateway, mut store) = Gateway::start(config()).await;
    let (mut client, session) = gateway.attach(&mut store).await;
    client.binary(&vec![0; 64 * 1024]).await;
    client.hear_error("provided MAC is invalid").await;
    client.binary(&vec![0; 64 * 1024 + 1]).await;
    store.expect(EdgeToStore { session, request: SessionRequest::CloseSession }).await;
    assert_eq!(client.hear().await, Heard::Close(1009));
    // A socket that is closed with the rest of the message unread would be reset instead.
    client.hear_orderly_end().await;
}

#[tokio::test]
async fn broken_websocket_frames_end_the_connection_with_their_code() {
    let (gateway, _store) = Gateway::start(config()).await;
    for (opcode, payload, code) in [(3, &b"?"[..], 1002), (1, b"\xff\xfe", 1007), (9, &[0; 126], 1002)] {
        let mut client = gateway.connect().await;
        client.send(opcode, payload).await;
        assert_eq!(client.hear().await, Heard::Close(code), "{opcode}");
        assert_eq!(client.hear().await, Heard::End);
    }
    assert_eq!(gateway.edge.counters().websocket_faults.load(Relaxed), 3);
}

#[tokio::test]
async fn a_client_that_sends_too_many_pings_is_closed() {
    let (gateway, mut store) = Gateway::start(config()).await;
    let (logged_in, session) = gateway.attach(&mut store).await;
    for mut client in [gateway.connect().await, logged_in] {
        for n in 0..=CONTROL_FRAMES {
            client.send(9, b"").await;
            assert_eq!(client.hear().await, Heard::Pong(Vec::new()), "{n}");
        }
        assert_eq!(client.hear().await, Heard::Close(1008));
        client.hear_orderly_end().await;
    }
    store.expect(EdgeToStore { session, request: SessionRequest::CloseSession }).await;
    assert_eq!(gateway.edge.counters().frame_floods.load(Relaxed), 2);
    assert_eq!(gateway.edge.counters().websocket_faults.load(Relaxed), 0);
}

#[tokio::test]
async fn a_client_of_today_that_floods_is_hung_up_on_without_a_close() {
    let (gateway, mut store) = Gateway::start(config()).await;
    let mut client = gateway.connect().await;
    client.text(r#"{"type":"handshakePayload","protocol_version":4,"data":[1]}"#).await;
    let Some(EdgeToStore { session, request: SessionRequest::BeginHandshake { .. } }) = store.hear().await else {
        panic!("no handshake")
    };
    store.say(&[StoreToEdge { session, answer: SessionAnswer::ReplyHandshake { payload: vec![9] } }]).await;
    assert!(matches!(client.hear().await, Heard::Text(_)));
    for n in 0..=CONTROL_FRAMES {
        client.send(9, b"").await;
        assert_eq!(client.hear().await, Heard::Pong(Vec::new()), "{n}");
    }
    client.hear_orderly_end().await;
    store.expect(EdgeToStore { session, request: SessionRequest::CloseSession }).await;
    assert_eq!(gateway.edge.counters().frame_floods.load(Relaxed), 1);
}

#[tokio::test]
async fn unsolicited_pongs_count_and_answers_to_pings_do_not() {
    let (gateway, mut store) = Gateway::start(config()).await;
    let (mut logged_in, session) = gateway.attach(&mut store).await;
    for n in 0..2 * CONTROL_FRAMES {
        store.say(&[push(session, n, b"mail")]).await;
        logged_in.hear_mail(b"mail").await;
        let ping = logged_in.hear_ping().await;
        logged_in.pong(&ping).await;
        store.expect(receipt(session, n)).await;
    }
    for mut client in [gateway.connect().await, logged_in] {
        for _ in 0..CONTROL_FRAMES {
            client.pong(b"anybody there?").await;
        }
        client.send(9, b"").await;
        assert_eq!(client.hear().await, Heard::Pong(Vec::new()), "the last Ping is answered before the Close");
        assert_eq!(client.hear().await, Heard::Close(1008));
        client.hear_orderly_end().await;
    }
    store.expect(EdgeToStore { session, request: SessionRequest::CloseSession }).await;
    assert_eq!(gateway.edge.counters().frame_floods.load(Relaxed), 2);
}

#[tokio::test]
async fn a_message_in_pieces_is_taken_unless_the_pieces_do_not_end() {
    const EMPTY: usize = 6;
    let (gateway, mut store) = Gateway::start(config()).await;
    let (mut logged_in, session) = gateway.attach(&mut store).await;
    // Several times, with a Ping in between: the count begins again with each message.
    for _ in 0..4 {
        logged_in.fragments(2, &[0; 1_000], 1).await;
        logged_in.fragments(0, &[0; 60], 500).await;
        logged_in.send(9, b"").await;
        logged_in.fragments(0, b"", 8 * 1024).await;
        logged_in.send(0, b"").await;
        assert_eq!(logged_in.hear().await, Heard::Pong(Vec::new()));
        logged_in.hear_error("provided MAC is invalid").await;
    }
    for (mut client, opcode) in [(gateway.connect().await, 1), (logged_in, 2)] {
        client.fragments(opcode, b"?", 1).await;
        client.fragments(0, b"", 128 * 1024 / EMPTY + 1_000).await;
        assert_eq!(client.hear().await, Heard::Close(1008));
    }
    store.expect(EdgeToStore { session, request: SessionRequest::CloseSession }).await;
    assert_eq!(gateway.edge.counters().frame_floods.load(Relaxed), 2);

    let (mut client, _) = gateway.attach(&mut store).await;
    client.fragments(2, b"?", 1).await;
    client.fragments(0, &[0; 1_024], 64).await;
    assert_eq!(client.hear().await, Heard::Close(1009), "all pieces together are over the limit");
}

#[derive(Clone, Debug)]
enum Sent {
    Text(String),
    Binary(Vec<u8>),
    Sealed(Vec<u8>),
    Control(u8, Vec<u8>),
    Login,
}

fn sent() -> impl Strategy<Value = Sent> {
    let bytes = proptest::collection::vec(any::<u8>(), 0..100);
    let json = prop_oneof![
        "\\PC{0,60}",
        r#"\{"type":"(handshakePayload|handshakeError|authenticate)","data":\[[0-9,]{0,20}\]\}"#,
        r#"\{"type":"handshakeError","message":"[a-z]{0,9}"\}"#,
    ];
    prop_oneof![
        json.prop_map(Sent::Text),
        bytes.clone().prop_map(Sent::Binary),
        bytes.clone().prop_map(Sent::Sealed),
        (8..=10_u8, bytes).prop_map(|(opcode, payload)| Sent::Control(opcode, payload)),
        Just(Sent::Login),
    ]
}

/// Answers every request at random, within the rules.
async fn answer_everything(mut store: Store) {
    while let Some(heard) = store.hear().await {
        let session = heard.session;
        let answer = match heard.request {
            SessionRequest::BeginHandshake { init, .. } if init.len() % 2 == 0 => {
                StoreToEdge { session, answer: SessionAnswer::ReplyHandshake { payload: init } }
            }
            SessionRequest::BeginHandshake { .. } => StoreToEdge {
                session,
                answer: SessionAnswer::RefuseHandshake {
                    reason: RegistrationRefusal::Handshake(HandshakeError::NoIdentity),
                },
            },
            SessionRequest::FinishHandshake { material } if material.len() % 2 == 0 => StoreToEdge {
                session,
                answer: SessionAnswer::RefuseHandshake {
                    reason: RegistrationRefusal::Handshake(HandshakeError::InvalidSignature),
                },
            },
            SessionRequest::AuthenticateClient { .. } if session.0.is_multiple_of(3) => StoreToEdge {
                session,
                answer: SessionAnswer::RefuseAuthentication {
                    reason: AuthenticationRefusal::Login(LoginError::NotProven),
                },
            },
            SessionRequest::FinishHandshake { .. } | SessionRequest::AuthenticateClient { .. } => attach(session),
            _ => continue,
        };
        store.say(&[answer]).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_a_client_sends_ends_the_process(dialogues in proptest::collection::vec(proptest::collection::vec(sent(), 0..12), 1..4)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (mut gateway, store) = Gateway::start(config()).await;
            let store = tokio::spawn(answer_everything(store));
            for dialogue in dialogues {
                let mut client = gateway.connect().await;
                for sent in dialogue {
                    match sent {
                        Sent::Text(text) => client.text(text).await,
                        Sent::Binary(bytes) => client.binary(&bytes).await,
                        Sent::Sealed(plaintext) => client.binary(&frame::seal(&key(), &plaintext)).await,
                        Sent::Control(opcode, payload) => client.send(opcode, &payload).await,
                        Sent::Login => client.text(authenticate()).await,
                    }
                }
                client.close(1000).await;
                while client.hear().await != Heard::End {}
            }
            while let Ok(report) = gateway.reports.try_recv() {
                assert_eq!(report, WorkerReport::LoopTurns);
            }
            gateway.drain().await;
            store.await.unwrap();
        });
    }
}
