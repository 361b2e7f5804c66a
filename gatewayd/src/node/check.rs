//! `gatewayd node-check`: what would be wrong with this gateway as a node of today's network, before it is bonded.
//!
//! Some of it the configuration and this machine tell ([`local`]). For the rest the program `node-check` looks at the gateway from outside.
//!
//! *Trusts*: nothing that the program says but its form, since it has read what answers at a public address. *Promises*: every finding has a
//! remedy; nothing is changed, and the client that is registered for a try is forgotten again.

mod local;
mod remedy;

use ipc::{
    codec,
    node_check::{MAX_ANSWER, NodeCheckAnswer, NodeCheckRequest, TIME_LIMIT},
};

use super::{Announced, InvalidNode};
use crate::{
    config::DEFAULT_HTTP_PORT,
    console::Console,
    findings::{Line, Verdict},
    launch::{AccountError, Accounts, Answered, OneShot, OneShotError, log_missing_layers},
    own_command::command_for,
    path_guard::PathGuard,
    paths::{GatewayId, GatewayPaths, Root},
    plan::{self, Environment, PlanError, RunPlan},
};

const PROGRAM: OneShot = OneShot { program: "node-check", time_limit: TIME_LIMIT, max_answer: MAX_ANSWER };

/// Why a gateway is not fit, or could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The gateway's configuration or keys cannot be used.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Nothing can be announced.
    #[error(transparent)]
    Node(#[from] InvalidNode),
    /// There is nothing to look at.
    #[error(
        "[node] is off, so that there is nothing to check: turn it on with `{} --node ...`, and start the gateway",
        command_for("init", .0)
    )]
    Off(GatewayId),
    /// No account for the program.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The program gave no answer.
    #[error(
        "could not look at the gateway from outside: {0}; look whether its name is resolved, and what answers at its public address, and \
         try again"
    )]
    Program(#[from] OneShotError),
    /// Some findings would keep clients or the directory away.
    #[error(
        "lines above that say what would keep clients or the directory away: {0}; mend that before you bond the gateway"
    )]
    Unfit(usize),
}

/// Looks at gateway `id` and prints what was found.
///
/// # Errors
/// If something would keep clients or the directory away, or nothing could be looked at.
pub fn execute(
    id: &GatewayId,
    root: &Root,
    environment: Environment,
    console: &mut Console<'_>,
) -> Result<(), CheckError> {
    let guard = PathGuard::for_reading(GatewayPaths::new(root, id).home());
    let plan = plan::read(id, root, guard, None, environment)?;
    if !plan.config.node.enabled {
        return Err(CheckError::Off(id.clone()));
    }
    let mut lines = local::look(&plan);
    lines.iter().for_each(|line| line.print(console));
    // Looking from outside takes a while, and what is known already is shown whatever comes of it.
    console.flush();
    let outside = look_from_outside(&plan)?;
    outside.iter().for_each(|line| line.print(console));
    lines.extend(outside);
    match lines.iter().filter(|line| line.verdict == Verdict::Bad).count() {
        0 => Ok(()),
        bad => Err(CheckError::Unfit(bad)),
    }
}

/// Whether the clock is right.
pub(crate) fn clock_line() -> Line {
    local::clock_now()
}

fn look_from_outside(plan: &RunPlan) -> Result<Vec<Line>, CheckError> {
    let accounts = Accounts::choose(plan.config.sandbox.first_account.get())?;
    let request = NodeCheckRequest { account: accounts.of_query(), ..request(plan)? };
    // Its texts are limited by the configuration, so it always fits.
    let bytes = codec::encode_one(&request).map_err(|_| OneShotError::Malformed(PROGRAM.program))?;
    let Answered { answer, missing } = PROGRAM.ask(&bytes, &[])?;
    log_missing_layers(PROGRAM.program, &missing);
    let answer: NodeCheckAnswer = codec::decode_one(&answer).map_err(|_| OneShotError::Malformed(PROGRAM.program))?;
    Ok(answer.printable().findings.iter().map(|finding| remedy::line(finding, &request)).collect())
}

/// What is asked of the program, but for its account.
fn request(plan: &RunPlan) -> Result<NodeCheckRequest, InvalidNode> {
    let Announced { facts, description } = plan.announced.clone();
    let facts = facts.ok_or(InvalidNode::NoAddress)?;
    let port = plan.config.node.http_bind_address.port();
    Ok(NodeCheckRequest {
        account: None,
        host: facts.bonded_host().ok_or(InvalidNode::NoAddress)?,
        custom_http_port: Some(port).filter(|port| *port != DEFAULT_HTTP_PORT),
        identity: plan.public_keys.identity,
        facts,
        program: description.program,
        ws_port: description.ws_port,
        wss_port: description.wss_port,
        mix_port: description.mix_port,
        accepted_terms: description.accepted_terms,
    })
}
