//! `signer`: no worker, but a program that explains or signs one text of the operator and ends. It makes no call beside the common ones.

use super::{Network, Policy, Unlisted};

/// That of `signer`.
pub const SIGNER: Policy = Policy { name: "signer", network: Network::Accepts, unlisted: Unlisted::Kills, own: &[] };
