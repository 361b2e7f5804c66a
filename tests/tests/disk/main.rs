//! A disk that is full, that is the gateway's share of it and no more, and that cannot be written to: what is new is refused in so
//! many words, what is there is served, nothing that was acknowledged is lost, and service resumes by itself.

mod failing;
mod full;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{
    client::{Account, Client, Era, Identity, Registration},
    connection::Connection,
    deadline,
    packet::{FinalHopPacket, expect_in_order},
    scene::Scene,
};
use wire::packet::PacketSize;

const BEFORE_RETRY: Duration = Duration::from_millis(100);

async fn register(scene: &Scene, era: Era) -> Result<Client<Account>> {
    Client::register_in(era, &Identity::random(), scene.gateway.clients, &scene.gateway.identity).await
}

/// Logs in, however often it takes: the first attempt may be the one that finds out that the disk is full.
async fn log_in(scene: &Scene, account: &Account) -> Result<Client<Account>> {
    deadline::at_last("a client to be let in", || Client::log_in(account, scene.gateway.clients)).await
}

/// Registers, however often it takes: another attempt may find another thread whose first sync fails.
async fn register_at_last(scene: &Scene, era: Era) -> Result<Client<Account>> {
    deadline::at_last("a client to be registered", || register(scene, era)).await
}

/// Sends until a packet is acknowledged.
async fn until_acked(scene: &mut Scene, account: &Account, sent: &mut Vec<FinalHopPacket>) -> Result<()> {
    for _ in 0..100 {
        let packet = scene.send(account.address(), PacketSize::Regular).await?;
        sent.push(packet.clone());
        let acked = deadline::until(BEFORE_RETRY, "an ack", || scene.mixnode.has_ack(&packet)).await;
        if acked.is_ok() {
            return Ok(());
        }
    }
    anyhow::bail!("nothing is acknowledged any more")
}

/// Everything that was acknowledged comes, in order; what was not may come, too.
async fn expect_acked(scene: &Scene, client: &mut Client<Account>, sent: &[FinalHopPacket]) -> Result<()> {
    let acked: Vec<_> = sent.iter().filter(|packet| scene.mixnode.has_ack(packet)).cloned().collect();
    let last = acked.last().context("nothing was acknowledged")?;
    let mut received = client.messages_until(&last.message).await?;
    received.retain(|message| acked.iter().any(|packet| packet.message == *message));
    expect_in_order(&received, &acked)
}

fn count(scene: &Scene, words: &str) -> usize {
    scene.gateway.log().lines().iter().filter(|line| line.contains(words)).count()
}

/// A new client is refused, and told the reason.
async fn expect_refused_registration(scene: &Scene, era: Era) -> Result<()> {
    let mut connection = Connection::open(scene.gateway.clients).await?;
    let registration = Registration::of(era, Identity::random());
    let refused = match registration.shake_hands(&mut connection, &scene.gateway.identity).await {
        Ok(_) => connection.next_text().await?,
        Err(error) => format!("{error:#}"),
    };
    ensure!(refused.contains("could not write"), "a client of {era} was told: {refused}");
    Ok(())
}
