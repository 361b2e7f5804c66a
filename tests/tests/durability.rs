//! Nothing is promised before it is on the medium: the store's system calls, in order.

use anyhow::{Context, Result, ensure};
use client_wire::{
    control::sealed::{SensitiveRequest, SensitiveResponse},
    key::SessionKey,
    login::Freshness,
};
use harness::{
    client::{Client, Era, Identity},
    deadline::bounded,
    packet::FinalHopPacket,
    scene::Scene,
    trace::Tracer,
};
use nix::sys::signal::Signal;
use session_ipc::{EdgeToStore, SessionAnswer, SessionRequest, StoreToEdge};
use wire::{address::ClientAddress, packet::PacketSize};

/// Every packet that was sent while the store was traced was synced before it was accepted.
async fn check(scene: &Scene, tracer: Tracer, sent: &[FinalHopPacket]) -> Result<()> {
    let trace = tracer.stop().await?;
    let ingress = scene.gateway.worker("mix-ingress")?.sockets()?;
    let link = trace.socket_to(|peer| ingress.contains(&peer)).context("no link to mix-ingress in the trace")?;
    let accepted = trace.check_accepted(&link, "/inboxes/mail/")?;
    ensure!(accepted == sent.len(), "{accepted} of {} packets were accepted", sent.len());
    Ok(())
}

/// Packets of every size.
#[tokio::test(flavor = "multi_thread")]
async fn no_packet_is_accepted_before_the_sync_of_its_database() -> Result<()> {
    bounded(async {
        if !need::strace(11) {
            return Ok(());
        }
        let mut scene = Scene::start().await?;
        let (clients, gateway) = (scene.gateway.clients, scene.gateway.identity);
        let client = Client::register_in(Era::TODAY, &Identity::random(), clients, &gateway).await?.leave().await?;
        let mut all = Vec::new();
        for size in PacketSize::ALL {
            let tracer = Tracer::attach(scene.gateway.worker("store")?).await?;
            // One by one, then many at once, of which some come while others are being written.
            let mut sent = Vec::new();
            for count in [1, 1, 1, 40] {
                let packets: Vec<_> =
                    (0..count).map(|_| scene.packets().make(client.address(), size)).collect::<Result<_>>()?;
                scene.sender.send_all(&packets).await?;
                sent.extend(packets);
                // An acknowledgement carries none itself, so the packet behind it is waited for.
                if size == PacketSize::Ack {
                    sent.push(scene.send(client.address(), PacketSize::Regular).await?);
                }
                scene.mixnode.wait_for_acks(sent.last_chunk::<1>().context("nothing was sent")?).await?;
            }
            check(&scene, tracer, &sent).await.with_context(|| format!("packets of size {size:?}"))?;
            all.extend(sent);
        }
        // What was promised to be on the medium is there.
        scene.gateway.kill_supervisor().await?;
        scene.start_again().await?;
        let mut client = Client::log_in(&client, scene.gateway.clients).await?;
        for packet in &all {
            ensure!(client.next_message().await? == packet.message);
        }
        Ok(())
    })
    .await
}

/// Mail for a client that is connected and proves no receipt.
#[tokio::test(flavor = "multi_thread")]
async fn no_live_mail_is_accepted_before_the_sync_when_it_spills() -> Result<()> {
    bounded(async {
        if !need::strace(11) {
            return Ok(());
        }
        let mut scene = Scene::start().await?;
        let (clients, gateway) = (scene.gateway.clients, scene.gateway.identity);
        for era in [Era::Of2021, Era::TODAY] {
            let tracer = Tracer::attach(scene.gateway.worker("store")?).await?;
            let mut sent = Vec::new();
            // An acknowledgement carries none itself.
            for size in PacketSize::ALL.into_iter().filter(|size| *size != PacketSize::Ack) {
                // A client that has proved nothing is sent little, so each message is for a new client.
                let mut client = Client::register_in(era, &Identity::random(), clients, &gateway).await?;
                client.connection.answer_pings(false);
                let packet = scene.send(client.address(), size).await?;
                ensure!(client.next_message().await? == packet.message, "{era}: other mail");
                scene.mixnode.wait_for_acks(std::slice::from_ref(&packet)).await?;
                sent.push(packet);
            }
            check(&scene, tracer, &sent).await.with_context(|| format!("{era}"))?;
        }
        Ok(())
    })
    .await
}

/// What the ledger must hold before a client gets this key: of a login what makes it fresh, of a registration the key. Of nonces it
/// holds five bytes of a BLAKE3 hash under the key `secret`, which is the ledger's own.
fn entry(request: &EdgeToStore, key: &SessionKey, secret: &[u8; 32]) -> Vec<u8> {
    let key = match key {
        SessionKey::CtrHmac(key) => key.to_bytes().to_vec(),
        SessionKey::GcmSiv(key) => key.to_bytes().to_vec(),
    };
    let EdgeToStore { request: SessionRequest::AuthenticateClient { proof }, .. } = request else { return key };
    let fingerprint = |nonce: &[u8]| {
        let mut fingerprint = [0; 5];
        let mut hasher = blake3::Hasher::new_keyed(secret);
        hasher.update(proof.address().as_bytes()).update(nonce).finalize_xof().fill(&mut fingerprint);
        fingerprint.to_vec()
    };
    match proof.freshness() {
        Freshness::Iv(iv) => fingerprint(&iv),
        Freshness::Nonce(nonce) => fingerprint(&nonce),
        Freshness::Timestamp(time) => [key, time.to_be_bytes().to_vec()].concat(),
    }
}

/// Neither its key nor its mail comes back after a loss of power.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_to_be_forgotten_before_both_syncs() -> Result<()> {
    bounded(async {
        if !need::strace(20) {
            return Ok(());
        }
        let mut scene = Scene::start().await?;
        let (clients, gateway) = (scene.gateway.clients, scene.gateway.identity);
        for era in [Era::Version(3), Era::TODAY] {
            let account = Client::register_in(era, &Identity::random(), clients, &gateway).await?.leave().await?;
            let stored = scene.send_many(account.address(), 3).await?;
            scene.mixnode.wait_for_acks(&stored).await?;
            let mut client = Client::log_in(&account, clients).await?;
            client.connection.answer_pings(false);
            client.next_messages(stored.len()).await?;
            let tracer = Tracer::attach(scene.gateway.worker("store")?).await?;
            let forget = SensitiveRequest::ForgetMe { client: true, stats: true };
            ensure!(client.ask_sealed(&forget).await? == SensitiveResponse::ForgetMeAck {});

            let trace = tracer.stop().await?;
            let edge = scene.gateway.worker("client-edge")?.sockets()?;
            let link = trace.socket_to(|peer| edge.contains(&peer)).context("no link to client-edge in the trace")?;
            let asked = trace.received::<EdgeToStore>(&link)?.into_iter();
            let (asked, _) =
                asked.rev().find(|(_, it)| it.request == SessionRequest::ForgetClient).context("not asked")?;
            let answers = trace.sent::<StoreToEdge>(&link)?.into_iter();
            let mut answers = answers.filter(|(_, it)| it.answer == SessionAnswer::ConfirmForgotten);
            let (answered, _) = answers.next().context("no answer")?;
            // A database may leave out how a key begins.
            let address = account.address();
            let (_, end) = address.as_bytes().split_at(ClientAddress::LEN / 2);
            for file in ["/client_ledger.sled/db", "/inboxes/mail/"] {
                trace.check_durable(file, end, asked, answered).with_context(|| format!("{era}"))?;
            }
        }
        Ok(())
    })
    .await
}

/// Neither a registration nor a login is answered before.
#[tokio::test(flavor = "multi_thread")]
async fn no_client_is_let_in_before_the_sync_of_the_ledger() -> Result<()> {
    bounded(async {
        if !need::strace(11) {
            return Ok(());
        }
        let mut scene = Scene::start().await?;
        let (clients, gateway) = (scene.gateway.clients, scene.gateway.identity);
        let tracer = Tracer::attach(scene.gateway.worker("store")?).await?;
        for era in Era::ALL {
            let account = Client::register_in(era, &Identity::random(), clients, &gateway).await?.leave().await?;
            Client::log_in(&account, clients).await?.leave().await?;
        }
        let trace = tracer.stop().await?;
        let edge = scene.gateway.worker("client-edge")?.sockets()?;
        let link = trace.socket_to(|peer| edge.contains(&peer)).context("no link to client-edge in the trace")?;
        scene.gateway.stop(Signal::SIGTERM).await?;
        let secret = scene.gateway.home.ledger()?.open_tree("spent")?.get("key")?.context("the ledger has no key")?;
        let secret = secret.as_ref().try_into()?;
        let asked: Vec<(usize, EdgeToStore)> = trace.received(&link)?;
        let mut attached = 0;
        for (answered, message) in trace.sent::<StoreToEdge>(&link)? {
            let StoreToEdge { session, answer: SessionAnswer::AttachSession { key } } = message else { continue };
            let last_request = asked.iter().rfind(|(asked, request)| *asked < answered && request.session == session);
            let (asked, request) = last_request.context("an answer to no question")?;
            trace.check_durable("/client_ledger.sled/db", &entry(request, &key, &secret), *asked, answered)?;
            attached += 1;
        }
        ensure!(attached == 2 * Era::ALL.len(), "{attached} sessions were attached");
        Ok(())
    })
    .await
}
