//! Clients that come again: with a key of another kind, as new, twice at once, or too old.

use anyhow::{Context, Result, ensure};
use client_wire::control::sealed::{SensitiveRequest, SensitiveResponse, SessionType};
use harness::{
    account::{Account, Identity, Registration},
    connection::Connection,
    deadline::bounded,
    era::Era,
    gateway::{Gateway, IPV4},
    home::Home,
    packet::expect_in_order,
    packet_today::SIZES_TODAY,
    scene::Scene,
};
use nix::sys::signal::Signal;
use wire::packet::PacketSize;

use crate::{Someone, expect_refused, log_in, packets_today, register, register_as, send_today, words::words};

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
            ensure!(log_in(&scene, &account).await.is_err(), "the old key of {before} is still accepted");
        }
        Ok(())
    })
    .await
}

/// Sends a login that must be refused because the client is not registered.
async fn expect_forgotten(scene: &Scene, account: &Account) -> Result<()> {
    let text = r#"{"type":"error","message":"the client is not registered"}"#;
    expect_refused(scene, &account.signed_login(harness::account::fresh_time())?, text).await
}

/// Everything that takes an account is refused, and nothing is forwarded.
async fn expect_no_account(scene: &Scene, client: &mut Someone) -> Result<()> {
    let text = r#"{"type":"error","message":"the client is not registered"}"#;
    client.connection.send_text(r#"{"type":"claimFreeTestnetBandwidth"}"#).await?;
    client.connection.expect_text(text).await?;
    let remember = SensitiveRequest::RememberMe { session_type: SessionType::Mixnet };
    client.connection.send_text(client.credentials.sealed_text(&remember)?).await?;
    client.connection.expect_text(text).await?;
    let packet = packets_today(scene).make(Identity::random().address(), PacketSize::Regular)?.packet;
    let answer = client.forward_for_answer(scene.mixnode.address, &packet, None).await?;
    ensure!(answer == text, "a packet of a client without an account is answered {answer}");
    // What another client sends afterwards comes, and nothing before it.
    let other = packets_today(scene).make(Identity::random().address(), PacketSize::Regular)?.packet;
    register(scene, Era::TODAY).await?.forward(scene.mixnode.address, &other).await?;
    scene.mixnode.wait_for_packet(&other).await?;
    ensure!(scene.mixnode.frames().iter().all(|frame| frame.packet != packet), "a packet was forwarded");
    Ok(())
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

        // The connection goes on, without an account.
        client.connection.expect_quiet_and_open().await?;
        expect_no_account(&scene, &mut client).await?;
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

/// A double of a live session is refused; a double of a dead one takes over.
#[tokio::test(flavor = "multi_thread")]
async fn a_double_is_refused_in_words_of_its_era_or_replaces_the_dead() -> Result<()> {
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

/// Registers on an open connection.
async fn refused_registration(
    scene: &Scene,
    connection: &mut Connection,
    account: &Account,
    words: &str,
) -> Result<()> {
    let registration = Registration::of(account.era, account.identity.clone());
    connection.send_text(registration.init_text()).await?;
    let answer = harness::era::handshake_data(&connection.next_text().await?)?;
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
