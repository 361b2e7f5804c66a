//! Wants the places of clients that have not logged in yet, so that honest ones are evicted before they can.
//!
//! Spends more websockets than there are such places, from five addresses, that say nothing, and reconnect when they are
//! closed.
//!
//! Succeeds if honest clients cannot log in.

use anyhow::Result;
use harness::raw_websocket;

use super::{Attack, PAUSE, keep_sitting, until_closed};
use crate::{
    evidence::Evidence,
    tally::{Tally, Verdict},
};

const ADDRESSES: u16 = 5;
const EACH: u16 = 50;
/// In per cent: honest logins that may fail.
const FAILURES: usize = 2;

pub(super) async fn attack(attack: Attack) -> Result<()> {
    keep_sitting(&attack, (ADDRESSES, EACH), PAUSE / 4, sit).await
}

pub(super) fn judge(tally: &Tally, evidence: &Evidence) -> Verdict {
    let came = tally.spending("websockets");
    let failed = evidence.failed_logins();
    let tried = evidence.logins + failed;
    Verdict::held_if(came >= u64::from(ADDRESSES * EACH), format_args!("only {came} websockets came")).and(
        Verdict::held_if(failed * 100 <= FAILURES * tried, format_args!("{failed} of {tried} honest logins failed")),
    )
}

async fn sit(attack: Attack, source: u16) {
    // The attacker goes on after a refusal.
    let _ = say_nothing(&attack, source).await;
    attack.tally.got("times shown out", 1);
}

async fn say_nothing(attack: &Attack, source: u16) -> Result<()> {
    let mut stream = attack.target.clients(attack.block.address(source)).await?;
    raw_websocket::upgrade(&mut stream).await?;
    attack.tally.spent("websockets", 1);
    until_closed(&mut stream).await;
    Ok(())
}
