//! Wants everybody's acknowledgements held up: to forget a client is to remove all that it has stored.
//!
//! Spends an account that has thousands of tiny messages stored and asks to be forgotten, again and again.
//!
//! Succeeds if acknowledgements of mail for an honest client that is away take much longer meanwhile than just before.

use std::time::Duration;

use anyhow::{Context, Result};
use client_wire::control::sealed::SensitiveRequest;

use super::{
    Attack, PAUSE,
    witness::{Size, Witness},
};
use crate::{
    evidence::{Evidence, Tail},
    tally::{Tally, Verdict},
};

/// Messages that an account reads, in two turns, so that it may have all of the following stored, though the store be rather full.
const READ: [usize; 2] = [400, 800];
/// Messages that it has stored when it asks to be forgotten.
const STORED: usize = 2_500;
/// How long acknowledgements are timed, before a client is forgotten and meanwhile.
const TIMED: Duration = Duration::from_millis(250);
/// What so many per cent of acknowledgements take at the most is compared: some take long for reasons of the disk's own.
const PERCENT: usize = 75;

const BEFORE: &str = "acks just before";
const MEANWHILE: &str = "acks meanwhile";

pub(super) async fn attack(attack: Attack) -> Result<()> {
    let mut number = 0;
    loop {
        // The attacker goes on after a refusal.
        let _ = forget_for_ever(&attack, &mut number).await;
        tokio::time::sleep(PAUSE).await;
    }
}

pub(super) fn judge(tally: &Tally, evidence: &Evidence) -> Verdict {
    let time = |what| tally.percentile(what, PERCENT);
    let Some((undisturbed, besieged)) = time(BEFORE).zip(time(MEANWHILE)) else {
        return Verdict::held_if(!evidence.was_long(), "nobody asked to be forgotten");
    };
    Verdict::held_if(
        Tail { undisturbed, besieged }.is_good(evidence.floor),
        format_args!(
            "{PERCENT} % of acks took {undisturbed:?} at the most, and {besieged:?} while somebody was forgotten"
        ),
    )
}

async fn forget_for_ever(attack: &Attack, number: &mut u16) -> Result<()> {
    let mut honest = Witness::appear(attack, *number).await?;
    loop {
        *number += 1;
        let mut account = Witness::appear(attack, *number).await?;
        for count in READ {
            let last = account.write(count, Size::Tiny).await?.context("the account's mail was refused")?;
            account.fetch(&last).await?;
        }
        account.write(STORED, Size::Tiny).await?.context("the account's mail was refused")?;
        attack.tally.spent("messages that were stored and forgotten", STORED as u64);
        attack.tally.took(BEFORE, honest.time_acks(TIMED).await?);
        let mut client = account.log_in().await?;
        let forget = SensitiveRequest::ForgetMe { client: true, stats: false };
        let (answer, acks) = tokio::join!(client.ask_sealed(&forget), honest.time_acks(TIMED));
        answer?;
        attack.tally.took(MEANWHILE, acks?);
        let last = honest.write(1, Size::Usual).await?.context("honest mail was refused")?;
        honest.fetch(&last).await?;
    }
}
