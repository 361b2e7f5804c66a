//! The only question that the gateway asks the network before it starts: does another gateway announce our addresses?
//!
//! The supervisor never reads from the network, so that a program of its own asks (the crate `validator-query`). The program gets a
//! [`ValidatorQuery`] on its control link, which is its standard input. It reports there which layers of its jail are active, writes
//! a [`ValidatorAnswer`] to standard output, and ends. It has an empty environment, three descriptors, an account of its own where
//! the supervisor can give one, no capability, and a jail (`sandbox::renounce`). The supervisor ([`ask()`]) kills it after five
//! seconds.
//!
//! *Trusts*: nothing that the validators say. Replies are bounded in size, number and time. Text of a validator is cut to a few
//! printable characters before it is shown, once in the program and once here.

mod ask;

pub use ask::{QueryResult, TIME_LIMIT, ValidatorQueryError, ask};

use ipc::{
    jail::Account,
    validator_query::{ValidatorAnswer, ValidatorQuery},
};

use crate::{launch::log_missing_layers, plan::RunPlan};

/// Another gateway announces our address.
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

/// Asks the validators of `plan`, if there are any. Takes at most [`TIME_LIMIT`]. `account` is the account of the program that asks, if it
/// can have one of its own.
///
/// # Errors
/// If more than half of the validators that answer name a gateway of another identity at our address, and none lists our own identity. So
/// nobody can keep a bonded gateway from starting by bonding another with its address, and neither can one lying validator. Every other
/// result is a warning.
pub fn refuse_if_taken(plan: &RunPlan, account: Option<Account>) -> Result<(), AddressTaken> {
    if plan.config.validators.is_empty() {
        return Ok(());
    }
    let query = ValidatorQuery {
        account,
        validators: plan.config.validators.clone(),
        contract: plan.config.contract.clone().unwrap_or_default(),
        mix_host: plan.config.mix_announce(),
        clients_host: plan.config.clients_announce(),
        identity: plan.public_keys.identity_base58(),
    };
    let asked = ask(&query).map(|QueryResult { answer, missing }| {
        log_missing_layers("validator-query", &missing);
        answer
    });
    let reasons = match asked {
        Ok(ValidatorAnswer::NoConflict) => return Ok(()),
        Ok(ValidatorAnswer::SameIdentity { also: Some(other) }) => {
            tracing::warn!(
                id = "GWD-G045",
                "a gateway with our identity is bonded, and another one ({other}) claims our address; starting, because \
                 anybody can claim it"
            );
            return Ok(());
        }
        Ok(ValidatorAnswer::Disputed { identity, named_by, answered }) => {
            tracing::warn!(
                id = "GWD-G046",
                "{named_by} of {answered} validators that answered say that a gateway with another identity ({identity}) \
                 announces our address; starting, because they do not agree"
            );
            return Ok(());
        }
        Ok(ValidatorAnswer::SameIdentity { also: None }) => {
            tracing::warn!(
                id = "GWD-G047",
                "a gateway with our identity is already bonded with our address: fine after a restart, but two gateways \
                 with one identity lose messages"
            );
            return Ok(());
        }
        Ok(ValidatorAnswer::Conflict { identity }) => {
            return Err(AddressTaken { identity, mix_host: query.mix_host, clients_host: query.clients_host });
        }
        Ok(ValidatorAnswer::Unreachable { reasons }) => reasons,
        Err(error) => error.to_string(),
    };
    tracing::warn!(
        id = "GWD-G048",
        "no validator could be asked whether another gateway announces our address: {reasons}; starting anyway \
         (`--validators \"\"` with `gatewayd init` asks none)"
    );
    Ok(())
}
