//! Wants the disk: each login and each registration leaves something in the ledger.
//!
//! Spends logins of accounts of its own, from as many addresses, as fast as the gateway answers; and registrations from many.
//!
//! Succeeds if the ledger grows by more than a few hundred bytes and a ring of 32 KB for each account.

use anyhow::Result;
use harness::{
    account::{Account, Identity},
    connection::Connection,
    era::Era,
};
use tokio::task::JoinSet;

use super::{Attack, PAUSE, leave, per_second};
use crate::{
    evidence::Evidence,
    tally::{Tally, Verdict},
};

/// Accounts that log in, each from an address of its own.
const ACCOUNTS: u16 = 4;
/// Logins per second of each.
const LOGINS: u32 = 100;
/// Addresses that register.
const REGISTRANTS: u16 = 40;
/// Registrations per second of each.
const REGISTRATIONS: u32 = 1;
/// What the ledger may grow by in any case: a database works in pages and segments.
const LEDGER: u64 = 8 << 20;
/// What one client may leave there.
const CLIENT: u64 = 33 << 10;

pub(super) async fn attack(attack: Attack) -> Result<()> {
    let mut coming = JoinSet::new();
    for number in 0..ACCOUNTS {
        let attack = attack.clone();
        coming.spawn(async move { while log_in_for_ever(&attack, number).await.is_err() {} });
    }
    for number in ACCOUNTS..ACCOUNTS + REGISTRANTS {
        let attack = attack.clone();
        coming.spawn(register_for_ever(attack, number));
    }
    while coming.join_next().await.is_some() {}
    Ok(())
}

pub(super) fn judge(tally: &Tally, evidence: &Evidence) -> Verdict {
    let (grown, accounts) = (evidence.ledger_growth, u64::from(ACCOUNTS) + tally.gain("registrations"));
    let logins = tally.gain("logins");
    Verdict::held_if(tally.spending("attempts to log in") > 0, "nobody tried to log in").and(Verdict::held_if(
        grown <= LEDGER + accounts * CLIENT,
        format_args!("the ledger grew by {grown} bytes for {accounts} accounts and {logins} logins"),
    ))
}

async fn log_in_for_ever(attack: &Attack, number: u16) -> Result<()> {
    let source = attack.block.address(number);
    tokio::time::sleep(PAUSE).await;
    // Tokens of 2021 say no time, so they can be made as fast as they are wanted.
    let account = attack.target.register(source, Era::Of2021, &Identity::random()).await?.leave().await?;
    let mut pace = per_second(LOGINS);
    loop {
        pace.tick().await;
        attack.tally.spent("attempts to log in", 1);
        let connection = attack.target.websocket(source).await?;
        attack.tally.got("logins", u64::from(log_in(&account, connection).await.unwrap_or(false)));
    }
}

async fn log_in(account: &Account, mut connection: Connection) -> Result<bool> {
    connection.send_text(account.login_text()).await?;
    let is_in = account.expect_yes(&connection.next_text().await?).is_ok();
    leave(connection).await;
    Ok(is_in)
}

async fn register_for_ever(attack: Attack, number: u16) {
    let mut pace = per_second(REGISTRATIONS);
    loop {
        pace.tick().await;
        attack.tally.spent("attempts to register", 1);
        let registered = attack.target.register(attack.block.address(number), Era::TODAY, &Identity::random()).await;
        if let Ok(client) = registered {
            attack.tally.got("registrations", 1);
            // Whether it says goodbye is no matter.
            let _ = client.leave().await;
        }
    }
}
