//! Wants an inbox closed to its owner's mail: what is in it first takes the room.
//!
//! Spends ack-size packets, which carry no SURB-ack and cost next to nothing, on a client that is away: more of them than messages fit
//! its share.
//!
//! Succeeds if mail that comes for that client afterwards is not taken.

use anyhow::Result;
use harness::{mixnode::MixSender, packet::PacketMaker};
use tokio::task::spawn_blocking;
use wire::{address::ClientAddress, packet::PacketSize};

use super::{
    Attack, PAUSE, per_second,
    witness::{Size, Witness},
};
use crate::{
    evidence::Evidence,
    tally::{Tally, Verdict},
};

/// The first address of a victim. Before it is that of the attacker.
const VICTIMS: u16 = 1;
/// Packets for each victim: its share is 1,562 messages.
const FLOOD: usize = 2_000;
/// Packets that are made and sent at once, and how often that is.
const BATCH: usize = 20;
const BATCHES: u32 = 30;
/// Honest messages that follow.
const HONEST: usize = 5;

pub(super) async fn attack(attack: Attack) -> Result<()> {
    for number in VICTIMS.. {
        // The attacker goes on after a refusal.
        let _ = mute(&attack, number).await;
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

pub(super) fn judge(tally: &Tally, evidence: &Evidence) -> Verdict {
    let (fetched, kept_out) = (tally.gain("inboxes that took mail"), tally.gain("inboxes that took none"));
    Verdict::held_if(!evidence.was_long() || fetched + kept_out > 0, "no inbox could be flooded")
        .and(Verdict::held_if(kept_out == 0, format_args!("{kept_out} inboxes took no honest mail")))
}

async fn mute(attack: &Attack, number: u16) -> Result<()> {
    let mut victim = Witness::appear(attack, number).await?;
    flood(attack, victim.address()).await?;
    match victim.write(HONEST, Size::Usual).await? {
        None => attack.tally.got("inboxes that took none", 1),
        Some(last) => {
            victim.fetch(&last).await?;
            attack.tally.got("inboxes that took mail", 1);
        }
    }
    Ok(())
}

async fn flood(attack: &Attack, to: ClientAddress) -> Result<()> {
    let nobody = "127.0.0.1:9".parse()?;
    let maker = PacketMaker { gateway: attack.target.sphinx, ack_hop: nobody, ack_key: attack.target.sphinx };
    let mut sender = MixSender::on(attack.target.mix(attack.block.address(0)).await?);
    let mut pace = per_second(BATCHES);
    for _ in 0..FLOOD / BATCH {
        pace.tick().await;
        let make = move || (0..BATCH).map(|_| maker.make(to, PacketSize::Ack)).collect::<Result<Vec<_>>>();
        let packets = spawn_blocking(make).await??;
        sender.send_all(&packets).await?;
        attack.tally.spent("packets without a SURB-ack", packets.len() as u64);
    }
    Ok(())
}
