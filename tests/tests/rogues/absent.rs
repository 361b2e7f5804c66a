//! Clients of every era that are not connected while a worker is taken over, and their mail.

use anyhow::{Result, ensure};
use harness::{
    account::Account,
    client::{Client, Era, Identity},
    gateway::Gateway,
    home::Home,
    scene::Scene,
};
use nix::sys::signal::Signal;

/// Each of them has so many.
pub(crate) const MESSAGES: usize = 5;

/// A client that is not connected, and its mail.
pub(crate) struct Absent {
    pub(crate) account: Account,
    pub(crate) mail: Vec<Vec<u8>>,
}

/// One of each era, in the inboxes of a gateway that has stopped.
pub(crate) async fn absent_clients() -> Result<(Home, Vec<Absent>)> {
    let mut scene = Scene::start().await?;
    let (port, identity) = (scene.gateway.clients, scene.gateway.identity);
    let mut absent = Vec::new();
    for era in Era::ALL {
        let account = Client::register_in(era, &Identity::random(), port, &identity).await?.leave().await?;
        let sent = scene.send_many(account.address(), MESSAGES).await?;
        scene.mixnode.wait_for_acks(&sent).await?;
        absent.push(Absent { account, mail: sent.into_iter().map(|packet| packet.message).collect() });
    }
    ensure!(scene.gateway.stop(Signal::SIGTERM).await?.success());
    Ok((scene.gateway.home, absent))
}

/// Everybody gets what they were sent.
pub(crate) async fn ensure_all_mail_is_there(gateway: &Gateway, absent: &[Absent]) -> Result<()> {
    for Absent { account, mail } in absent {
        let mut client = Client::log_in(account, gateway.clients).await?;
        ensure!(client.next_messages(mail.len()).await? == *mail, "mail of a client of {} is lost", account.era);
    }
    Ok(())
}
