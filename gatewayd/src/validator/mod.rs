//! The one question the gateway asks the network before it starts: does another gateway announce our addresses?
//!
//! The supervisor never reads from the network, so a program of its own asks ([`query`], in `validator-query`): it gets a
//! [`Request`](message::Request) on its control link, which is its standard input, says there what holds of its jail, gives an
//! [`Answer`](message::Answer) on standard output, and ends. It has an empty environment, no descriptor but three, an account of
//! its own where the supervisor can give one, no capability, and a jail (`sandbox::renounce`); the supervisor ([`ask()`]) kills it
//! after five seconds.
//!
//! *Trusts* nothing the validators say: replies are bounded in size, number and time, and whatever text of theirs is
//! shown is cut to a few printable characters, twice.

mod ask;
pub mod message;
pub mod query;
mod text;

pub use ask::{AskError, Asked, PATIENCE, ask};

use ipc::jail::{Account, Missing};

use crate::run::RunPlan;
use message::{Answer, Request};

/// Another gateway has our address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a gateway with another identity ({identity}) already announces {mix_host} or {clients_host}: announce another address \
     with --mix-announce-host and --clients-announce-host, or unbond that gateway"
)]
pub struct AddressTaken {
    identity: String,
    mix_host: String,
    clients_host: String,
}

/// Asks the validators of `plan`, if it has any. The only error is a gateway of another identity at our address, if more than
/// half of the validators that answer name it and none lists our own identity: whoever bonds a gateway with the address of
/// one that is bonded does not keep it from starting, nor does a validator that lies alone. All else is a warning. `account` is that of the program that asks, if it can have one of its own. Takes at
/// most [`PATIENCE`].
pub fn refuse_if_taken(plan: &RunPlan, account: Option<Account>) -> Result<(), AddressTaken> {
    if plan.validators.is_empty() {
        return Ok(());
    }
    let request = Request {
        account,
        validators: plan.validators.clone(),
        contract: plan.contract.clone(),
        mix_host: plan.mix_announce.clone(),
        clients_host: plan.clients_announce.clone(),
        identity: plan.public_keys.identity_base58(),
    };
    let asked = ask(&request).map(|Asked { answer, missing }| {
        warn_of(&missing);
        answer
    });
    let reasons = match asked {
        Ok(Answer::NoConflict) => return Ok(()),
        Ok(Answer::SameIdentity { also: Some(other) }) => {
            tracing::warn!(
                "a gateway with our identity is bonded, and another one ({other}) claims our address; starting, because \
                 anybody can claim it"
            );
            return Ok(());
        }
        Ok(Answer::Disputed { identity, named_by, answered }) => {
            tracing::warn!(
                "{named_by} of {answered} validators that answered say that a gateway with another identity ({identity}) \
                 announces our address; starting, because they do not agree"
            );
            return Ok(());
        }
        Ok(Answer::SameIdentity { also: None }) => {
            tracing::warn!(
                "a gateway with our identity is already bonded with our address: fine after a restart, but two gateways \
                 with one identity lose messages"
            );
            return Ok(());
        }
        Ok(Answer::Conflict { identity }) => {
            return Err(AddressTaken { identity, mix_host: request.mix_host, clients_host: request.clients_host });
        }
        Ok(Answer::Unreachable { reasons }) => reasons,
        Err(error) => error.to_string(),
    };
    tracing::warn!(
        "no validator could be asked whether another gateway announces our address: {reasons}; starting anyway \
         (`--validators \"\"` with `gatewayd init` asks none)"
    );
    Ok(())
}

/// As for the workers: one line for all that is missing, or none.
fn warn_of(missing: &[Missing]) {
    let missing: Vec<String> =
        missing.iter().map(|Missing { layer, why }| format!("{layer} is missing: {why}")).collect();
    if !missing.is_empty() {
        tracing::warn!("The jail of validator-query was incomplete. {}", missing.join(". "));
    }
}
