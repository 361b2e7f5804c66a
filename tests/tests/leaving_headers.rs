//! With which frame header packets leave, as the operator has set it: `framing` and `rotation_marks` in `[egress]`.

use anyhow::{Context, Result, ensure};
use harness::{
    account::{Account, Identity},
    client::Client,
    deadline::bounded,
    era::Era,
    gateway::{Gateway, IPV4},
    home::Home,
    mixnode::FRAMING_2021,
    packet_today::PacketMakerToday,
    scene::Scene,
};
use wire::{
    framing::Framing,
    packet::{KeyRotation, PacketSize},
};

async fn scene_with(key: &str, value: &str) -> Result<Scene> {
    let home = Home::init(IPV4).await?;
    home.set_config("egress", key, value)?;
    Scene::around(Gateway::start_in(home, &[]).await?, IPV4).await
}

async fn client(scene: &Scene, era: Era) -> Result<Client<Account>> {
    Client::register_in(era, &Identity::random(), scene.gateway.clients, &scene.gateway.identity).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forced_framing_is_that_of_every_packet() -> Result<()> {
    bounded(async {
        for (choice, of_a_client, of_acks) in [
            ("'2021'", &[1, 0][..], [&[2, 0][..], &[2, 0], &[2, 0]]),
            ("'7'", &[7, 1, 0], [&[7, 2, 0], &[7, 2, 0], &[7, 2, 0]]),
            // The header names a rotation only for a packet that came with one.
            ("'8'", &[8, 1, 0, 0], [&[8, 2, 0, 0], &[8, 2, 0, 0], &[8, 2, 0, 1]]),
        ] {
            let mut scene = scene_with("framing", choice).await?;
            let mut of_2021 = client(&scene, Era::Of2021).await?;
            let mut of_today = client(&scene, Era::TODAY).await?;
            let came_with = [FRAMING_2021, Framing::V7, Framing::V8(KeyRotation::Odd)];
            for (framing, expected) in came_with.into_iter().zip(of_acks) {
                let packet =
                    PacketMakerToday::like(scene.packets(), 259).make(of_today.address(), PacketSize::Regular)?;
                scene.sender.send_framed(framing, packet.size, &packet.packet).await?;
                ensure!(of_today.next_message().await? == packet.message);
                let ack = packet.surb_ack.context("a regular packet carries an ack")?;
                let frame = scene.mixnode.wait_for_packet(&ack.packet).await?;
                ensure!(frame.header == expected, "{framing:?} left with {:?} under {choice}", frame.header);
            }
            for client in [&mut of_2021, &mut of_today] {
                let packet = scene.packets().make(client.address(), PacketSize::Regular)?;
                client.forward(scene.mixnode.address, &packet.packet).await?;
                let frame = scene.mixnode.wait_for_packet(&packet.packet).await?;
                ensure!(frame.header == of_a_client, "a client's packet left with {:?} under {choice}", frame.header);
            }
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_a_client_names_is_passed_on_only_if_wanted() -> Result<()> {
    bounded(async {
        for (wanted, headers) in [("false", [&[7, 1, 0][..], &[7, 1, 0]]), ("true", [&[8, 1, 0, 2], &[7, 1, 0]])] {
            let scene = scene_with("rotation_marks", wanted).await?;
            let mut client = client(&scene, Era::TODAY).await?;
            for (rotation, header) in [Some(KeyRotation::Even), None].into_iter().zip(headers) {
                let packet = scene.packets().make(client.address(), PacketSize::Regular)?;
                client.forward_for_answer(scene.mixnode.address, &packet.packet, rotation).await?;
                let frame = scene.mixnode.wait_for_packet(&packet.packet).await?;
                ensure!(frame.header == header, "{rotation:?} left with {:?}", frame.header);
            }
        }
        Ok(())
    })
    .await
}
