//! Wants every connection that the mixnet port has, so that no mix node gets one.
//!
//! Spends as many silent connections as there are seats and some more, from 41 addresses with as many as one may have, and
//! reconnects when one is closed.
//!
//! Succeeds if mix nodes that connect again are not served.

use anyhow::Result;

use super::{Attack, PAUSE, keep_sitting, until_closed};
use crate::{
    evidence::Evidence,
    tally::{Tally, Verdict},
};

const ADDRESSES: u16 = 41;
const EACH: u16 = 50;

pub(super) async fn attack(attack: Attack) -> Result<()> {
    keep_sitting(&attack, (ADDRESSES, EACH), 5 * PAUSE, sit).await
}

async fn sit(attack: Attack, source: u16) {
    // The attacker goes on after a refusal.
    if let Ok(mut stream) = attack.target.mix(attack.block.address(source)).await {
        attack.tally.spent("connections", 1);
        until_closed(&mut stream).await;
        attack.tally.got("times shown out", 1);
    }
}

pub(super) fn judge(tally: &Tally, evidence: &Evidence) -> Verdict {
    let newcomers = &evidence.besieged.newcomers;
    let enough = u64::from(ADDRESSES * EACH);
    let came = tally.spending("connections");
    Verdict::held_if(came >= enough, format_args!("only {came} connections came")).and(Verdict::held_if(
        evidence.are_newcomers_served(),
        format_args!("of {} mix nodes that reconnected {} were served", newcomers.sent, newcomers.acked),
    ))
}
