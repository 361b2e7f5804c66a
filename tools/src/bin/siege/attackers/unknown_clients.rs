//! Wants the gateway to forget which packets it has seen: each packet leaves a mark, also one for an unknown client.
//!
//! Spends packets that unwrap and are for unregistered clients, as fast as they can be made.
//!
//! Succeeds if an honest packet that comes once more is acknowledged once more.

use anyhow::Result;
use harness::{mixnode::MixSender, packet::PacketMaker};
use tokio::task::{JoinSet, spawn_blocking};
use wire::{address::ClientAddress, packet::PacketSize};

use super::{Attack, PAUSE, per_second};
use crate::{
    evidence::Evidence,
    tally::{Tally, Verdict},
};

const CONNECTIONS: u16 = 2;
/// Packets that are made and sent at once.
const BATCH: usize = 20;
/// Batches per second of each connection.
const BATCHES: u32 = 50;

pub(super) async fn attack(attack: Attack) -> Result<()> {
    let mut sending = JoinSet::new();
    for number in 0..CONNECTIONS {
        let attack = attack.clone();
        sending.spawn(async move {
            loop {
                // The attacker goes on after it is evicted.
                let _ = send_to_nobody(&attack, number).await;
                tokio::time::sleep(PAUSE).await;
            }
        });
    }
    while sending.join_next().await.is_some() {}
    Ok(())
}

pub(super) fn judge(tally: &Tally, evidence: &Evidence) -> Verdict {
    let sent = tally.spending("packets for nobody") > 0;
    let (again, known) = (evidence.sums.acked_again, evidence.sums.replayed_known);
    Verdict::held_if(sent && known > 0, "no packet came once more").and(Verdict::held_if(
        again == 0,
        format_args!("of {known} packets that came once more {again} were acknowledged once more"),
    ))
}

async fn send_to_nobody(attack: &Attack, number: u16) -> Result<()> {
    let nobody = "127.0.0.1:9".parse()?;
    let maker = PacketMaker { gateway: attack.target.sphinx, ack_hop: nobody, ack_key: attack.target.sphinx };
    let mut sender = MixSender::on(attack.target.mix(attack.block.address(number)).await?);
    let mut pace = per_second(BATCHES);
    loop {
        pace.tick().await;
        let make = move || {
            let make_one = |_| maker.make(ClientAddress(rand::random()), PacketSize::Ack);
            (0..BATCH).map(make_one).collect::<Result<Vec<_>>>()
        };
        let packets = spawn_blocking(make).await??;
        sender.send_all(&packets).await?;
        attack.tally.spent("packets for nobody", packets.len() as u64);
    }
}
