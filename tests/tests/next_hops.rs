//! Where packets of clients may go, as the whole gateway decides it.

use anyhow::Result;
use harness::{deadline::bounded, scene::Scene};
use wire::packet::PacketSize;

#[tokio::test(flavor = "multi_thread")]
async fn the_own_clients_port_is_no_next_hop() -> Result<()> {
    bounded(async {
        let mut scene = Scene::start().await?;
        let mut client = scene.client().await?;
        let packet = scene.packets().make(client.address(), PacketSize::Regular)?;
        let clients = scene.gateway.clients;
        // On loopback, which the tests' gateways allow: their clients port by two addresses, and a port below 1024.
        for next_hop in [clients, ([127, 0, 0, 9], clients.port()).into(), ([127, 0, 0, 9], 22).into()] {
            client.forward(next_hop, &packet.packet).await?;
        }
        client.forward(scene.mixnode.address, &packet.packet).await?;
        scene.mixnode.wait_for_packet(&packet.packet).await?;
        scene.gateway.expect_counted(&[("mix-egress", "next_hop_forbidden", 3)]).await
    })
    .await
}
