//! Wants the places of clients that have not logged in yet, so that nobody has the time to do it.
//!
//! Spends more websockets than there are such places, from five addresses, that say nothing, and come again when they are
//! closed.
//!
//! Succeeds if honest clients cannot log in.

use anyhow::Result;
use tests::raw_websocket;
use tokio::task::JoinSet;

use super::{Attack, PAUSE, until_closed};
use crate::{
    evidence::Evidence,
    tally::{Tally, Verdict},
};

const ADDRESSES: u16 = 5;
const EACH: u16 = 50;
/// In per cent: honest logins that may fail.
const FAILURES: usize = 2;

pub(super) async fn attack(attack: Attack) -> Result<()> {
    let mut sitting = JoinSet::new();
    for source in (0..ADDRESSES).flat_map(|number| [number; EACH as usize]) {
        let attack = attack.clone();
        sitting.spawn(async move {
            loop {
                // Being turned away is no reason to give up.
                let _ = sit(&attack, source).await;
                attack.tally.got("times shown out", 1);
                tokio::time::sleep(PAUSE / 4).await;
            }
        });
    }
    while sitting.join_next().await.is_some() {}
    Ok(())
}

pub(super) fn judge(tally: &Tally, evidence: &Evidence) -> Verdict {
    let came = tally.spending("websockets");
    let failed = evidence.failed_logins();
    let tried = evidence.logins + failed;
    Verdict::held_if(came >= u64::from(ADDRESSES * EACH), format_args!("only {came} websockets came")).and(
        Verdict::held_if(failed * 100 <= FAILURES * tried, format_args!("{failed} of {tried} honest logins failed")),
    )
}

async fn sit(attack: &Attack, source: u16) -> Result<()> {
    let mut stream = attack.target.clients(attack.block.address(source)).await?;
    raw_websocket::upgrade(&mut stream).await?;
    attack.tally.spent("websockets", 1);
    until_closed(&mut stream).await;
    Ok(())
}
