//! Wants the disk: mail that is never fetched keeps out the mail of all others, and every new client.
//!
//! Spends accounts that never come back, each from an address of its own, and mail to them in the largest packets, more than there is
//! room for.
//!
//! Succeeds if mail for a client that is away, and reads whenever it comes back, is not taken, or if no client can register any more.

use std::sync::Arc;

use anyhow::{Context, Result};
use harness::{account::Identity, era::Era, mixnode::MixSender, packet::PacketMaker};
use tokio::{
    sync::watch,
    task::{JoinSet, spawn_blocking},
};
use wire::{address::ClientAddress, packet::PacketSize};

use super::{
    Attack, PAUSE, per_second,
    witness::{Size, Witness},
};
use crate::{
    evidence::Evidence,
    tally::{Tally, Verdict},
};

/// Accounts that are filled.
const ACCOUNTS: u16 = 40;
/// Packets per second for all of them together.
const PACKETS: u32 = 100;
/// Messages that the honest client gets each time it is away.
const HONEST: usize = 10;
/// Registrations of honest clients in a second, and the attempts of each.
const REGISTRATIONS: u32 = 1;
const TRIES: usize = 3;

type Accounts = Arc<watch::Sender<Vec<ClientAddress>>>;

pub(super) async fn attack(attack: Attack) -> Result<()> {
    let accounts: Accounts = Arc::default();
    let mut all = JoinSet::new();
    all.spawn(open_accounts(attack.clone(), accounts.clone()));
    let feeder = attack.clone();
    all.spawn(async move {
        loop {
            // A connection that breaks is followed by another.
            let _ = feed(&feeder, ACCOUNTS, accounts.subscribe()).await;
            tokio::time::sleep(PAUSE).await;
        }
    });
    all.spawn(come_and_go(attack.clone(), ACCOUNTS + 1));
    all.spawn(register(attack, ACCOUNTS + 2));
    while all.join_next().await.is_some() {}
    Ok(())
}

pub(super) fn judge(tally: &Tally, evidence: &Evidence) -> Verdict {
    let (taken, refused) = (tally.gain("honest messages taken"), tally.gain("honest messages refused"));
    let (let_in, turned_away) = (tally.gain("registrations"), tally.gain("registrations refused"));
    let is_short = evidence.counted("store", "refused_inbox_share") > 0;
    Verdict::held_if(refused == 0, format_args!("{refused} messages for an honest client were refused"))
        .and(Verdict::held_if(turned_away == 0, format_args!("{turned_away} registrations were refused")))
        .and(Verdict::held_if(!evidence.was_long() || taken > 0 && let_in > 0, "nobody honest came"))
        .and(Verdict::held_if(!evidence.was_long() || is_short, "the room for mail was never short"))
}

async fn open_accounts(attack: Attack, accounts: Accounts) {
    for number in 0..ACCOUNTS {
        let registered = attack.target.register(attack.block.address(number), Era::TODAY, &Identity::random()).await;
        if let Ok(client) = registered {
            accounts.send_modify(|all| all.push(client.address()));
            attack.tally.spent("accounts", 1);
            // Whether it says goodbye is no matter.
            let _ = client.leave().await;
        }
    }
}

async fn feed(attack: &Attack, number: u16, mut accounts: watch::Receiver<Vec<ClientAddress>>) -> Result<()> {
    let nobody = "127.0.0.1:9".parse()?;
    let maker = PacketMaker { gateway: attack.target.sphinx, ack_hop: nobody, ack_key: attack.target.sphinx };
    accounts.wait_for(|all| !all.is_empty()).await?;
    let mut sender = MixSender::on(attack.target.mix(attack.block.address(number)).await?);
    let mut pace = per_second(PACKETS);
    for turn in 0.. {
        pace.tick().await;
        let to = {
            let all = accounts.borrow();
            *all.get(turn % all.len().max(1)).context("there is no account")?
        };
        let packet = spawn_blocking(move || maker.make(to, PacketSize::Extended32)).await??;
        sender.send(&packet).await?;
        attack.tally.spent("packets to nobody who reads", 1);
    }
    Ok(())
}

/// An honest client is away, comes back, and is away again.
async fn come_and_go(attack: Attack, number: u16) {
    loop {
        // A refusal for another reason is judged with the attack that causes it.
        let _ = be_written_to(&attack, number).await;
        tokio::time::sleep(PAUSE).await;
    }
}

async fn be_written_to(attack: &Attack, number: u16) -> Result<()> {
    let mut honest = Witness::appear(attack, number).await?;
    loop {
        match honest.write(HONEST, Size::Usual).await? {
            None => attack.tally.got("honest messages refused", HONEST as u64),
            Some(last) => {
                attack.tally.got("honest messages taken", HONEST as u64);
                honest.fetch(&last).await?;
            }
        }
    }
}

/// New clients register again and again, each from an address of its own.
async fn register(attack: Attack, first: u16) {
    let mut pace = per_second(REGISTRATIONS);
    for number in first.. {
        pace.tick().await;
        let mut is_in = false;
        for _ in 0..TRIES {
            let source = attack.block.address(number);
            let Ok(client) = attack.target.register(source, Era::TODAY, &Identity::random()).await else { continue };
            is_in = true;
            // Whether it says goodbye is no matter.
            let _ = client.leave().await;
            break;
        }
        attack.tally.got(if is_in { "registrations" } else { "registrations refused" }, 1);
    }
}
