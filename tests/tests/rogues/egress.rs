//! `mix-egress` in the hands of an attacker can send to no other worker: its links only bring packets.

use anyhow::Result;
use harness::{
    deadline::bounded,
    gateway::IPV4,
    home::Home,
    rogue::{Taken, TakenLink},
};
use ipc::Role;

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
