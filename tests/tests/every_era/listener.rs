//! An attacker who listens to the connections of a client has every login that the client sent.

use anyhow::{Context, Result};
use client_wire::token::{GcmSivToken, SignedLogin};
use harness::{
    account::{Account, fresh_time, now},
    client::Client,
    connection::Connection,
    deadline::bounded,
    era::Era,
    scene::Scene,
};
use wire::packet::PacketSize;

use crate::{log_in, register, register_as, send_today, words::words};

/// What a listener makes of a signed login: what it sealed, as a token of version 3.
fn token_text(login: &SignedLogin) -> String {
    let claim = &login.claim;
    let token = GcmSivToken { address: claim.identity, enc_address: claim.address_ciphertext, nonce: claim.nonce };
    token.to_request(Some(3)).to_string()
}

async fn expect_no_login(scene: &Scene, text: &str) -> Result<()> {
    const NO: &str =
        r#"{"type":"authenticate","protocol_version":3,"status":false,"bandwidth_remaining":0,"upgrade_mode":false}"#;
    let mut thief = scene.connection().await?;
    thief.send_text(text).await?;
    thief.expect_text(NO).await?;
    thief.wait_for_end().await?;
    Ok(())
}

async fn log_in_with(scene: &Scene, account: &Account, login: &SignedLogin) -> Result<Client<Account>> {
    let mut connection = scene.connection().await?;
    connection.send_text(login.to_request().to_string()).await?;
    connection.expect_text(words(account.era).authenticate).await?;
    Ok(Client::new(account.clone(), connection))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_signed_login_sealed_is_no_login_of_version_3() -> Result<()> {
    bounded(async {
        let mut scene = Scene::start().await?;
        // A client that registered with version 3 and has signed its logins since.
        let updated = register(&scene, Era::Version(3)).await?.leave().await?;
        let updated = Account { era: Era::Version(4), ..updated };
        let account = register(&scene, Era::TODAY).await?.leave().await?;
        // Of this one the gateway never reads a login: its clock is wrong.
        let unread = register(&scene, Era::TODAY).await?.leave().await?.signed_login(now() - 1_000)?;
        let mut heard = vec![unread];
        for account in [&updated, &account] {
            let login = account.signed_login(fresh_time())?;
            log_in_with(&scene, account, &login).await?.leave().await?;
            heard.push(login);
        }
        for restart in [false, true] {
            if restart {
                scene.gateway.kill_supervisor().await?;
                scene.start_again().await?;
            }
            let stored = send_today(&mut scene, &account, PacketSize::Regular).await?;
            scene.mixnode.wait_for_acks(std::slice::from_ref(&stored)).await?;
            for login in &heard {
                expect_no_login(&scene, &token_text(login)).await?;
            }
            let mut client = log_in(&scene, &account).await?;
            // What came before the gateway was killed may come once more.
            client.messages_until(&stored.message).await?;
            client.leave().await?;
        }
        // A registration with an older version, which the client signs, lets it log in as that again.
        let older = register_as(&scene, Era::Version(3), &updated.identity).await?.leave().await?;
        log_in(&scene, &older).await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_key_ends_the_session_of_a_token_at_once() -> Result<()> {
    bounded(async {
        let mut scene = Scene::start().await?;
        for era in [Era::Of2021, Era::Version(2), Era::Version(3)] {
            let account = register(&scene, era).await?.leave().await?;
            let mut thief = log_in(&scene, &account).await?;
            let owner = register_as(&scene, era, &account.identity).await.with_context(|| format!("{era}"))?;
            expect_end(&mut thief.connection).await?;
            owner.leave().await?;
        }
        let account = register(&scene, Era::Version(3)).await?.leave().await?;
        let mut thief = log_in(&scene, &account).await?;
        let account = Account { era: Era::Version(4), ..account };
        let owner = log_in_with(&scene, &account, &account.signed_login(now())?).await?;
        expect_end(&mut thief.connection).await?;
        owner.leave().await?;
        scene.gateway.expect_counted(&[("store", "superseded", 4)]).await
    })
    .await
}

async fn expect_end(connection: &mut Connection) -> Result<()> {
    connection.wait_for_end().await?;
    Ok(())
}
