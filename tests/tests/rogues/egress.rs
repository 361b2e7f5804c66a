//! `mix-egress` in the hands of an attacker can send to no other worker: its links only bring packets.

use anyhow::{Result, ensure};
use harness::{
    client::Client,
    counters::counted,
    deadline::bounded,
    gateway::{Gateway, IPV4},
    home::Home,
    mixnode::{MixNode, MixSender},
    packet::expect_in_order,
    rogue::{Taken, TakenLink},
};
use ipc::Role;
use nix::sys::signal::Signal;
use wire::packet::PacketSize;

use crate::attached::{attached_clients, ensure_all_are_attached};

/// No other worker goes down with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_rogue_egress_is_replaced_for_any_word() -> Result<()> {
    bounded(async {
        let taken = Taken::over(Home::init(IPV4).await?, Role::MixEgress).await?;
        let mut attached = attached_clients(&taken.gateway).await?;
        for peer in [Role::MixIngress, Role::ClientEdge] {
            taken
                .breaks(ipc::egress::Rule::Spoke, peer, async {
                    let mut link: TakenLink<(), ()> = taken.link(peer).await?;
                    // A frame without a message.
                    link.write(&[0, 0, 0, 0]).await?;
                    Ok(link)
                })
                .await?;
        }
        ensure_all_are_attached(&mut attached).await
    })
    .await
}

/// Messages are accepted and kept all the same.
#[tokio::test(flavor = "multi_thread")]
async fn acks_are_counted_that_an_egress_does_not_read() -> Result<()> {
    /// More than twice as many SURB-acks as wait for `mix-egress` in `mix-ingress`.
    const PACKETS: usize = 4_500;
    /// SURB-acks that wait there at the most, while `packets_in_flight` is not more.
    const WAITING: u64 = 2_000;
    /// SURB-acks that are being written, and those that the kernel keeps for a reader.
    const ON_THE_WAY: u64 = 2_000;
    bounded(async {
        let home = Home::init(IPV4).await?;
        home.set_config("limits", "packets_in_flight", &WAITING.to_string())?;
        let mut taken = Taken::over(home, Role::MixEgress).await?;
        let (clients, identity) = (taken.gateway.clients, taken.gateway.identity);
        let absent = Client::register(clients, &identity).await?.leave().await?;
        let mut attached = Client::register(clients, &identity).await?;
        let mixnode = MixNode::start(IPV4).await?;
        let packets = mixnode.packet_maker(taken.gateway.sphinx);
        let sent = packets.make_in_parallel(absent.address(), PACKETS).await?;
        let mut sender = MixSender::connect(taken.gateway.mix).await?;
        sender.send_all(&sent).await?;
        let last = packets.make(attached.address(), PacketSize::Regular)?;
        sender.send(&last).await?;
        ensure!(attached.next_message().await? == last.message);

        taken.gateway.stop(Signal::SIGTERM).await?;
        let lines = taken.gateway.log().lines();
        let count = |name| counted(&lines, "mix-ingress", name);
        let all = PACKETS as u64 + 1;
        ensure!(count("acks_paid") == all, "{} of {all} SURB-acks were paid", count("acks_paid"));
        let lost = count("acks_lost_to_egress");
        ensure!((all - WAITING - ON_THE_WAY..all).contains(&lost), "{lost} of {all} SURB-acks are counted as lost");
        ensure!(mixnode.frames().is_empty(), "a SURB-ack came");
        let gateway = Gateway::start_in(taken.gateway.home.without_impostors(), &[]).await?;
        let mut returned = absent.authenticate(gateway.clients).await?;
        expect_in_order(&returned.next_messages(PACKETS).await?, &sent)
    })
    .await
}
