//! The gateway meters nothing: each client that claims bandwidth gets it, and no credentials are taken.

use anyhow::{Context, Result, ensure};
use conformance::{client::Client, deadline::bounded, gateway::Gateway};
use nym_bandwidth_controller::mock::MockBandwidthController;
use nym_gateway_client::error::GatewayClientError;

#[tokio::test(flavor = "multi_thread")]
async fn bandwidth_is_free_and_does_not_run_out() -> Result<()> {
    bounded(async {
        let gateway = Gateway::start().await?;
        let mut client = Client::new(&gateway)?;
        client.log_in().await?;
        let claimed = client.inner().remaining_bandwidth();
        ensure!(claimed == 64 << 30, "{claimed} bytes were given");
        client.prove_working().await?;
        let remaining = client.inner().remaining_bandwidth();
        ensure!(remaining == claimed, "{remaining} of {claimed} bytes remain");

        // A login gives as much as a claim: this client need not claim again.
        client.inner().close_connection().await?;
        let mut again = client.again(&gateway)?;
        again.enter().await?;
        let remaining = again.inner().remaining_bandwidth();
        ensure!(remaining == claimed, "{remaining} bytes are left after a login");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_refused_in_words_and_nothing_else_happens() -> Result<()> {
    bounded(async {
        let gateway = Gateway::start().await?;
        let mut client = Client::that_pays(&gateway, Box::new(MockBandwidthController::default()))?;
        client.enter().await?;
        let refusal = client.inner().claim_bandwidth().await.err().context("a ticket was taken")?;
        understood(refusal)?;
        // The connection is as it was.
        client.inner().get_gateway_protocol().await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_token_is_refused_and_the_session_goes_on() -> Result<()> {
    bounded(async {
        let gateway = Gateway::start().await?;
        let mut client = Client::registered(&gateway).await?;
        let sent = client.inner().send_upgrade_mode_jwt("a.b.c".to_owned()).await;
        understood(sent.err().context("a token was taken")?)?;
        client.prove_working().await
    })
    .await
}

/// The client has to take it for a refusal by the gateway, and not for a fault.
fn understood(refusal: GatewayClientError) -> Result<()> {
    match refusal {
        GatewayClientError::GatewayError(message) => {
            ensure!(!message.is_empty(), "refused without words");
            Ok(())
        }
        other => Err(other).context("the client did not understand the refusal"),
    }
}
