//! Packets of every era, to and from clients of every era.

use anyhow::{Context, Result, ensure};
use harness::{
    account::Identity,
    deadline::bounded,
    era::Era,
    mixnode::FRAMING_2021,
    packet::{SIZES_2021, expect_in_order},
    packet_today::{PacketMakerToday, SIZES_TODAY, SPHINX_VERSIONS},
    scene::Scene,
};
use wire::{
    framing::Framing,
    packet::{KeyRotation, PacketSize, PacketType},
};

use crate::{log_in, packets_today, register, words::words};

#[tokio::test(flavor = "multi_thread")]
async fn packets_of_clients_leave_with_the_header_of_their_era() -> Result<()> {
    bounded(async {
        let scene = Scene::start().await?;
        for era in Era::ALL {
            let mut client = register(&scene, era).await?;
            let marks: &[_] = match era {
                Era::Of2021 | Era::Version(2) => &[None],
                Era::Version(_) => &[None, Some(KeyRotation::Unknown), Some(KeyRotation::Odd), Some(KeyRotation::Even)],
            };
            let sizes = if era == Era::Of2021 { &SIZES_2021[..] } else { &SIZES_TODAY };
            for (size, mark) in sizes.iter().flat_map(|size| marks.iter().map(move |mark| (*size, *mark))) {
                let packet = packets_today(&scene).make(Identity::random().address(), size)?.packet;
                let answer = client.forward_for_answer(scene.mixnode.address, &packet, mark).await?;
                ensure!(answer == words(era).send, "{era}: {answer}");
                let frame = scene.mixnode.wait_for_packet(&packet).await?;
                let header = match era {
                    Era::Of2021 => vec![size.code(), 0],
                    Era::Version(_) => vec![7, size.code(), 0],
                };
                ensure!(frame.header == header, "{era}, {size:?}, {mark:?} left with {:?}", frame.header);
            }
        }
        ensure!(scene.mixnode.faults().is_empty());
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ack_leaves_as_its_packet_came_whoever_is_the_recipient() -> Result<()> {
    bounded(async {
        let mut scene = Scene::start().await?;
        let mut clients = Vec::new();
        for era in [Era::Of2021, Era::Version(3), Era::TODAY] {
            clients.push(register(&scene, era).await?);
        }
        for client in &mut clients {
            for (framing, header) in [
                (FRAMING_2021, &[2, 0][..]),
                (Framing::Unversioned(PacketType::Vpn), &[2, 1]),
                (Framing::V7, &[7, 2, 0]),
                (Framing::V8(KeyRotation::Unknown), &[8, 2, 0, 0]),
                (Framing::V8(KeyRotation::Odd), &[8, 2, 0, 1]),
                (Framing::V8(KeyRotation::Even), &[8, 2, 0, 2]),
            ] {
                let packet = packets_today(&scene).make(client.address(), PacketSize::Regular)?;
                scene.sender.send_framed(framing, packet.size, &packet.packet).await?;
                ensure!(client.next_message().await? == packet.message);
                let ack = packet.surb_ack.context("a regular packet carries an ack")?;
                let frame = scene.mixnode.wait_for_packet(&ack.packet).await?;
                ensure!(frame.header == header, "{framing:?} was acknowledged with {:?}", frame.header);
            }
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_size_and_sphinx_version_arrives_online_and_offline() -> Result<()> {
    bounded(async {
        let mut scene = Scene::start().await?;
        for era in [Era::Of2021, Era::Version(3), Era::TODAY] {
            let mut online = register(&scene, era).await?;
            let offline = register(&scene, era).await?.leave().await?;
            let mut sent = Vec::new();
            for to in [online.address(), offline.address()] {
                for size in SIZES_TODAY {
                    for version in SPHINX_VERSIONS {
                        let packet = PacketMakerToday::like(scene.packets(), version).make(to, size)?;
                        scene.sender.send_framed(Framing::V7, size, &packet.packet).await?;
                        sent.push(packet);
                    }
                    let packet = scene.packets().make(to, size)?;
                    scene.sender.send(&packet).await?;
                    sent.push(packet);
                }
            }
            let (to_online, to_offline) = sent.split_at(sent.len() / 2);
            expect_in_order(&online.next_messages(to_online.len()).await?, to_online)?;
            let acked: Vec<_> = sent.iter().filter(|packet| packet.surb_ack.is_some()).cloned().collect();
            scene.mixnode.wait_for_acks(&acked).await?;
            let mut back = log_in(&scene, &offline).await?;
            expect_in_order(&back.next_messages(to_offline.len()).await?, to_offline)?;
            back.connection.expect_quiet_and_open().await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_different_eras_write_to_each_other() -> Result<()> {
    bounded(async {
        let mut scene = Scene::start().await?;
        let mut of_2021 = register(&scene, Era::Of2021).await?;
        let mut of_today = register(&scene, Era::TODAY).await?;
        for round in 0..4 {
            let (from, to, framing) = match round % 2 {
                0 => (&mut of_2021, &mut of_today, FRAMING_2021),
                _ => (&mut of_today, &mut of_2021, Framing::V7),
            };
            let packet = match round % 2 {
                0 => scene.packets().make(to.address(), PacketSize::Regular)?,
                _ => packets_today(&scene).make(to.address(), PacketSize::Regular)?,
            };
            // The mix node is the only hop; it passes on what it was sent.
            from.forward(scene.mixnode.address, &packet.packet).await?;
            let frame = scene.mixnode.wait_for_packet(&packet.packet).await?;
            scene.sender.send_framed(framing, packet.size, &frame.packet).await?;
            ensure!(to.next_message().await? == packet.message, "in round {round}");
            let ack = packet.surb_ack.context("a regular packet carries an ack")?;
            let ack = scene.mixnode.wait_for_packet(&ack.packet).await?;
            let header = if framing == FRAMING_2021 { &[2, 0][..] } else { &[7, 2, 0] };
            ensure!(ack.header == header, "in round {round}: {:?}", ack.header);
        }
        Ok(())
    })
    .await
}
