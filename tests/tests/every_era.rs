//! One gateway, one port, clients of every era at the same time: each is let in as its protocol has it, gets its mail
//! whoever sent it, and sends packets that mix nodes of its era understand.

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use proto::wire::{
    client::{
        control::sealed::{SensitiveRequest, SensitiveResponse, SessionType},
        token::SignedLogin,
    },
    framing::Framing,
    packet::{KeyRotation, PacketSize, PacketType},
};
use tests::{
    account::{Account, Identity, Registration, now},
    client::Client,
    connection::Connection,
    deadline::bounded,
    era::Era,
    gateway::{Gateway, IPV4},
    home::Home,
    mixnode::FRAMING_2021,
    packet::{FinalHopPacket, SIZES_2021, expect_in_order},
    packet_today::{PacketMakerToday, SIZES_TODAY, SPHINX_VERSIONS},
    scene::Scene,
};

type Someone = Client<Account>;

const NEWEST_SPHINX: u16 = 260;

const ERROR_NOT_NEWER: &str =
    r#"{"type":"error","message":"the provided request timestamp is smaller or equal to one previously used"}"#;
const ERROR_DUPLICATE: &str = r#"{"type":"error","message":"There is already an open connection to this client"}"#;
const SUPPORTED: &str = r#"{"type":"supportedProtocol","version":6}"#;

/// What the gateway must write to a client of this era, word for word.
struct Words {
    register: &'static str,
    authenticate: &'static str,
    send: &'static str,
    duplicate_login: &'static str,
    duplicate_registration: &'static str,
}

fn words(era: Era) -> Words {
    match era {
        Era::Of2021 => Words {
            register: r#"{"type":"register","status":true}"#,
            authenticate: r#"{"type":"authenticate","status":true}"#,
            send: r#"{"type":"send","status":true}"#,
            duplicate_login: r#"{"type":"error","message":"Authentication failure - duplicate connection detected"}"#,
            duplicate_registration: r#"{"type":"error","message":"Registration failure - duplicate connection detected"}"#,
        },
        Era::Version(2) => Words {
            register: r#"{"type":"register","protocol_version":2,"status":true}"#,
            authenticate: r#"{"type":"authenticate","protocol_version":2,"status":true,"bandwidth_remaining":68719476736}"#,
            send: r#"{"type":"send","status":true,"remaining_bandwidth":68719476736}"#,
            ..words(Era::Of2021)
        },
        Era::Version(number) => {
            let (register, authenticate) = match number {
                3 => (
                    r#"{"type":"register","protocol_version":3,"status":true,"upgrade_mode":false}"#,
                    r#"{"type":"authenticate","protocol_version":3,"status":true,"bandwidth_remaining":68719476736,"upgrade_mode":false}"#,
                ),
                4 => (
                    r#"{"type":"register","protocol_version":4,"status":true,"upgrade_mode":false}"#,
                    r#"{"type":"authenticate","protocol_version":4,"status":true,"bandwidth_remaining":68719476736,"upgrade_mode":false}"#,
                ),
                5 => (
                    r#"{"type":"register","protocol_version":5,"status":true,"upgrade_mode":false}"#,
                    r#"{"type":"authenticate","protocol_version":5,"status":true,"bandwidth_remaining":68719476736,"upgrade_mode":false}"#,
                ),
                _ => (
                    r#"{"type":"register","protocol_version":6,"status":true,"upgrade_mode":false}"#,
                    r#"{"type":"authenticate","protocol_version":6,"status":true,"bandwidth_remaining":68719476736,"upgrade_mode":false}"#,
                ),
            };
            Words {
                register,
                authenticate,
                send: r#"{"type":"send","remaining_bandwidth":68719476736,"upgrade_mode":false}"#,
                duplicate_login: ERROR_DUPLICATE,
                duplicate_registration: r#"{"type":"handshakeError","message":"There is already an open connection to this client"}"#,
            }
        }
    }
}

async fn register(scene: &Scene, era: Era) -> Result<Someone> {
    register_as(scene, era, &Identity::random()).await
}

async fn register_as(scene: &Scene, era: Era, identity: &Identity) -> Result<Someone> {
    let (gateway, key) = (scene.gateway.clients, &scene.gateway.identity);
    Client::register_in(era, identity, gateway, key).await.with_context(|| format!("a client of {era}"))
}

async fn log_in(scene: &Scene, account: &Account) -> Result<Someone> {
    Client::log_in(account, scene.gateway.clients).await.with_context(|| format!("a client of {}", account.era))
}

fn packets_today(scene: &Scene) -> PacketMakerToday {
    PacketMakerToday::like(scene.packets(), NEWEST_SPHINX)
}

/// What nodes of today send, with the header of version 7.
async fn send_today(scene: &mut Scene, to: &Account, size: PacketSize) -> Result<FinalHopPacket> {
    let packet = packets_today(scene).make(to.address(), size)?;
    scene.sender.send_framed(Framing::V7, size, &packet.packet).await?;
    Ok(packet)
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_registers_and_logs_in_on_one_port() -> Result<()> {
    bounded(async {
        let scene = Scene::start().await?;
        let mut everybody = Vec::new();
        for era in Era::ALL {
            let mut connection = scene.connection().await?;
            let registration = Registration::of(era, Identity::random());
            let account = registration.shake_hands(&mut connection, &scene.gateway.identity).await?;
            connection.expect_text(words(era).register).await?;
            Client::new(account.clone(), connection).leave().await?;

            let mut connection = scene.connection().await?;
            connection.send_text(account.login_text()).await?;
            connection.expect_text(words(era).authenticate).await?;
            everybody.push(connection);
        }
        for connection in &mut everybody {
            connection.expect_quiet_and_open().await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_answered_in_a_later_version_than_the_newest() -> Result<()> {
    bounded(async {
        let scene = Scene::start().await?;
        let mut connection = scene.connection().await?;
        let registration = Registration::of(Era::Version(48), Identity::random());
        connection.send_text(registration.init_text()).await?;
        let answer = connection.next_text().await?;
        ensure!(answer.starts_with(r#"{"type":"handshakePayload","protocol_version":6,"data":["#), "{answer}");
        let (_, finish) = registration.finish(&tests::era::handshake_data(&answer)?, &scene.gateway.identity)?;
        connection.send_text(Era::Version(48).handshake_text(&finish)).await?;
        connection.expect_text(r#"{"type":"handshakePayload","protocol_version":6,"data":[1]}"#).await?;
        connection.expect_text(words(Era::TODAY).register).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_protocol_is_told_before_and_after_authentication() -> Result<()> {
    bounded(async {
        const ASK: &str = r#"{"type":"supportedProtocol"}"#;
        let scene = Scene::start().await?;
        let mut connection = scene.connection().await?;
        for _ in 0..3 {
            connection.send_text(ASK).await?;
            connection.expect_text(SUPPORTED).await?;
        }
        let registration = Registration::of(Era::TODAY, Identity::random());
        registration.shake_hands(&mut connection, &scene.gateway.identity).await?;
        connection.expect_text(words(Era::TODAY).register).await?;
        for _ in 0..2 {
            connection.send_text(ASK).await?;
            connection.expect_text(SUPPORTED).await?;
        }
        connection.expect_quiet_and_open().await
    })
    .await
}

/// Sends a login, which must be refused with a text that begins so, and the connection must end.
async fn expect_refused(scene: &Scene, login: &SignedLogin, words: &str) -> Result<()> {
    let mut connection = scene.connection().await?;
    connection.send_text(login.to_request().to_string()).await?;
    let answer = connection.next_text().await?;
    ensure!(answer.starts_with(words), "expected {words}, not {answer}");
    connection.wait_for_end().await?;
    Ok(())
}

async fn expect_let_in(scene: &Scene, account: &Account, login: &SignedLogin) -> Result<()> {
    let mut connection = scene.connection().await?;
    connection.send_text(login.to_request().to_string()).await?;
    connection.expect_text(words(account.era).authenticate).await?;
    Client::new(account.clone(), connection).leave().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_login_must_be_timely_and_signed_by_somebody_registered_with_this_key() -> Result<()> {
    bounded(async {
        const SKEWED: &str = r#"{"type":"error","message":"the provided request timestamp is excessively skewed. got "#;
        const BAD_SIGNATURE: &str = r#"{"type":"error","message":"failed to verify request signature"}"#;
        const UNKNOWN: &str = r#"{"type":"error","message":"the client is not registered"}"#;
        const WRONG_KEY: &str = r#"{"type":"error","message":"failed to verify provided address ciphertext"}"#;
        let scene = Scene::start().await?;
        for era in [4, 5, 6].map(Era::Version) {
            let account = register(&scene, era).await?.leave().await?;
            // A few seconds more than the limit: the test's clock goes on meanwhile.
            for time in [0, now() - 140, now() + 140, u64::MAX] {
                expect_refused(&scene, &account.signed_login(time)?, SKEWED).await?;
            }
            let mut forged = account.signed_login(now())?;
            forged.signature[5] ^= 1;
            expect_refused(&scene, &forged, BAD_SIGNATURE).await?;
            let mut altered = account.signed_login(now())?;
            altered.claim.timestamp += 1;
            expect_refused(&scene, &altered, BAD_SIGNATURE).await?;
            let stranger = Account::imaginary(Identity::random(), era);
            expect_refused(&scene, &stranger.signed_login(now())?, UNKNOWN).await?;
            let wrong = Account::imaginary(account.identity.clone(), era);
            expect_refused(&scene, &wrong.signed_login(now())?, WRONG_KEY).await?;
            // None of this has spent anything.
            for time in [now() - 100, now() + 100] {
                expect_let_in(&scene, &account, &account.signed_login(time)?).await?;
            }
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_of_any_version_is_good_for_once_and_for_good() -> Result<()> {
    bounded(async {
        let mut scene = Scene::start().await?;
        let account = register(&scene, Era::TODAY).await?.leave().await?;
        let time = now();
        let login = account.signed_login(time)?;
        expect_let_in(&scene, &account, &login).await?;
        let of_version_3 = register(&scene, Era::Version(3)).await?.leave().await?;
        let text = of_version_3.login_text();
        let mut connection = scene.connection().await?;
        connection.send_text(&text).await?;
        connection.expect_text(words(Era::Version(3)).authenticate).await?;
        Client::new(of_version_3.clone(), connection).leave().await?;

        for restart in [false, true] {
            if restart {
                scene.gateway.stop(Signal::SIGTERM).await?;
                scene.start_again().await?;
            }
            for spent in [login, account.signed_login(time)?, account.signed_login(time - 1)?] {
                expect_refused(&scene, &spent, ERROR_NOT_NEWER).await?;
            }
            let mut thief = scene.connection().await?;
            thief.send_text(&text).await?;
            thief
                .expect_text(
                    r#"{"type":"authenticate","protocol_version":3,"status":false,"bandwidth_remaining":0,"upgrade_mode":false}"#,
                )
                .await?;
            thief.wait_for_end().await?;
        }
        expect_let_in(&scene, &account, &account.signed_login(time + 1)?).await?;
        log_in(&scene, &of_version_3).await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_of_clients_leave_with_the_header_of_their_era() -> Result<()> {
    bounded(async {
        let scene = Scene::start().await?;
        for era in Era::ALL {
            let mut client = register(&scene, era).await?;
            let marks: &[_] = match era {
                Era::Of2021 | Era::Version(2) => &[None],
                Era::Version(_) => &[None, Some(KeyRotation::Unknown), Some(KeyRotation::Odd), Some(KeyRotation::Even)],
            };
            let sizes = if era == Era::Of2021 { &SIZES_2021[..] } else { &SIZES_TODAY };
            for (size, mark) in sizes.iter().flat_map(|size| marks.iter().map(move |mark| (*size, *mark))) {
                let packet = packets_today(&scene).make(Identity::random().address(), size)?.packet;
                let answer = client.forward_for_answer(scene.mixnode.address, &packet, mark).await?;
                ensure!(answer == words(era).send, "{era}: {answer}");
                let frame = scene.mixnode.wait_for_packet(&packet).await?;
                let header = match era {
                    Era::Of2021 => vec![size.code(), 0],
                    Era::Version(_) => vec![7, size.code(), 0],
                };
                ensure!(frame.header == header, "{era}, {size:?}, {mark:?} left with {:?}", frame.header);
            }
        }
        ensure!(scene.mixnode.faults().is_empty());
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ack_leaves_as_its_packet_came_whoever_is_the_recipient() -> Result<()> {
    bounded(async {
        let mut scene = Scene::start().await?;
        let mut clients = Vec::new();
        for era in [Era::Of2021, Era::Version(3), Era::TODAY] {
            clients.push(register(&scene, era).await?);
        }
        for client in &mut clients {
            for (framing, header) in [
                (FRAMING_2021, &[2, 0][..]),
                (Framing::Unversioned(PacketType::Vpn), &[2, 1]),
                (Framing::V7, &[7, 2, 0]),
                (Framing::V8(KeyRotation::Unknown), &[8, 2, 0, 0]),
                (Framing::V8(KeyRotation::Odd), &[8, 2, 0, 1]),
                (Framing::V8(KeyRotation::Even), &[8, 2, 0, 2]),
            ] {
                let packet = packets_today(&scene).make(client.address(), PacketSize::Regular)?;
                scene.sender.send_framed(framing, packet.size, &packet.packet).await?;
                ensure!(client.next_message().await? == packet.message);
                let ack = packet.surb_ack.context("a regular packet carries an ack")?;
                let frame = scene.mixnode.wait_for_packet(&ack.packet).await?;
                ensure!(frame.header == header, "{framing:?} was acknowledged with {:?}", frame.header);
            }
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_size_and_sphinx_version_arrives_online_and_offline() -> Result<()> {
    bounded(async {
        let mut scene = Scene::start().await?;
        for era in [Era::Of2021, Era::Version(3), Era::TODAY] {
            let mut online = register(&scene, era).await?;
            let offline = register(&scene, era).await?.leave().await?;
            let mut sent = Vec::new();
            for to in [online.address(), offline.address()] {
                for size in SIZES_TODAY {
                    for version in SPHINX_VERSIONS {
                        let packet = PacketMakerToday::like(scene.packets(), version).make(to, size)?;
                        scene.sender.send_framed(Framing::V7, size, &packet.packet).await?;
                        sent.push(packet);
                    }
                    let packet = scene.packets().make(to, size)?;
                    scene.sender.send(&packet).await?;
                    sent.push(packet);
                }
            }
            let (to_online, to_offline) = sent.split_at(sent.len() / 2);
            expect_in_order(&online.next_messages(to_online.len()).await?, to_online)?;
            let acked: Vec<_> = sent.iter().filter(|packet| packet.surb_ack.is_some()).cloned().collect();
            scene.mixnode.wait_for_acks(&acked).await?;
            let mut back = log_in(&scene, &offline).await?;
            expect_in_order(&back.next_messages(to_offline.len()).await?, to_offline)?;
            back.connection.expect_quiet_and_open().await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_different_eras_write_to_each_other() -> Result<()> {
    bounded(async {
        let mut scene = Scene::start().await?;
        let mut of_2021 = register(&scene, Era::Of2021).await?;
        let mut of_today = register(&scene, Era::TODAY).await?;
        for round in 0..4 {
            let (from, to, framing) = match round % 2 {
                0 => (&mut of_2021, &mut of_today, FRAMING_2021),
                _ => (&mut of_today, &mut of_2021, Framing::V7),
            };
            let packet = match round % 2 {
                0 => scene.packets().make(to.address(), PacketSize::Regular)?,
                _ => packets_today(&scene).make(to.address(), PacketSize::Regular)?,
            };
            // The mix node is the only hop; it passes on what it was sent.
            from.forward(scene.mixnode.address, &packet.packet).await?;
            let frame = scene.mixnode.wait_for_packet(&packet.packet).await?;
            scene.sender.send_framed(framing, packet.size, &frame.packet).await?;
            ensure!(to.next_message().await? == packet.message, "in round {round}");
            let ack = packet.surb_ack.context("a regular packet carries an ack")?;
            let ack = scene.mixnode.wait_for_packet(&ack.packet).await?;
            let header = if framing == FRAMING_2021 { &[2, 0][..] } else { &[7, 2, 0] };
            ensure!(ack.header == header, "in round {round}: {:?}", ack.header);
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_outlives_a_change_of_the_kind_of_key() -> Result<()> {
    bounded(async {
        let mut scene = Scene::start().await?;
        for (before, after) in
            [(Era::Of2021, Era::TODAY), (Era::TODAY, Era::Of2021), (Era::Version(3), Era::Version(2))]
        {
            let account = register(&scene, before).await?.leave().await?;
            let mut stored = Vec::new();
            for size in SIZES_TODAY.into_iter().skip(1) {
                stored.push(send_today(&mut scene, &account, size).await?);
            }
            scene.mixnode.wait_for_acks(&stored).await?;
            let mut client = register_as(&scene, after, &account.identity).await?;
            expect_in_order(&client.next_messages(stored.len()).await?, &stored)?;
            let new = send_today(&mut scene, &account, PacketSize::Regular).await?;
            ensure!(client.next_message().await? == new.message);
            client.leave().await?;
            ensure!(log_in(&scene, &account).await.is_err(), "the old key of {before} still opens the door");
        }
        Ok(())
    })
    .await
}

/// Sends a login that must be refused because nobody is registered.
async fn expect_forgotten(scene: &Scene, account: &Account) -> Result<()> {
    let text = r#"{"type":"error","message":"the client is not registered"}"#;
    expect_refused(scene, &account.signed_login(tests::account::fresh_time())?, text).await
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_wants_to_be_forgotten_is() -> Result<()> {
    bounded(async {
        let mut scene = Scene::start().await?;
        let mut client = register(&scene, Era::TODAY).await?;
        let remember = SensitiveRequest::RememberMe { session_type: SessionType::Mixnet };
        ensure!(client.ask_sealed(&remember).await? == SensitiveResponse::RememberMeAck {});
        let stats = SensitiveRequest::ForgetMe { client: false, stats: true };
        ensure!(client.ask_sealed(&stats).await? == SensitiveResponse::ForgetMeAck {});
        let account = client.leave().await?;

        // Mail that is there when its owner leaves for good.
        let stored = send_today(&mut scene, &account, PacketSize::Regular).await?;
        scene.mixnode.wait_for_acks(std::slice::from_ref(&stored)).await?;
        let mut client = log_in(&scene, &account).await?;
        client.connection.answer_pings(false);
        ensure!(client.next_message().await? == stored.message);
        let forget = SensitiveRequest::ForgetMe { client: true, stats: true };
        ensure!(client.ask_sealed(&forget).await? == SensitiveResponse::ForgetMeAck {});
        client.connection.answer_pings(true);

        // The connection goes on.
        client.connection.expect_quiet_and_open().await?;
        let packet = packets_today(&scene).make(Identity::random().address(), PacketSize::Regular)?.packet;
        client.forward(scene.mixnode.address, &packet).await?;
        scene.mixnode.wait_for_packet(&packet).await?;
        client.leave().await?;

        expect_forgotten(&scene, &account).await?;
        scene.gateway.stop(Signal::SIGTERM).await?;
        scene.start_again().await?;
        expect_forgotten(&scene, &account).await?;

        let mut client = register_as(&scene, Era::TODAY, &account.identity).await?;
        let new = send_today(&mut scene, &account, PacketSize::Regular).await?;
        ensure!(client.next_message().await? == new.message, "forgotten mail came again");
        client.connection.expect_quiet_and_open().await?;
        let account = client.leave().await?;
        scene.gateway.stop(Signal::SIGTERM).await?;
        scene.start_again().await?;
        log_in(&scene, &account).await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_double_is_refused_in_the_words_of_its_era_and_takes_over_from_the_dead() -> Result<()> {
    bounded(async {
        let mut scene = Scene::start().await?;
        for era in Era::ALL {
            let mut first = register(&scene, era).await?;
            let account = first.credentials.clone();
            let mut second = scene.connection().await?;
            second.send_text(account.login_text()).await?;
            second.expect_text(words(era).duplicate_login).await.with_context(|| format!("{era}"))?;
            let mut third = scene.connection().await?;
            refused_registration(&scene, &mut third, &account, words(era).duplicate_registration).await?;
            for mut refused in [second, third] {
                match era {
                    Era::Of2021 | Era::Version(2) => refused.expect_quiet_and_open().await?,
                    Era::Version(_) => {
                        refused.wait_for_end().await?;
                    }
                }
            }
            let live = send_today(&mut scene, &account, PacketSize::Regular).await?;
            ensure!(first.next_message().await? == live.message, "the first session of {era} suffered");
            scene.mixnode.wait_for_acks(&[live]).await?;

            first.connection.read_socket(false);
            let mut successor = log_in(&scene, &account).await?;
            first.connection.vanish().await?;
            let new = send_today(&mut scene, &account, PacketSize::Regular).await?;
            let received = successor.messages_until(&new.message).await?;
            ensure!(received.len() == 1, "{} messages came to the successor", received.len());
        }
        Ok(())
    })
    .await
}

/// Registers somebody who is connected.
async fn refused_registration(
    scene: &Scene,
    connection: &mut Connection,
    account: &Account,
    words: &str,
) -> Result<()> {
    let registration = Registration::of(account.era, account.identity.clone());
    connection.send_text(registration.init_text()).await?;
    let answer = tests::era::handshake_data(&connection.next_text().await?)?;
    let (_, finish) = registration.finish(&answer, &scene.gateway.identity)?;
    connection.send_text(account.era.handshake_text(&finish)).await?;
    connection.expect_text(words).await.with_context(|| format!("a second registration of {}", account.era))
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_before_version_3_can_be_told_to_go() -> Result<()> {
    bounded(async {
        let home = Home::init(IPV4).await?;
        home.set_config("protocol", "legacy_clients", "false")?;
        let scene = Scene::around(Gateway::start_in(home, &[]).await?, IPV4).await?;
        let refusal = r#"{"type":"error","message":"this gateway does not serve clients before protocol version 3; update the client or choose another gateway"}"#;
        for era in Era::ALL {
            let registration = Registration::of(era, Identity::random());
            match era {
                Era::Of2021 | Era::Version(2) => {
                    let login = Account::imaginary(Identity::random(), era).login_text();
                    for text in [registration.init_text(), login] {
                        let mut connection = scene.connection().await?;
                        connection.send_text(text).await?;
                        connection.expect_text(refusal).await?;
                        connection.wait_for_end().await?;
                    }
                }
                Era::Version(_) => {
                    let account = register(&scene, era).await?.leave().await?;
                    log_in(&scene, &account).await?;
                }
            }
        }
        Ok(())
    })
    .await
}
