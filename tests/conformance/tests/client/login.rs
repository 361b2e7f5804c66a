//! Registration, login, and who is let in when somebody is already there.

use anyhow::{Context, Result, ensure};
use conformance::{
    client::Client,
    deadline::{self, bounded},
    gateway::Gateway,
};
use nym_gateway_client::error::GatewayClientError;
use nym_gateway_requests::{CURRENT_PROTOCOL_VERSION, registration::handshake::error::HandshakeError};

/// What a gateway says to the second of two clients with one identity.
const TAKEN: &str = "There is already an open connection to this client";

#[tokio::test(flavor = "multi_thread")]
async fn a_client_asks_for_the_protocol_and_registers_with_the_newest() -> Result<()> {
    bounded(async {
        let gateway = Gateway::start().await?;
        let mut client = Client::new(&gateway)?;
        client.inner().establish_connection().await?;
        let protocol = client.inner().get_gateway_protocol().await?;
        ensure!(protocol == CURRENT_PROTOCOL_VERSION, "the gateway speaks version {protocol}");
        client.enter().await?;
        // It may ask again at any time.
        let protocol = client.inner().get_gateway_protocol().await?;
        ensure!(protocol == CURRENT_PROTOCOL_VERSION, "the gateway now speaks version {protocol}");
        client.log_in().await?;
        client.prove_working().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_logs_in_with_the_key_of_its_registration() -> Result<()> {
    bounded(async {
        let gateway = Gateway::start().await?;
        let mut first = Client::registered(&gateway).await?;
        first.prove_working().await?;
        // It hangs up in good order.
        first.inner().close_connection().await?;
        let mut second = first.again(&gateway)?;
        second.log_in().await?;
        second.prove_working().await?;
        // It is gone without a word.
        second.inner().disconnect().await?;
        let mut third = second.again(&gateway)?;
        third.log_in().await?;
        third.prove_working().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hangs_up_comes_back_on_its_own_object() -> Result<()> {
    bounded(async {
        let gateway = Gateway::start().await?;
        let mut client = Client::registered(&gateway).await?;
        client.inner().disconnect().await?;
        deadline::soon("the client to come back", client.inner().try_reconnect()).await??;
        client.prove_working().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_registration_replaces_the_key() -> Result<()> {
    bounded(async {
        let gateway = Gateway::start().await?;
        let mut first = Client::registered(&gateway).await?;
        first.inner().disconnect().await?;
        let mut second = first.without_shared_key(&gateway)?;
        second.log_in().await?;
        second.prove_working().await?;
        second.inner().disconnect().await?;

        let refused = first.again(&gateway)?.log_in().await;
        ensure!(refused.is_err(), "the old key is still good");
        let mut third = second.again(&gateway)?;
        third.log_in().await?;
        third.prove_working().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_login_is_refused_while_the_first_session_lives() -> Result<()> {
    bounded(async {
        let gateway = Gateway::start().await?;
        let mut first = Client::registered(&gateway).await?;
        let refusal = first.again(&gateway)?.log_in().await.err().context("two sessions of one client")?;
        match refusal.downcast_ref() {
            Some(GatewayClientError::GatewayError(message)) => {
                ensure!(message.contains(TAKEN), "refused with: {message}")
            }
            _ => return Err(refusal.context("the client did not understand the refusal")),
        }
        first.prove_working().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_registration_is_refused_while_the_first_lives() -> Result<()> {
    bounded(async {
        let gateway = Gateway::start().await?;
        let mut first = Client::registered(&gateway).await?;
        let mut second = first.without_shared_key(&gateway)?;
        let refusal = second.log_in().await.err().context("two sessions of one client")?;
        match refusal.downcast_ref() {
            Some(
                GatewayClientError::RegistrationFailure(HandshakeError::RemoteError(message))
                | GatewayClientError::GatewayError(message),
            ) => ensure!(message.contains(TAKEN), "refused with: {message}"),
            _ => return Err(refusal.context("the client did not understand the refusal")),
        }
        first.prove_working().await?;
        // Nothing has changed: the first key is good.
        first.inner().disconnect().await?;
        let mut third = first.again(&gateway)?;
        third.log_in().await?;
        third.prove_working().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_shows_no_life_makes_way() -> Result<()> {
    bounded(async {
        let gateway = Gateway::start().await?;
        let mut first = Client::new(&gateway)?;
        // It never reads its connection, so it answers no Ping.
        first.enter().await?;
        let mut second = first.again(&gateway)?;
        second.log_in().await?;
        second.prove_working().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_not_registered_is_told_so() -> Result<()> {
    bounded(async {
        let gateway = Gateway::start().await?;
        let elsewhere = Gateway::start().await?;
        let registered_elsewhere = Client::registered(&elsewhere).await?;
        let refusal = registered_elsewhere.again(&gateway)?.log_in().await.err().context("a stranger was let in")?;
        match refusal.downcast_ref() {
            Some(GatewayClientError::GatewayError(message)) => {
                ensure!(message.contains("not registered"), "refused with: {message}");
                Ok(())
            }
            _ => Err(refusal.context("the client did not understand the refusal")),
        }
    })
    .await
}
