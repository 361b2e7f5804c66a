//! Messages and SURB-acks of every size, to clients that are there and to clients that are not.

use anyhow::{Context, Result, ensure};
use conformance::{
    client::Client,
    deadline::bounded,
    gateway::Gateway,
    mail::{MESSAGE_SIZES, NO_ROTATION},
};
use nym_gateway_requests::{BinaryRequest, SendResponse, ServerResponse};
use nym_sphinx::{
    anonymous_replies::{
        SurbEncryptionKey,
        requests::{AnonymousSenderTag, RepliableMessage, RepliableMessageContent, ReplyMessage},
    },
    message::NymMessage,
    params::PacketSize,
};

#[tokio::test(flavor = "multi_thread")]
async fn packets_of_every_size_come_back_and_are_acknowledged() -> Result<()> {
    bounded(async {
        let gateway = Gateway::start().await?;
        let mut client = Client::registered(&gateway).await?;
        let me = client.address();
        for size in MESSAGE_SIZES {
            let text = format!("one packet, {size:?}");
            let acks = client.send(&me, text.as_bytes(), size).await?;
            ensure!(acks.len() == 1, "{} packets in place of one", acks.len());
            client.expect(text.as_bytes()).await.context(text.clone())?;
            client.expect_acks(&acks).await.context(text)?;
        }
        let bare = client.mail().bare_ack()?;
        ensure!(bare.packets.iter().all(|packet| packet.packet().len() == PacketSize::AckPacket.size()));
        let acks = client.post(bare).await?;
        client.expect_acks(&acks).await.context("a packet of the smallest size")
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_of_every_size_wait_for_a_client_that_is_not_there() -> Result<()> {
    bounded(async {
        let gateway = Gateway::start().await?;
        let mut sender = Client::registered(&gateway).await?;
        let mut receiver = Client::registered(&gateway).await?;
        receiver.inner().disconnect().await?;

        let mut texts = Vec::new();
        for size in MESSAGE_SIZES {
            for number in 0..5 {
                let text = format!("{number}, {size:?}");
                let acks = sender.send(&receiver.address(), text.as_bytes(), size).await?;
                // The acknowledgement says that the message is safe.
                sender.expect_acks(&acks).await.context(text.clone())?;
                texts.push(text);
            }
        }

        let mut receiver = receiver.again(&gateway)?;
        receiver.log_in().await?;
        for text in texts {
            receiver.expect(text.as_bytes()).await.context(text)?;
        }
        receiver.prove_working().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_many_packets_arrive_whole() -> Result<()> {
    bounded(async {
        let gateway = Gateway::start().await?;
        let mut sender = Client::registered(&gateway).await?;
        let mut receiver = Client::registered(&gateway).await?;
        for size in MESSAGE_SIZES {
            let text: Vec<u8> = (0..40 * size.plaintext_size()).map(|at| (at % 251) as u8).collect();
            let acks = sender.send(&receiver.address(), &text, size).await?;
            ensure!(acks.len() > 40, "only {} packets", acks.len());
            receiver.expect(&text).await.context(format!("{size:?}"))?;
            sender.expect_acks(&acks).await.context(format!("{size:?}"))?;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_rotation_the_network_is_in_packets_come_back() -> Result<()> {
    bounded(async {
        let gateway = Gateway::start().await?;
        let mut client = Client::registered(&gateway).await?;
        let me = client.address();
        for rotation in [NO_ROTATION, 1, 2] {
            let text = format!("rotation {rotation}");
            let message = NymMessage::new_plain(text.clone().into_bytes());
            let prepared = client.mail().prepare(&me, message, PacketSize::RegularPacket, rotation)?;
            let acks = client.post(prepared).await?;
            client.expect(text.as_bytes()).await.context(text.clone())?;
            client.expect_acks(&acks).await.context(text)?;
        }
        Ok(())
    })
    .await
}

/// The answer tells the bandwidth that remains.
#[tokio::test(flavor = "multi_thread")]
async fn both_forward_requests_are_answered_with_the_bandwidth() -> Result<()> {
    bounded(async {
        let gateway = Gateway::start().await?;
        let mut client = Client::registered(&gateway).await?;
        let (me, key) = (client.address(), client.shared_key()?);
        for kind in [1, 2] {
            let text = format!("kind {kind}");
            let message = NymMessage::new_plain(text.clone().into_bytes());
            let mut prepared = client.mail().prepare(&me, message, PacketSize::RegularPacket, NO_ROTATION)?;
            let packet = prepared.packets.pop().context("no packet")?;
            let request = match kind {
                1 => BinaryRequest::ForwardSphinx { packet },
                _ => BinaryRequest::ForwardSphinxV2 { packet },
            };
            let request = request.into_ws_message(&key)?;
            match client.inner().send_websocket_message_with_response(request).await? {
                ServerResponse::Send(SendResponse { remaining_bandwidth, upgrade_mode: false }) => {
                    ensure!(remaining_bandwidth > 40_000_000, "only {remaining_bandwidth} remain")
                }
                other => anyhow::bail!("{text} was answered with {other:?}"),
            }
            client.expect(text.as_bytes()).await.context(text.clone())?;
            client.expect_acks(&prepared.acks).await.context(text)?;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_without_an_address_is_answered() -> Result<()> {
    bounded(async {
        let gateway = Gateway::start().await?;
        let mut alice = Client::registered(&gateway).await?;
        let mut bob = Client::registered(&gateway).await?;

        let surbs = alice.mail().reply_surbs(2)?;
        let first_key = surbs.first().context("no reply-SURBs")?.encryption_key().to_bytes();
        let question = RepliableMessage::new_data(b"who is it?".to_vec(), AnonymousSenderTag::from([7; 16]), surbs);
        let question = NymMessage::new_repliable(question);
        let prepared = alice.mail().prepare(&bob.address(), question, PacketSize::RegularPacket, NO_ROTATION)?;
        let acks = alice.post(prepared).await?;
        alice.expect_acks(&acks).await?;

        let NymMessage::Repliable(question) = bob.message().await? else { anyhow::bail!("no question") };
        let RepliableMessageContent::DataV2(question) = question.content else { anyhow::bail!("no question in it") };
        ensure!(question.message == b"who is it?");
        let surb = question.reply_surbs.into_iter().next().context("no reply-SURB came")?;
        let answer = NymMessage::new_reply(ReplyMessage::new_data_message(b"it is me".to_vec()));
        let prepared = bob.mail().reply(surb, answer)?;
        let acks = bob.post(prepared).await?;

        let answer = alice.pushed().await?;
        let key = SurbEncryptionKey::try_from_bytes(&first_key)?;
        ensure!(alice.mail().open_reply(key, &answer)?.into_inner_data() == b"it is me");
        bob.expect_acks(&acks).await
    })
    .await
}
