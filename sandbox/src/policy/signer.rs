//! `signer`: no worker, but a program that explains or signs one text of the operator and ends. It makes the common calls only.

use super::rule::{Network, Policy, Unlisted};

/// The policy of `signer`.
pub const SIGNER: Policy = Policy { name: "signer", network: Network::Accepts, unlisted: Unlisted::Kills, own: &[] };
