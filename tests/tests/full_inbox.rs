//! An inbox that is full: what comes then is refused, and counted, until its client has fetched its mail. What comes without a SURB-ack
//! fills none.

use anyhow::{Result, ensure};
use harness::{
    account::Account,
    client::{Client, Era, Identity},
    counters::counted,
    deadline::bounded,
    gateway::{Gateway, IPV4},
    home::Home,
    packet::{FinalHopPacket, expect_in_order},
    scene::Scene,
};
use nix::sys::signal::Signal;
use wire::{address::ClientAddress, packet::PacketSize};

const ROOM: usize = 5;
/// Packets of a flood.
const FLOOD: usize = 200;

/// A gateway whose inboxes hold [`ROOM`] messages, and a client that is away.
async fn with_small_inboxes() -> Result<(Scene, Account)> {
    let home = Home::init(IPV4).await?;
    home.set_config("limits", "inbox_messages", &ROOM.to_string())?;
    let scene = Scene::around(Gateway::start_in(home, &[]).await?, IPV4).await?;
    let (clients, gateway) = (scene.gateway.clients, scene.gateway.identity);
    let account = Client::register_in(Era::TODAY, &Identity::random(), clients, &gateway).await?.leave().await?;
    Ok((scene, account))
}

/// The inbox is full at `inbox_messages`.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_inbox_refuses_mail_until_it_is_fetched() -> Result<()> {
    bounded(async {
        let (mut scene, account) = with_small_inboxes().await?;
        let other = scene.client().await?.leave().await?;

        let sent = scene.send_many(account.address(), ROOM + 3).await?;
        // Behind them on the same way: once it is acknowledged, they have been answered.
        let behind = scene.send(other.address(), PacketSize::Regular).await?;
        scene.mixnode.wait_for_acks(&[behind]).await?;
        let (kept, refused) = sent.split_at(ROOM);
        scene.mixnode.wait_for_acks(kept).await?;
        ensure!(scene.mixnode.count_acked(refused) == 0, "mail for a full inbox was acknowledged");

        let mut client = Client::log_in(&account, scene.gateway.clients).await?;
        expect_in_order(&client.next_messages(ROOM).await?, kept)?;
        client.connection.expect_quiet_and_open().await?;
        let account = client.leave().await?;
        // The receipt and the next login go to the store on one link: when the login is answered, there is room again.
        let account = Client::log_in(&account, scene.gateway.clients).await?.leave().await?;
        let again = scene.send_many(account.address(), ROOM).await?;
        scene.mixnode.wait_for_acks(&again).await?;

        scene.gateway.stop(Signal::SIGTERM).await?;
        let lines = scene.gateway.log().lines();
        for worker in ["store", "mix-ingress"] {
            let counted = counted(&lines, worker, "refused_inbox_full");
            ensure!(counted == 3, "{worker} counted {counted} refused messages");
        }
        scene.start_again().await?;
        let mut client = Client::log_in(&account, scene.gateway.clients).await?;
        expect_in_order(&client.next_messages(ROOM).await?, &again)?;
        client.connection.expect_quiet_and_open().await
    })
    .await
}

/// Mail without a SURB-ack costs its sender next to nothing, so an attacker can send much of it to any client.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_without_surb_acks_keeps_no_mail_out() -> Result<()> {
    bounded(async {
        let (mut scene, account) = with_small_inboxes().await?;

        flood(&mut scene, account.address()).await?;
        let sent = scene.send_many(account.address(), ROOM).await?;
        scene.mixnode.wait_for_acks(&sent).await?;

        // The next process knows which mail is which.
        scene.gateway.kill_supervisor().await?;
        scene.start_again().await?;
        let kept = flood(&mut scene, account.address()).await?;
        let other = scene.client().await?;
        let behind = scene.send(other.address(), PacketSize::Regular).await?;
        scene.mixnode.wait_for_acks(&[behind]).await?;
        let mut client = Client::log_in(&account, scene.gateway.clients).await?;
        expect_in_order(&client.next_messages(2 * ROOM).await?, &[sent, kept].concat())?;
        client.connection.expect_quiet_and_open().await?;

        scene.gateway.stop(Signal::SIGTERM).await?;
        let displaced = counted(&scene.gateway.log().lines(), "store", "ackless_displaced");
        ensure!(displaced == FLOOD as u64, "{displaced} messages gave way");
        Ok(())
    })
    .await
}

/// Sends ack-size packets. Returns those for which there is room in the end.
async fn flood(scene: &mut Scene, to: ClientAddress) -> Result<Vec<FinalHopPacket>> {
    let packets: Vec<_> = (0..FLOOD).map(|_| scene.packets().make(to, PacketSize::Ack)).collect::<Result<_>>()?;
    scene.sender.send_all(&packets).await?;
    Ok(packets.into_iter().skip(FLOOD - ROOM).collect())
}
