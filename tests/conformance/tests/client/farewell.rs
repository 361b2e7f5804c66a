//! A client that wants to be forgotten is, and one that wants to be remembered is told so.

use anyhow::{Context, Result, bail, ensure};
use conformance::{client::Client, deadline::bounded, gateway::Gateway};
use nym_gateway_client::error::GatewayClientError;
use nym_gateway_requests::{ClientRequest, SensitiveServerResponse, ServerResponse};
use nym_sphinx::params::PacketSize;
use nym_statistics_common::types::SessionType;

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_asks_for_it_is_forgotten_with_its_mail() -> Result<()> {
    bounded(async {
        let gateway = Gateway::start().await?;
        let mut sender = Client::registered(&gateway).await?;
        let mut client = Client::new(&gateway)?;
        client.enter().await?;
        // It does not read its connection, so this stays in its inbox.
        let acks = sender.send(&client.address(), b"never read", PacketSize::RegularPacket).await?;
        sender.expect_acks(&acks).await?;

        let answer = ask(&mut client, ClientRequest::ForgetMe { client: true, stats: false }).await?;
        ensure!(matches!(answer, SensitiveServerResponse::ForgetMeAck {}), "the answer is {answer:?}");
        client.inner().close_connection().await?;

        let refusal = client.again(&gateway)?.log_in().await.err().context("it is still known")?;
        match refusal.downcast_ref() {
            Some(GatewayClientError::GatewayError(message)) => {
                ensure!(message.contains("not registered"), "refused with: {message}")
            }
            _ => return Err(refusal.context("the client did not understand the refusal")),
        }

        let mut newcomer = client.without_shared_key(&gateway)?;
        newcomer.log_in().await?;
        // The first thing that comes is new.
        newcomer.prove_working().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_whose_statistics_are_to_be_forgotten_stays() -> Result<()> {
    bounded(async {
        let gateway = Gateway::start().await?;
        let mut client = Client::registered(&gateway).await?;
        let answer = ask(&mut client, ClientRequest::ForgetMe { client: false, stats: true }).await?;
        ensure!(matches!(answer, SensitiveServerResponse::ForgetMeAck {}), "the answer is {answer:?}");
        client.prove_working().await?;
        client.inner().close_connection().await?;
        let mut again = client.again(&gateway)?;
        again.log_in().await?;
        again.prove_working().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_wants_to_be_remembered_is_told_so() -> Result<()> {
    bounded(async {
        let gateway = Gateway::start().await?;
        let mut client = Client::registered(&gateway).await?;
        let answer = ask(&mut client, ClientRequest::RememberMe { session_type: SessionType::Mixnet }).await?;
        ensure!(matches!(answer, SensitiveServerResponse::RememberMeAck {}), "the answer is {answer:?}");
        client.prove_working().await
    })
    .await
}

/// Sends a sealed request, and opens the answer.
async fn ask(client: &mut Client, request: ClientRequest) -> Result<SensitiveServerResponse> {
    let key = client.shared_key()?;
    let request = request.encrypt(&key)?;
    match client.inner().send_websocket_message_with_non_send_response(request).await? {
        ServerResponse::EncryptedResponse { ciphertext, nonce } => {
            Ok(SensitiveServerResponse::decrypt(&ciphertext, &nonce, &key)?)
        }
        other => bail!("the answer is {other:?}"),
    }
}
