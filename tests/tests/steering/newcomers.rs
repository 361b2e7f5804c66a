//! `gatewayd drain` and `gatewayd resume`.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::{
    deadline::{self, bounded},
    mixnode::MixSender,
    scene::Scene,
};
use nix::sys::signal::Signal;
use wire::packet::PacketSize;

use super::told;

#[tokio::test(flavor = "multi_thread")]
async fn no_newcomers_get_in_and_mail_flows_on() -> Result<()> {
    bounded(async {
        let mut scene = Scene::start().await?;
        let mut client = scene.client().await?;
        let said = told(&scene.gateway.home, "drain", &[]).await?.stdout;
        ensure!(said.contains("No new clients") && said.contains("gatewayd resume --id test"), "{said}");
        until_refused(&scene).await?;

        // A mix node is no newcomer.
        scene.sender = MixSender::connect(scene.gateway.mix).await?;
        let packet = scene.send(client.address(), PacketSize::Regular).await?;
        ensure!(client.next_message().await? == packet.message);
        scene.mixnode.wait_for_acks(&[packet]).await?;

        // The next process at the port lets none in either.
        scene.gateway.kill_worker("client-edge").await?;
        client.connection.wait_for_end().await?;
        ensure!(client.credentials.authenticate(scene.gateway.clients).await.is_err(), "a client came back");

        told(&scene.gateway.home, "resume", &[]).await?;
        let again = || client.credentials.authenticate(scene.gateway.clients);
        let mut client = deadline::at_last("a client to be let in", again).await?;
        let packet = scene.send(client.address(), PacketSize::Regular).await?;
        ensure!(client.next_message().await? == packet.message);

        told(&scene.gateway.home, "drain", &[]).await?;
        client.leave().await?;
        ensure!(scene.gateway.stop(Signal::SIGTERM).await?.success());
        Ok(())
    })
    .await
}

/// The pace of attempts: `client-edge` reads its orders beside its connections, so that the first attempts may come before the order.
const PACE: Duration = Duration::from_millis(20);

/// Attempts to get in until it is refused.
async fn until_refused(scene: &Scene) -> Result<()> {
    let refused = async {
        while let Ok(early) = scene.client().await {
            early.leave().await?;
            tokio::time::sleep(PACE).await;
        }
        anyhow::Ok(())
    };
    deadline::soon("a newcomer to be refused", refused).await?
}
