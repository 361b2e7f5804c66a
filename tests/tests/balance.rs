//! Every packet is accounted for, whichever worker dies or is replaced while packets, SURB-acks and mail are on their way. What was lost
//! stands in the counter of its reason.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::{client::Client, deadline::bounded, gateway::IPV4, process::Process, scene::Scene, shown::Shown};
use nix::sys::signal::Signal;
use wire::packet::PacketSize;

/// SURB-acks of which many wait in `mix-ingress` while `mix-egress` is stopped: more than the socket between them holds.
const ACKS: usize = 3_000;
/// Clients' packets that the socket between `client-edge` and `mix-egress` holds.
const CLIENTS_PACKETS: u64 = 20;

/// Gauges of what has not ended.
const HELD: [&str; 5] = [
    "gatewayd_mix_ingress_packets_in_flight",
    "gatewayd_mix_ingress_acks_waiting",
    "gatewayd_client_edge_packets_waiting",
    "gatewayd_store_messages_pending",
    "gatewayd_mix_egress_packets_waiting",
];

const ACKS_WAITING: &str = "gatewayd_mix_ingress_acks_waiting";
const ACKS_SENT: &str = "gatewayd_mix_ingress_acks_sent_total";
const ACKS_DUE: &str = "gatewayd_mix_ingress_acks_paid_total";
const CLIENTS_PACKETS_SENT: &str = "gatewayd_client_edge_packets_sent_total";
const TAKEN: &str = "gatewayd_mix_egress_packets_taken_total";
const LOST_ON_LINK: &str = "gatewayd_mix_egress_packets_lost_on_link_total";
const LOST_TO_EGRESS: &str = "gatewayd_mix_ingress_acks_lost_to_egress_total";
const LOST_AT_DEATH: &str = "gatewayd_mix_ingress_acks_lost_at_death_total";

/// What a quiet gateway shows: nothing is held, and every sum is even.
async fn when_even(scene: &Scene) -> Result<Shown> {
    Shown::until(&scene.gateway.home, "every packet to be accounted for", |shown| {
        let held = HELD.into_iter().map(|gauge| shown.value(gauge)).sum::<Result<u64>>()?;
        Ok(held == 0 && shown.off()?.is_empty())
    })
    .await
}

/// A gateway whose `mix-egress` is stopped: SURB-acks wait in `mix-ingress`, and more of them and packets of a client on the links.
async fn with_acks_on_the_way() -> Result<(Scene, Client, Process)> {
    let mut scene = Scene::start().await?;
    let mut client = scene.client().await?;
    let absent = scene.client().await?.leave().await?;
    let egress = scene.gateway.worker("mix-egress")?;
    egress.signal(Signal::SIGSTOP)?;
    scene.send_many(absent.address(), ACKS).await?;
    for _ in 0..CLIENTS_PACKETS {
        client.forward(scene.mixnode.address, &vec![7; PacketSize::Ack.packet_len()]).await?;
    }
    Shown::until(&scene.gateway.home, "SURB-acks to wait", |shown| {
        let is_due = shown.value(ACKS_DUE)? == ACKS as u64 && shown.value(CLIENTS_PACKETS_SENT)? == CLIENTS_PACKETS;
        Ok(is_due && shown.value(ACKS_WAITING)? > 0 && shown.value(ACKS_SENT)? > 0)
    })
    .await?;
    Ok((scene, client, egress))
}

/// Packets and SURB-acks go their way as before.
async fn expect_all_to_work(scene: Scene, mut client: Client) -> Result<Scene> {
    let mut scene = Scene::around(scene.gateway, IPV4).await?;
    let packets = scene.send_many(client.address(), 5).await?;
    client.next_messages(5).await?;
    scene.mixnode.wait_for_acks(&packets).await?;
    Ok(scene)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_with_mix_egress_is_counted() -> Result<()> {
    bounded(async {
        let (scene, client, egress) = with_acks_on_the_way().await?;
        egress.signal(Signal::SIGKILL)?;
        scene.gateway.wait_for_successor("mix-egress", egress).await?;
        let scene = expect_all_to_work(scene, client).await?;
        let shown = when_even(&scene).await?;
        let lost = shown.value(LOST_ON_LINK)?;
        ensure!(lost > CLIENTS_PACKETS, "{lost} packets were lost on the links");
        let all = ACKS as u64 + 5 + CLIENTS_PACKETS;
        ensure!(shown.value(TAKEN)? + lost + shown.value(LOST_TO_EGRESS)? == all, "{shown:?}");
        Ok(())
    })
    .await
}

/// What waited for the link when `mix-ingress` died is lost. What was on the link is taken, as far as it was read before the next link came.
#[tokio::test(flavor = "multi_thread")]
async fn acks_lost_with_mix_ingress_are_counted() -> Result<()> {
    bounded(async {
        let (scene, client, egress) = with_acks_on_the_way().await?;
        let ingress = scene.gateway.kill_worker("mix-ingress").await;
        egress.signal(Signal::SIGCONT)?;
        ingress?;
        let scene = expect_all_to_work(scene, client).await?;
        let shown = when_even(&scene).await?;
        ensure!(shown.value(LOST_AT_DEATH)? > 0, "{shown:?}");
        let arrived = shown.value(TAKEN)? + shown.value(LOST_ON_LINK)?;
        ensure!(arrived == shown.value(ACKS_SENT)? + CLIENTS_PACKETS, "{shown:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_with_both_ends_of_a_link_is_counted() -> Result<()> {
    bounded(async {
        let (scene, client, egress) = with_acks_on_the_way().await?;
        let ingress = scene.gateway.worker("mix-ingress")?;
        ingress.signal(Signal::SIGKILL)?;
        egress.signal(Signal::SIGKILL)?;
        scene.gateway.wait_for_successor("mix-ingress", ingress).await?;
        scene.gateway.wait_for_successor("mix-egress", egress).await?;
        let scene = expect_all_to_work(scene, client).await?;
        let shown = when_even(&scene).await?;
        ensure!(shown.value(LOST_AT_DEATH)? > 0 && shown.value(LOST_ON_LINK)? > CLIENTS_PACKETS, "{shown:?}");
        Ok(())
    })
    .await
}

/// Mail that a dead `store` had not answered is sent to the next one, and accepted there.
#[tokio::test(flavor = "multi_thread")]
async fn mail_that_a_dead_store_did_not_answer_is_counted() -> Result<()> {
    bounded(async {
        let mut scene = Scene::start().await?;
        let client = scene.client().await?;
        let packets = scene.packets().make_many(client.address(), 600)?;
        let (killed, sent) = tokio::join!(scene.gateway.kill_worker("store"), scene.sender.send_all(&packets));
        killed?;
        sent?;
        scene.mixnode.wait_for_acks(&packets).await?;
        let shown = when_even(&scene).await?;
        let [received, again, delivered, unanswered] = [
            "gatewayd_mix_ingress_packets_received_total",
            "gatewayd_mix_ingress_deliveries_sent_again_total",
            "gatewayd_store_messages_delivered_total",
            "gatewayd_store_messages_lost_at_death_total",
        ]
        .map(|counter| shown.value(counter));
        let (received, again, delivered, unanswered) = (received?, again?, delivered?, unanswered?);
        ensure!(received == packets.len() as u64);
        ensure!((received..=received + again).contains(&delivered) && unanswered <= again, "{shown:?}");
        Ok(())
    })
    .await
}

/// Orderly ends: what is under way is finished, and nothing is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_reload_under_load_leaves_every_sum_even() -> Result<()> {
    bounded(async {
        let mut scene = Scene::start().await?;
        let account = scene.client().await?.leave().await?;
        let packets = scene.packets().make_many(account.address(), 2_000)?;
        let home = &scene.gateway.home;
        home.set_config("egress", "max_next_hops", "4095")?;
        home.set_config("limits", "packets_in_flight", "3000")?;
        let (reloaded, ()) = tokio::join!(home.gatewayd("reload", &[]), async {
            for batch in packets.chunks(20) {
                // The end of `mix-ingress` ends the connection.
                if scene.sender.send_all(batch).await.is_err() {
                    return;
                }
                // The pace: the load lasts longer than the reload.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        let reloaded = reloaded?;
        let is_replaced = |name: &&str| reloaded.stdout.contains(*name);
        ensure!(["mix-ingress", "mix-egress", "store"].iter().all(is_replaced), "{reloaded:?}");
        when_even(&scene).await?;
        Ok(())
    })
    .await
}
