//! One gateway, one port, clients of every era at the same time: each is let in as its protocol has it, gets its mail
//! from senders of any era, and sends packets that mix nodes of its era understand.

mod again;
mod at_once;
mod comeback;
mod entry;
mod listener;
mod packets;
mod reflection;
mod words;

use anyhow::{Context, Result, ensure};
use client_wire::token::SignedLogin;
use harness::{
    account::{Account, Identity},
    client::Client,
    era::Era,
    packet::FinalHopPacket,
    packet_today::PacketMakerToday,
    scene::Scene,
};
use wire::{framing::Framing, packet::PacketSize};

const NEWEST_SPHINX: u16 = 260;

type Someone = Client<Account>;

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

/// Sends a login, which must be refused with a text that begins so, and the connection must end.
async fn expect_refused(scene: &Scene, login: &SignedLogin, words: &str) -> Result<()> {
    let mut connection = scene.connection().await?;
    connection.send_text(login.to_request().to_string()).await?;
    let answer = connection.next_text().await?;
    ensure!(answer.starts_with(words), "expected {words}, not {answer}");
    connection.wait_for_end().await?;
    Ok(())
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
