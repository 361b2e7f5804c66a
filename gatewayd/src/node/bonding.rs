//! `gatewayd bonding-information`: what a wallet asks for before it bonds the gateway. It reads public files only, and signs nothing.

use std::num::NonZeroU16;

use serde::Serialize;

use super::{Announced, InvalidNode};
use crate::{
    config::DEFAULT_HTTP_PORT,
    console::Console,
    own_command::command_for,
    path_guard::PathGuard,
    paths::{GatewayId, GatewayPaths, Root},
    plan::{self, Environment, PlanError},
    sign::Output,
};

/// Why there is nothing to tell the wallet.
#[derive(Debug, thiserror::Error)]
pub enum BondingError {
    /// The gateway's configuration or keys cannot be used.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// There is no host to bond.
    #[error(transparent)]
    Node(#[from] InvalidNode),
    /// No JSON could be made of it.
    #[error("cannot write JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// What is bonded, in the form in which nym-node prints it as JSON.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct BondingInformation {
    /// The name or first address at which the directory reads the description. IPv6 is in brackets, since it becomes part of a URL.
    host: String,
    /// Ed25519.
    identity_key: [u8; 32],
    /// The port at which it reads, if it is not the one that it tries first.
    #[serde(skip)]
    custom_http_port: Option<NonZeroU16>,
}

/// Prints what a wallet asks for.
///
/// # Errors
/// With what is missing and what to do.
pub fn execute(
    id: &GatewayId,
    root: &Root,
    output: Output,
    environment: Environment,
    console: &mut Console<'_>,
) -> Result<(), BondingError> {
    let guard = PathGuard::for_reading(GatewayPaths::new(root, id).home());
    let mut plan = plan::read(id, root, guard, None, environment)?;
    if !plan.config.node.enabled {
        tracing::warn!(
            id = "GWD-G013",
            "[node] is off, so that nobody could read the description of this gateway: turn it on with `{} --node ...` \
             before you bond it",
            command_for("init", id)
        );
        plan.config.node.enabled = true;
    }
    let facts = Announced::of(&plan.config, &plan.public_keys)?.facts.ok_or(InvalidNode::NoAddress)?;
    let port = plan.config.node.http_bind_address.port();
    let information = BondingInformation {
        host: facts.bonded_host().ok_or(InvalidNode::NoAddress)?,
        identity_key: plan.public_keys.identity,
        custom_http_port: NonZeroU16::new(port).filter(|_| port != DEFAULT_HTTP_PORT),
    };
    match output {
        Output::Text => console.line(information.text(&plan.public_keys.identity_base58())),
        Output::Json => console.line(serde_json::to_string(&information)?),
    }
    Ok(())
}

impl BondingInformation {
    fn text(&self, identity: &str) -> String {
        let port = match self.custom_http_port {
            Some(port) => format!("{port} (the description is served there, so give it to the wallet)"),
            None => {
                format!("none (the description is served at {DEFAULT_HTTP_PORT}, which is tried first; leave it empty)")
            }
        };
        format!("Identity Key: {identity}\nHost: {}\nCustom HTTP Port: {port}", self.host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_json_have_the_order_of_nym_node() {
        let mut information = BondingInformation {
            host: "gw.example".into(),
            identity_key: [7; 32],
            custom_http_port: NonZeroU16::new(81),
        };
        assert!(information.text("ABC").starts_with("Identity Key: ABC\nHost: gw.example\nCustom HTTP Port: 81 "));
        let json = serde_json::to_string(&information).unwrap();
        assert!(json.starts_with(r#"{"host":"gw.example","identity_key":[7,7,"#), "{json}");
        information.custom_http_port = None;
        assert!(information.text("ABC").contains("\nCustom HTTP Port: none"));
    }
}
