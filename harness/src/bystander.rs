//! An honest client, at another address than the attackers, and how long it waits to be served.
//!
//! Served means all of it: connect, upgrade, log in, and get a message that a mix node sends over a new connection.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use wire::packet::PacketSize;

use crate::{
    client::{Client, Credentials, Identity, shake_hands},
    connection::Connection,
    gateway::{Gateway, IPV4},
    home::Home,
    mixnode::MixSender,
    scene::Scene,
    source,
};

/// The hostile are at 127.0.0.1.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

/// A gateway with the limits that it has by default, but for these.
///
/// # Errors
/// If it does not start.
pub async fn gateway_with(limits: &[(&str, &str, &str)]) -> Result<Gateway> {
    let home = Home::init(IPV4).await?;
    for (key, default) in [
        ("max_mix_connections_per_prefix", "512"),
        ("max_client_connections_per_prefix", "512"),
        ("registrations_per_minute", "30"),
    ] {
        home.set_config("limits", key, default)?;
    }
    for (section, key, value) in limits {
        home.set_config(section, key, value)?;
    }
    Gateway::start_in(home, &[]).await
}

/// An honest client.
pub struct Bystander {
    /// The gateway, and a mix node for the acks.
    pub scene: Scene,
    /// The account with which it logs in.
    pub credentials: Credentials,
    undisturbed: Duration,
}

impl Bystander {
    /// Below this latency the machine is measured, not the gateway.
    const FLOOR: Duration = Duration::from_millis(5);
    const ROUNDS: usize = 20;
    const ATTEMPTS: usize = 4;

    /// Registers, and measures how it is served without attackers.
    ///
    /// # Errors
    /// If it is not served.
    pub async fn of(gateway: Gateway) -> Result<Self> {
        let scene = Scene::around(gateway, IPV4).await?;
        let mut connection = Connection::upgrade(source::connect(ELSEWHERE, scene.gateway.clients).await?).await?;
        let credentials = shake_hands(&mut connection, &Identity::random(), &scene.gateway.identity).await?;
        connection.next_text().await?;
        Client::new(credentials.clone(), connection).leave().await?;
        let mut bystander = Self { scene, credentials, undisturbed: Duration::ZERO };
        bystander.undisturbed = bystander.p90().await?;
        Ok(bystander)
    }

    /// How long it takes to be served.
    ///
    /// # Errors
    /// If it is not, or something else comes.
    pub async fn served(&self) -> Result<Duration> {
        let gateway = &self.scene.gateway;
        let packet = self.scene.packets().make(self.credentials.address(), PacketSize::Regular)?;
        let began = Instant::now();
        let connection = Connection::upgrade(source::connect(ELSEWHERE, gateway.clients).await?).await?;
        let connection = self.credentials.account().log_in_on(connection).await?;
        let mut client = Client::new(self.credentials.clone(), connection);
        MixSender::on(source::connect(ELSEWHERE, gateway.mix).await?).send(&packet).await?;
        ensure!(client.next_message().await? == packet.message, "something else came");
        let took = began.elapsed();
        self.scene.mixnode.wait_for_acks(&[packet]).await?;
        client.leave().await?;
        Ok(took)
    }

    async fn p90(&self) -> Result<Duration> {
        p90(Self::ROUNDS, async || self.served().await).await
    }

    /// The latency without attackers.
    pub const fn undisturbed(&self) -> Duration {
        self.undisturbed
    }

    /// Whether that is within twice the undisturbed latency.
    pub fn is_as_before(undisturbed: Duration, disturbed: Duration) -> bool {
        disturbed <= 2 * undisturbed.max(Self::FLOOR)
    }

    /// Checks that it is served within twice its undisturbed latency. Several times: what else this machine does at the moment
    /// is no matter of the gateway.
    ///
    /// # Errors
    /// If it is not served, or not in time.
    pub async fn expect_to_be_served_as_before(&self) -> Result<()> {
        let mut found = Vec::new();
        for _ in 0..Self::ATTEMPTS {
            let disturbed = self.p90().await?;
            eprintln!("served in {:?} undisturbed, in {disturbed:?} disturbed", self.undisturbed);
            if Self::is_as_before(self.undisturbed, disturbed) {
                return Ok(());
            }
            found.push(disturbed);
        }
        bail!("served in {:?} undisturbed, in {found:?} disturbed", self.undisturbed)
    }
}

/// The 90th percentile of the latencies of so many rounds.
///
/// # Errors
/// If one of them fails.
pub async fn p90(rounds: usize, mut round: impl AsyncFnMut() -> Result<Duration>) -> Result<Duration> {
    let mut took = Vec::new();
    for _ in 0..rounds {
        took.push(round().await?);
    }
    p90_of(took)
}

/// The 90th percentile of these latencies.
///
/// # Errors
/// If there is none.
pub fn p90_of(mut took: Vec<Duration>) -> Result<Duration> {
    took.sort();
    took.get(took.len() * 9 / 10).copied().context("there were no rounds")
}
