//! Wants to sit before the login for ever, by asking again and again what the gateway speaks.
//!
//! Spends a few connections, and a question on each every four seconds.
//!
//! Succeeds if one of them is still there when every honest client would long have logged in.

use std::time::{Duration, Instant};

use anyhow::Result;
use client_wire::control::request::ClientRequest;
use harness::connection::Incoming;
use tokio::{task::JoinSet, time::interval};

use super::{Attack, PAUSE};
use crate::tally::{Tally, Verdict};

const CONNECTIONS: u16 = 20;
/// More often than the time to a first request is over.
const EVERY: Duration = Duration::from_secs(4);
/// Longer than the time to a first request and that of a handshake together, and what a slow machine adds.
const LONGEST: u64 = 16_000;

pub(super) async fn attack(attack: Attack) -> Result<()> {
    let mut waiting = JoinSet::new();
    for number in 0..CONNECTIONS {
        let attack = attack.clone();
        waiting.spawn(async move {
            loop {
                // The attacker goes on after a refusal.
                let _ = ask_for_ever(&attack, number).await;
                tokio::time::sleep(PAUSE).await;
            }
        });
    }
    while waiting.join_next().await.is_some() {}
    Ok(())
}

pub(super) fn judge(tally: &Tally) -> Verdict {
    let longest = tally.gain("ms before login");
    Verdict::held_if(tally.spending("questions") > 0, "nobody could ask")
        .and(Verdict::held_if(longest <= LONGEST, format_args!("somebody sat before the login for {longest} ms")))
}

async fn ask_for_ever(attack: &Attack, number: u16) -> Result<()> {
    let begin = Instant::now();
    let mut connection = attack.target.websocket(attack.block.address(number)).await?;
    attack.tally.spent("connections", 1);
    let mut again = interval(EVERY);
    loop {
        tokio::select! {
            _ = again.tick() => {
                attack.tally.spent("questions", 1);
                connection.send_text(ClientRequest::SupportedProtocol {}.to_string()).await?;
            }
            said = connection.next_whenever() => match said {
                Incoming::Text(_) => attack.tally.lasted("ms before login", begin.elapsed()),
                Incoming::End => return Ok(()),
                _ => {}
            },
        }
    }
}
