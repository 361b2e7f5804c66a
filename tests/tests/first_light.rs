//! What a gateway is for: mail to clients that are there and to clients that are not, acknowledgements for their senders,
//! packets from clients into the mixnet, and nothing lost on the way.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use harness::{
    client::{Client, Identity, shake_hands},
    connection::Incoming,
    deadline::{self, bounded},
    gateway::{Gateway, IPV4, IPV6},
    home::Home,
    mixnode::MixNode,
    packet::{FinalHopPacket, SIZES_2021, expect_in_order, unique},
    scene::Scene,
};
use nix::sys::signal::Signal;
use wire::{
    framing::Framing,
    packet::{KeyRotation, PacketSize, PacketType},
};

const AUTHENTICATED: &str = r#"{"type":"authenticate","status":true}"#;
const NOT_AUTHENTICATED: &str = r#"{"type":"authenticate","status":false}"#;
const DUPLICATE: &str = r#"{"type":"error","message":"Authentication failure - duplicate connection detected"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn mail_is_pushed_and_its_ack_sent_byte_for_byte() -> Result<()> {
    bounded(async {
        let mut scene = Scene::start().await?;
        let mut client = scene.client().await?;
        for (number, size) in SIZES_2021.into_iter().enumerate() {
            let packet = scene.send(client.address(), size).await?;
            ensure!(client.next_message().await? == packet.message, "{size:?} came as something else");
            let Some(ack) = packet.surb_ack else { continue };
            let frames = scene.mixnode.wait_for_frames(number).await?;
            ensure!(frames.len() == number, "{} acks for {number} packets", frames.len());
            let frame = scene.mixnode.wait_for_packet(&ack.packet).await?;
            ensure!(frame.header == [2, 0], "an ack left with header {:?}", frame.header);
            ensure!(scene.mixnode.open_ack(&frame.packet)? == ack.id);
        }
        ensure!(scene.mixnode.faults().is_empty());
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ack_waits_until_the_client_has_proved_receipt() -> Result<()> {
    bounded(async {
        let home = Home::init(IPV4).await?;
        home.set_config("delivery", "spill_after", "'1h'")?;
        let gateway = Gateway::start_in(home, &[]).await?;
        let mut scene = Scene::around(gateway, IPV4).await?;
        let mut silent = scene.client().await?;
        silent.connection.answer_pings(false);
        let unproved = scene.send(silent.address(), PacketSize::Regular).await?;
        ensure!(silent.next_message().await? == unproved.message);

        // When later mail of another client is through, the gateway has done all that it would do by itself.
        let mut other = scene.client().await?;
        let fence = scene.send_many(other.address(), 20).await?;
        expect_in_order(&other.next_messages(20).await?, &fence)?;
        scene.mixnode.wait_for_acks(&fence).await?;
        ensure!(
            !scene.mixnode.has_ack(&unproved),
            "acknowledged, although nobody proved receipt and nothing was stored"
        );

        silent.connection.answer_pings(true);
        let proved = scene.send(silent.address(), PacketSize::Regular).await?;
        ensure!(silent.next_message().await? == proved.message);
        scene.mixnode.wait_for_acks(&[unproved, proved]).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ack_leaves_with_the_framing_of_its_packet() -> Result<()> {
    bounded(async {
        let mut scene = Scene::start().await?;
        let mut client = scene.client().await?;
        for (framing, header) in [
            (Framing::Unversioned(PacketType::Mix), &[2, 0][..]),
            (Framing::Unversioned(PacketType::Vpn), &[2, 1]),
            (Framing::V7, &[7, 2, 0]),
            (Framing::V8(KeyRotation::Unknown), &[8, 2, 0, 0]),
            (Framing::V8(KeyRotation::Odd), &[8, 2, 0, 1]),
            (Framing::V8(KeyRotation::Even), &[8, 2, 0, 2]),
        ] {
            let packet = scene.packets().make(client.address(), PacketSize::Regular)?;
            scene.sender.send_framed(framing, packet.size, &packet.packet).await?;
            ensure!(client.next_message().await? == packet.message, "{framing:?}");
            let Some(ack) = packet.surb_ack else { continue };
            let frame = scene.mixnode.wait_for_packet(&ack.packet).await?;
            ensure!(frame.header == header, "{framing:?} was acknowledged with {:?}", frame.header);
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_mail_comes_in_order_and_before_newer_mail() -> Result<()> {
    bounded(async {
        let mut scene = Scene::start().await?;
        let credentials = scene.client().await?.leave().await?;
        let mut expected = scene.send_many(credentials.address(), 200).await?;
        scene.mixnode.wait_for_acks(&expected).await?;

        let newer = scene.packets().make_many(credentials.address(), 200)?;
        let (client, sent) =
            tokio::join!(credentials.authenticate(scene.gateway.clients), scene.sender.send_all(&newer));
        sent?;
        let mut client = client?;
        expected.extend(newer);
        expect_in_order(&client.next_messages(expected.len()).await?, &expected)?;
        scene.mixnode.wait_for_acks(&expected).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_that_was_received_does_not_come_again() -> Result<()> {
    bounded(async {
        let mut scene = Scene::start().await?;
        let credentials = scene.client().await?.leave().await?;
        let stored = scene.send_many(credentials.address(), 30).await?;
        scene.mixnode.wait_for_acks(&stored).await?;
        let mut client = credentials.authenticate(scene.gateway.clients).await?;
        let mut expected = stored;
        expected.extend(scene.send_many(credentials.address(), 30).await?);
        expect_in_order(&client.next_messages(60).await?, &expected)?;
        // Live mail is acknowledged for its receipt, which also covers everything before it.
        scene.mixnode.wait_for_acks(&expected).await?;
        client.connection.expect_quiet_and_open().await?;
        let credentials = client.leave().await?;

        for _ in 0..2 {
            let mut client = credentials.authenticate(scene.gateway.clients).await?;
            let new = scene.send(credentials.address(), PacketSize::Regular).await?;
            ensure!(client.next_message().await? == new.message, "old mail came again");
            scene.mixnode.wait_for_acks(&[new]).await?;
            client.leave().await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn unproved_mail_is_stored_then_acknowledged_and_comes_again() -> Result<()> {
    bounded(async {
        let mut scene = Scene::start().await?;
        let mut silent = scene.client().await?;
        silent.connection.answer_pings(false);
        let sent = scene.send_many(silent.address(), 20).await?;
        expect_in_order(&silent.next_messages(20).await?, &sent)?;
        scene.mixnode.wait_for_acks(&sent).await?;

        let credentials = silent.credentials.clone();
        silent.connection.vanish().await?;
        let mut client = credentials.authenticate(scene.gateway.clients).await?;
        expect_in_order(&client.next_messages(20).await?, &sent)?;
        Ok(())
    })
    .await
}

/// As on a machine so slow that every receipt comes too late.
#[tokio::test(flavor = "multi_thread")]
async fn mail_stored_while_it_is_pushed_keeps_order_and_comes_once() -> Result<()> {
    bounded(async {
        let home = Home::init(IPV4).await?;
        home.set_config("delivery", "spill_after", "'0ms'")?;
        let gateway = Gateway::start_in(home, &[]).await?;
        let mut scene = Scene::around(gateway, IPV4).await?;
        let credentials = scene.client().await?.leave().await?;
        let mut sent = scene.send_many(credentials.address(), 50).await?;
        let mut client = credentials.authenticate(scene.gateway.clients).await?;
        for _ in 0..20 {
            sent.extend(scene.send_many(credentials.address(), 50).await?);
        }
        expect_in_order(&client.next_messages(sent.len()).await?, &sent)?;
        scene.mixnode.wait_for_acks(&sent).await?;
        client.connection.expect_quiet_and_open().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stops_reading_loses_nothing_and_blocks_nobody() -> Result<()> {
    bounded(async {
        let mut scene = Scene::start().await?;
        let stalled = scene.client().await?;
        let mut other = scene.client().await?;
        stalled.connection.read_socket(false);
        let make = |_| scene.packets().make(stalled.address(), PacketSize::Extended32);
        let large: Vec<FinalHopPacket> = (0..300).map(make).collect::<Result<_>>()?;
        scene.sender.send_all(&large).await?;
        let small = scene.send_many(other.address(), 50).await?;
        expect_in_order(&other.next_messages(50).await?, &small)?;
        scene.mixnode.wait_for_acks(&small).await?;
        scene.mixnode.wait_for_acks(&large).await?;

        let credentials = stalled.credentials.clone();
        stalled.connection.vanish().await?;
        let mut client = credentials.authenticate(scene.gateway.clients).await?;
        expect_in_order(&client.next_messages(300).await?, &large)?;
        Ok(())
    })
    .await
}

/// The message is the last one of the handshake.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hangs_up_on_the_last_message_is_registered() -> Result<()> {
    bounded(async {
        let mut scene = Scene::start().await?;
        let mut connection = scene.connection().await?;
        let credentials = shake_hands(&mut connection, &Identity::random(), &scene.gateway.identity).await?;
        connection.vanish().await?;

        let stored = scene.send_many(credentials.address(), 3).await?;
        scene.mixnode.wait_for_acks(&stored).await?;
        let mut client = credentials.authenticate(scene.gateway.clients).await?;
        expect_in_order(&client.next_messages(3).await?, &stored)?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_delivered_is_never_acknowledged() -> Result<()> {
    bounded(async {
        let mut scene = Scene::start().await?;
        let mut online = scene.client().await?;
        let offline = scene.client().await?.leave().await?;
        let mut hopeless = scene.packets().make_many(Identity::random().address(), 5)?;
        // A real client of 2021 crashes on these.
        for len in [0, 1, 20, 22, 31] {
            for to in [online.address(), offline.address()] {
                hopeless.push(scene.packets().make_with(to, PacketSize::Regular, unique(len))?);
            }
        }
        scene.sender.send_all(&hopeless).await?;
        let mut good = Vec::new();
        for len in [21, 32, 1643] {
            for to in [online.address(), offline.address()] {
                good.push(scene.packets().make_with(to, PacketSize::Regular, unique(len))?);
            }
        }
        scene.sender.send_all(&good).await?;
        let of = |to| -> Vec<Vec<u8>> {
            good.iter().filter(|packet| packet.to == to).map(|packet| packet.message.clone()).collect()
        };
        ensure!(online.next_messages(3).await? == of(online.address()), "something else was pushed");
        scene.mixnode.wait_for_acks(&good).await?;
        let mut client = offline.authenticate(scene.gateway.clients).await?;
        ensure!(client.next_messages(3).await? == of(offline.address()), "something else was stored");
        client.connection.expect_quiet_and_open().await?;

        // A clean stop finishes everything that is in flight.
        scene.gateway.stop(Signal::SIGTERM).await?;
        ensure!(scene.mixnode.count_acked(&hopeless) == 0, "a message that nobody can get was acknowledged");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_sends_packets_of_every_size_into_the_mixnet() -> Result<()> {
    bounded(async {
        let scene = Scene::start().await?;
        let mut client = scene.client().await?;
        for size in SIZES_2021 {
            let packet = scene.packets().make(Identity::random().address(), size)?.packet;
            client.forward(scene.mixnode.address, &packet).await?;
            let frame = scene.mixnode.wait_for_packet(&packet).await?;
            ensure!(frame.header == [size.code(), 0], "{size:?} left with header {:?}", frame.header);
        }
        ensure!(scene.mixnode.frames().len() == SIZES_2021.len());
        ensure!(scene.mixnode.faults().is_empty());
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ports_and_the_next_hops_speak_ipv6() -> Result<()> {
    bounded(async {
        let mut scene = Scene::start_on(IPV6).await?;
        ensure!(scene.gateway.mix.is_ipv6() && scene.gateway.clients.is_ipv6() && scene.mixnode.address.is_ipv6());
        let mut client = scene.client().await?;
        let sent = scene.send_many(client.address(), 5).await?;
        expect_in_order(&client.next_messages(5).await?, &sent)?;
        scene.mixnode.wait_for_acks(&sent).await?;

        let ipv4_neighbour = MixNode::start(IPV4).await?;
        for neighbour in [&scene.mixnode, &ipv4_neighbour] {
            let packet = scene.packets().make(Identity::random().address(), PacketSize::Regular)?.packet;
            client.forward(neighbour.address, &packet).await?;
            ensure!(neighbour.wait_for_packet(&packet).await?.header == [1, 0]);
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_double_is_refused_while_the_first_lives_else_takes_over() -> Result<()> {
    bounded(async {
        let mut scene = Scene::start().await?;
        let mut first = scene.client().await?;
        let credentials = first.credentials.clone();
        let mut second = scene.connection().await?;
        second.send_text(credentials.login_text()).await?;
        second.expect_text(DUPLICATE).await?;
        second.expect_quiet_and_open().await?;
        let sent = scene.send(credentials.address(), PacketSize::Regular).await?;
        ensure!(first.next_message().await? == sent.message, "the first session suffered");

        // A connection whose client is gone: it is neither read nor closed.
        first.connection.read_socket(false);
        let asked = Instant::now();
        second.send_text(credentials.login_text()).await?;
        second.expect_text(AUTHENTICATED).await?;
        let took = asked.elapsed();
        ensure!(took < Duration::from_secs(2), "the successor waited {took:?}");
        let mut second = Client::new(credentials.clone(), second);

        // The end of the predecessor is not the end of the successor.
        first.connection.vanish().await?;
        let sent = scene.send_many(credentials.address(), 10).await?;
        let received = second.messages_until(&sent[9].message).await?;
        let old = received.len().saturating_sub(sent.len());
        expect_in_order(received.get(old..).unwrap_or(&[]), &sent)?;
        scene.mixnode.wait_for_acks(&sent).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_good_for_one_use() -> Result<()> {
    bounded(async {
        let mut scene = Scene::start().await?;
        let credentials = scene.client().await?.leave().await?;
        let login = credentials.login_text();
        let mut connection = scene.connection().await?;
        connection.send_text(&login).await?;
        connection.expect_text(AUTHENTICATED).await?;
        Client::new(credentials.clone(), connection).leave().await?;

        let mut thief = scene.connection().await?;
        thief.send_text(&login).await?;
        thief.expect_text(NOT_AUTHENTICATED).await?;
        scene.gateway.stop(Signal::SIGTERM).await?;
        scene.start_again().await?;
        let mut thief = scene.connection().await?;
        thief.send_text(&login).await?;
        thief.expect_text(NOT_AUTHENTICATED).await?;

        // Data frames use the keystream that begins at zero; an attacker who knows one plaintext could make these.
        for iv in [0, 1, u128::from(u32::MAX)] {
            thief.send_text(credentials.login_text_with(iv.to_be_bytes())).await?;
            thief.expect_text(NOT_AUTHENTICATED).await?;
        }
        thief.send_text(credentials.login_text_with((1_u128 << 32).to_be_bytes())).await?;
        thief.expect_text(AUTHENTICATED).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_stop_says_goodbye_and_forgets_nothing() -> Result<()> {
    bounded(async {
        let mut scene = Scene::start().await?;
        let offline = scene.client().await?.leave().await?;
        for signal in [Signal::SIGTERM, Signal::SIGINT] {
            let stored = scene.send_many(offline.address(), 20).await?;
            scene.mixnode.wait_for_acks(&stored).await?;
            let mut online = scene.client().await?;
            let mut silent = scene.client().await?;
            silent.connection.answer_pings(false);
            let unproved = scene.send_many(silent.address(), 5).await?;
            expect_in_order(&silent.next_messages(5).await?, &unproved)?;

            let stop =
                deadline::within(Duration::from_secs(10), "the clean stop", scene.gateway.stop(signal)).await??;
            ensure!(stop.code() == Some(0), "{signal} ended in {stop}");
            ensure!(online.connection.wait_for_end().await? == [Some(1001)], "no goodbye for the one who reads");

            scene.start_again().await?;
            let mut client = offline.authenticate(scene.gateway.clients).await?;
            expect_in_order(&client.next_messages(20).await?, &stored)?;
            client.connection.expect_quiet_and_open().await?;
            client.leave().await?;
            let mut online = online.credentials.authenticate(scene.gateway.clients).await?;
            let new = scene.send(online.address(), PacketSize::Regular).await?;
            ensure!(online.next_message().await? == new.message);

            // Mail that was not proved may have been acknowledged, and whatever was must be there.
            let acked = unproved.iter().filter(|packet| scene.mixnode.has_ack(packet));
            let acked: Vec<_> = acked.map(|packet| packet.message.clone()).collect();
            let mut silent = silent.credentials.authenticate(scene.gateway.clients).await?;
            let last = scene.send(silent.address(), PacketSize::Regular).await?;
            let received = silent.messages_until(&last.message).await?;
            ensure!(acked.iter().all(|message| received.contains(message)), "acknowledged mail is gone");
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_says_goodbye_is_answered() -> Result<()> {
    bounded(async {
        let scene = Scene::start().await?;
        let mut client = scene.client().await?;
        client.connection.send_close().await?;
        ensure!(
            client.connection.next().await? == Incoming::Close(Some(1000)),
            "a Close was not answered with a Close"
        );
        ensure!(client.connection.next().await? == Incoming::End);
        Ok(())
    })
    .await
}
