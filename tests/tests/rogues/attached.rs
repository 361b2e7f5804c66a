//! Clients of every era that are connected while a worker is taken over to which they have no connection.

use anyhow::{Context, Result};
use harness::{
    client::{Account, Client, Era, Identity},
    gateway::Gateway,
};

/// One of each era.
pub(crate) async fn attached_clients(gateway: &Gateway) -> Result<Vec<Client<Account>>> {
    let mut attached = Vec::new();
    for era in Era::ALL {
        attached.push(Client::register_in(era, &Identity::random(), gateway.clients, &gateway.identity).await?);
    }
    Ok(attached)
}

/// All still have the session that they had, and were told nothing.
pub(crate) async fn ensure_all_are_attached(clients: &mut [Client<Account>]) -> Result<()> {
    for client in clients {
        let era = client.credentials.era;
        client.connection.expect_quiet_and_open().await.with_context(|| format!("a client of {era}"))?;
        client.connection.send_text(r#"{"type":"supportedProtocol"}"#).await?;
        client.next_text().await.with_context(|| format!("a client of {era}"))?;
    }
    Ok(())
}
