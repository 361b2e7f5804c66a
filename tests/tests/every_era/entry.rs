//! Which clients are let in, and which are refused.

use anyhow::{Result, ensure};
use client_wire::token::SignedLogin;
use harness::{
    account::{Account, Identity, Registration, now},
    client::Client,
    deadline::bounded,
    era::Era,
    scene::Scene,
};
use nix::sys::signal::Signal;

use crate::{
    expect_refused, log_in, register,
    words::{ERROR_NOT_NEWER, SUPPORTED, words},
};

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
        let (_, finish) = registration.finish(&harness::era::handshake_data(&answer)?, &scene.gateway.identity)?;
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

async fn expect_let_in(scene: &Scene, account: &Account, login: &SignedLogin) -> Result<()> {
    let mut connection = scene.connection().await?;
    connection.send_text(login.to_request().to_string()).await?;
    connection.expect_text(words(account.era).authenticate).await?;
    Client::new(account.clone(), connection).leave().await?;
    Ok(())
}

/// The signer must be registered with this very key.
#[tokio::test(flavor = "multi_thread")]
async fn a_signed_login_must_be_timely_and_by_a_registered_key() -> Result<()> {
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
