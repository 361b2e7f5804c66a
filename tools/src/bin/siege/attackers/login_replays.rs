//! Wants to be let in as another client, whose logins it has seen on the wire.
//!
//! Spends a connection and a text for each attempt. Two victims: one of today, whose signed login is stripped of its signature
//! and sent as a token of version 3; and one of version 3 that logs in as often as the gateway allows, so that the first of
//! its tokens may be forgotten.
//!
//! Succeeds if it is let in once.

use anyhow::Result;
use client_wire::{control::answer::GatewayResponse, token::GcmSivToken};
use harness::{
    account::{Account, Identity, fresh_time},
    era::Era,
};
use tokio::time::interval;

use super::{Attack, PAUSE, leave, per_second};
use crate::tally::{Tally, Verdict};

/// Logins per second of the victim whose tokens are to be forgotten.
const LOGINS: u32 = 200;
/// After so many the first token is tried again.
const TRY_EVERY: u64 = 50;
/// Attempts with each signed login.
const ATTEMPTS: usize = 10;

pub(super) async fn attack(attack: Attack) -> Result<()> {
    tokio::try_join!(signed_as_token(&attack), old_token(&attack))?;
    Ok(())
}

pub(super) fn judge(tally: &Tally) -> Verdict {
    let let_in = tally.gain("let in");
    let tried = tally.spending("replays") > 0;
    Verdict::held_if(tried, "no login could be replayed at all")
        .and(Verdict::held_if(let_in == 0, format_args!("{let_in} replayed logins were taken")))
}

async fn signed_as_token(attack: &Attack) -> Result<()> {
    let client = attack.target.register(attack.block.address(0), Era::TODAY, &Identity::random()).await?;
    let account = client.leave().await?;
    let mut pace = interval(PAUSE);
    loop {
        let login = account.signed_login(fresh_time())?;
        log_in(attack, &account, login.to_request().to_string()).await?;
        let claim = login.claim;
        let token = GcmSivToken { address: claim.identity, enc_address: claim.address_ciphertext, nonce: claim.nonce };
        for _ in 0..ATTEMPTS {
            pace.tick().await;
            replay(attack, token.to_request(Some(3)).to_string()).await?;
        }
    }
}

async fn old_token(attack: &Attack) -> Result<()> {
    let client = attack.target.register(attack.block.address(1), Era::Version(3), &Identity::random()).await?;
    let account = client.leave().await?;
    let first = account.login_text();
    log_in(attack, &account, first.clone()).await?;
    let mut pace = per_second(LOGINS);
    for number in 1.. {
        pace.tick().await;
        log_in(attack, &account, account.login_text()).await?;
        if number % TRY_EVERY == 0 {
            replay(attack, first.clone()).await?;
        }
    }
    Ok(())
}

/// The victim logs in, and leaves at once.
async fn log_in(attack: &Attack, account: &Account, text: String) -> Result<()> {
    let mut connection = attack.target.websocket(attack.block.address(0)).await?;
    connection.send_text(text).await?;
    let answer = connection.next_text().await?;
    attack.tally.spent("logins of the victims", u64::from(account.expect_yes(&answer).is_ok()));
    leave(connection).await;
    Ok(())
}

async fn replay(attack: &Attack, text: String) -> Result<()> {
    attack.tally.spent("replays", 1);
    if is_let_in(attack, text).await? {
        attack.tally.got("let in", 1);
    }
    Ok(())
}

/// Whether this login is taken at an address of the thief.
pub(super) async fn is_let_in(attack: &Attack, text: String) -> Result<bool> {
    let mut connection = attack.target.websocket(attack.block.address(2)).await?;
    connection.send_text(text).await?;
    let answer = connection.next_text().await?;
    leave(connection).await;
    Ok(matches!(answer.parse(), Ok(GatewayResponse::Authenticate { status: true, .. })))
}
