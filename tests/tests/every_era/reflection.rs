//! An attacker on a client's connection sends back what the gateway has sealed. The sender of a message chooses what
//! that is, so it could be a login, a request to be forgotten, or a packet to forward.

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use client_wire::{
    aead_frame::{FrameKind, RequestKind},
    control::{answer::GatewayResponse, request::ClientRequest},
    key::Nonce,
    request::{ForwardRequest, MarkedRequest},
    token::{GcmSivToken, SealedAddress},
};
use harness::{account::Identity, connection::Incoming, deadline::bounded, era::Era, scene::Scene};
use wire::packet::{PacketSize, PacketType};

use crate::{Someone, log_in, register};

const ERAS: [Era; 4] = [Era::Version(3), Era::Version(4), Era::Version(5), Era::Version(6)];

/// A push as it is on the wire.
struct Push {
    frame: Bytes,
    nonce: Nonce,
    ciphertext: Bytes,
}

impl Push {
    /// Sends the client a message and takes the push that comes of it.
    async fn capture(scene: &mut Scene, client: &mut Someone, message: Vec<u8>) -> Result<Self> {
        let packet = scene.packets().make_with(client.address(), PacketSize::Regular, message)?;
        scene.sender.send(&packet).await?;
        match client.connection.next().await? {
            Incoming::Binary(frame) => Self::parse(frame).context("a push without a nonce"),
            other => bail!("expected mail, not {other:?}"),
        }
    }

    /// Kind and flag, nonce, ciphertext.
    fn parse(frame: Bytes) -> Option<Self> {
        let (_, sealed) = frame.split_first_chunk::<2>()?;
        let (nonce, ciphertext) = sealed.split_first_chunk()?;
        Some(Self { nonce: *nonce, ciphertext: Bytes::copy_from_slice(ciphertext), frame })
    }
}

async fn expect_error(client: &mut Someone) -> Result<()> {
    let answer = client.next_text().await?;
    ensure!(matches!(answer.parse(), Ok(GatewayResponse::Error { .. })), "expected an error, not {answer}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_sent_back_as_a_login_is_refused() -> Result<()> {
    bounded(async {
        let mut scene = Scene::start().await?;
        let mut client = register(&scene, Era::Version(3)).await?;
        let address = client.address();
        let push = Push::capture(&mut scene, &mut client, address.as_bytes().to_vec()).await?;
        let account = client.leave().await?;

        let enc_address: SealedAddress = push.ciphertext.as_ref().try_into()?;
        let token = GcmSivToken { address, enc_address, nonce: push.nonce };
        let mut thief = scene.connection().await?;
        thief.send_text(token.to_request(Some(3)).to_string()).await?;
        let answer = thief.next_text().await?;
        let no = matches!(answer.parse(), Ok(GatewayResponse::Authenticate { status: false, .. }));
        ensure!(no, "a login that nobody made is answered {answer}");
        thief.wait_for_end().await?;

        log_in(&scene, &account).await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_sent_back_as_a_request_erases_nobody() -> Result<()> {
    bounded(async {
        let mut scene = Scene::start().await?;
        for era in ERAS {
            let mut client = register(&scene, era).await?;
            let forget = br#"{"ForgetMe":{"client":true,"stats":true}}"#.to_vec();
            let push = Push::capture(&mut scene, &mut client, forget).await?;
            let request =
                ClientRequest::EncryptedRequest { ciphertext: push.ciphertext.to_vec(), nonce: push.nonce.to_vec() };
            client.connection.send_text(request.to_string()).await?;
            expect_error(&mut client).await?;
            let account = client.leave().await?;
            log_in(&scene, &account).await?;
        }
        scene.gateway.expect_counted(&[("client-edge", "reflected_frames", ERAS.len())]).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_sent_back_as_a_packet_is_not_forwarded() -> Result<()> {
    bounded(async {
        let mut scene = Scene::start().await?;
        for era in ERAS {
            let mut client = register(&scene, era).await?;
            let packet = scene.packets().make(Identity::random().address(), PacketSize::Ack)?.packet;
            let request = ForwardRequest {
                packet_type: PacketType::Mix,
                next_hop: scene.mixnode.address,
                size: PacketSize::Ack,
                packet: packet.clone().into(),
            };
            let (kind, message) = MarkedRequest { request, key_rotation: None }.encode();
            let push = Push::capture(&mut scene, &mut client, message).await?;
            ensure!(kind == RequestKind::Forward && push.frame.first() == Some(&kind.code()), "another kind of frame");
            client.connection.send_binary(push.frame).await?;
            expect_error(&mut client).await?;
            // Packets of the client itself go on, and the other one is not before them.
            let own = scene.packets().make(Identity::random().address(), PacketSize::Ack)?.packet;
            client.forward(scene.mixnode.address, &own).await?;
            scene.mixnode.wait_for_packet(&own).await?;
            ensure!(scene.mixnode.frames().iter().all(|frame| frame.packet != packet), "{era}: forwarded");
        }
        scene.gateway.expect_counted(&[("client-edge", "reflected_frames", ERAS.len())]).await
    })
    .await
}
