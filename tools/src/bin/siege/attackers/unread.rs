//! Wants memory: what is pushed to a client that does not read waits for it somewhere.
//!
//! Spends a registered session at each of many addresses, of which it reads nothing after the login, and mail to itself, in the
//! largest packets, which it sends as a mix node. A session that the gateway ends is followed by another.
//!
//! Succeeds if the processes together grow beyond what the gateway says that they may take.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use harness::{
    account::{Account, Identity},
    connection::Connection,
    era::Era,
    mixnode::MixSender,
    packet::{FinalHopPacket, PacketMaker},
};
use tokio::{
    sync::watch,
    task::{JoinSet, spawn_blocking},
};
use wire::{address::ClientAddress, packet::PacketSize};

use super::{Attack, PAUSE, per_second};
use crate::{
    evidence::Evidence,
    tally::{Tally, Verdict},
};

const SESSIONS: u16 = 60;
/// A session that lasts longer is given up, so that the gateway sees another.
const STAY: Duration = Duration::from_secs(40);
/// Packets per second, of all of them together.
const PACKETS: u32 = 150;

pub(super) async fn attack(attack: Attack) -> Result<()> {
    let victims = Arc::new(watch::Sender::new(Vec::new()));
    let mut all = JoinSet::new();
    for number in 0..SESSIONS {
        let (attack, victims) = (attack.clone(), victims.clone());
        all.spawn(async move {
            loop {
                // The attacker goes on after a refusal.
                let _ = sit(&attack, number, &victims).await;
                tokio::time::sleep(PAUSE).await;
            }
        });
    }
    all.spawn(async move {
        loop {
            // A connection that breaks is followed by another.
            let _ = feed(&attack, victims.subscribe()).await;
            tokio::time::sleep(PAUSE).await;
        }
    });
    while all.join_next().await.is_some() {}
    Ok(())
}

pub(super) fn judge(tally: &Tally, evidence: &Evidence) -> Verdict {
    let sent = tally.spending("packets to itself");
    Verdict::held_if(sent > 0, "nobody could send itself anything").and(Verdict::held_if(
        evidence.is_within_memory(),
        format_args!("{} KiB of memory in all, of {}", evidence.memory(), evidence.budget),
    ))
}

async fn sit(attack: &Attack, number: u16, victims: &watch::Sender<Vec<ClientAddress>>) -> Result<()> {
    let source = attack.block.address(number);
    let account = attack.target.register(source, Era::TODAY, &Identity::random()).await?.leave().await?;
    victims.send_modify(|all| all.push(account.address()));
    loop {
        let mut connection = attack.target.websocket(source).await?;
        log_in(&account, &mut connection).await?;
        attack.tally.spent("sessions", 1);
        connection.read_socket(false);
        // A gateway that has had enough cannot tell who does not read.
        tokio::time::sleep(STAY).await;
    }
}

async fn log_in(account: &Account, connection: &mut Connection) -> Result<()> {
    connection.send_text(account.login_text()).await?;
    account.expect_yes(&connection.next_text().await?)
}

async fn feed(attack: &Attack, mut victims: watch::Receiver<Vec<ClientAddress>>) -> Result<()> {
    let nobody = "127.0.0.1:9".parse()?;
    let maker = PacketMaker { gateway: attack.target.sphinx, ack_hop: nobody, ack_key: attack.target.sphinx };
    victims.wait_for(|all| !all.is_empty()).await?;
    let mut sender = MixSender::on(attack.target.mix(attack.block.address(SESSIONS)).await?);
    let mut pace = per_second(PACKETS);
    for turn in 0.. {
        pace.tick().await;
        let all = victims.borrow().clone();
        let Some(to) = all.get(turn % all.len().max(1)).copied() else { continue };
        let packet: FinalHopPacket = spawn_blocking(move || maker.make(to, PacketSize::Extended32)).await??;
        sender.send(&packet).await?;
        attack.tally.spent("packets to itself", 1);
    }
    Ok(())
}
