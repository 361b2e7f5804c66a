//! A small `client_buffer`: what a client gets that proves nothing, and where the rest is.

use anyhow::{Result, ensure};
use harness::{
    counters::counted,
    deadline::bounded,
    gateway::{Gateway, IPV4},
    home::Home,
    packet::{FinalHopPacket, expect_in_order},
    scene::Scene,
};
use nix::sys::signal::Signal;
use wire::{packet::PacketSize, surb_ack::SURB_ACK_LEN};

const MESSAGES: usize = 40;

async fn scene_with(client_buffer: usize) -> Result<Scene> {
    let home = Home::init(IPV4).await?;
    home.set_config("limits", "client_buffer", &client_buffer.to_string())?;
    home.set_config("delivery", "receipt_timeout", "'1h'")?;
    Scene::around(Gateway::start_in(home, &[]).await?, IPV4).await
}

/// Sends to a client that reads and answers no Ping, until everything is acknowledged: written, since nothing is proved.
/// Checks that exactly the first `at_once` messages reach it, and that all come in order once it comes back and answers,
/// whether the gateway has been restarted in between or not.
async fn push_to_a_silent_client(scene: &mut Scene, at_once: usize, restart: bool) -> Result<()> {
    let mut silent = scene.client().await?;
    silent.connection.answer_pings(false);
    let sent = scene.send_many(silent.address(), MESSAGES).await?;
    scene.mixnode.wait_for_acks(&sent).await?;
    let pushed = silent.next_messages(at_once).await?;
    ensure!(pushed.iter().eq(messages(&sent).take(at_once)), "not the oldest messages were pushed");
    silent.connection.expect_quiet_and_open().await?;

    let credentials = if restart {
        scene.gateway.kill_supervisor().await?;
        scene.start_again().await?;
        silent.credentials.clone()
    } else {
        silent.leave().await?
    };
    let mut returned = credentials.authenticate(scene.gateway.clients).await?;
    expect_in_order(&returned.next_messages(MESSAGES).await?, &sent)?;
    // The client keeps up: mail is proved before the buffer is full.
    for _ in 0..3 {
        let live = scene.send(returned.address(), PacketSize::Regular).await?;
        ensure!(returned.next_message().await? == live.message);
    }
    returned.leave().await?;
    Ok(())
}

/// It was counted so often at least that there was more for a client than it may have without proof. Ends the gateway.
async fn expect_buffers_full(scene: &mut Scene, times: u64) -> Result<()> {
    scene.gateway.stop(Signal::SIGTERM).await?;
    let counted = counted(&scene.gateway.log().lines(), "store", "client_buffers_full");
    ensure!(counted >= times, "a full buffer was counted {counted} times");
    Ok(())
}

fn messages(sent: &[FinalHopPacket]) -> impl Iterator<Item = &Vec<u8>> {
    sent.iter().map(|packet| &packet.message)
}

/// The client gets the rest from disk, in order.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_proves_nothing_is_pushed_client_buffer_only() -> Result<()> {
    const AT_ONCE: usize = 5;
    bounded(async {
        let len = PacketSize::Regular.plaintext_len() - SURB_ACK_LEN;
        // One byte short of room for one more.
        let mut scene = scene_with((AT_ONCE + 1) * len - 1).await?;
        push_to_a_silent_client(&mut scene, AT_ONCE, true).await?;
        push_to_a_silent_client(&mut scene, AT_ONCE, false).await?;
        // Counted since the restart: once for the client that came back twice, and once for the silent one.
        expect_buffers_full(&mut scene, 3).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_larger_than_client_buffer_are_pushed_one_by_one() -> Result<()> {
    bounded(async {
        let mut scene = scene_with(1).await?;
        push_to_a_silent_client(&mut scene, 1, false).await?;
        expect_buffers_full(&mut scene, 2).await
    })
    .await
}
