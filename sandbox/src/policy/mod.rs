//! Which system calls each role may make.
//!
//! A policy is a list of rules, one per line: the call, conditions on its arguments if there are any, and what needs it. Rules of
//! [`common`] hold for every role. A call that no rule lists is not carried out, and a worker dies of it (`refusal`). For a program
//! with [`Unlisted::Fails`] such a call fails instead. If several rules name one call, any of them is enough. Conditions look at
//! numbers only, because a filter cannot read what a pointer leads to.
//!
//! Each rule has a verdict: the call is carried out (`allow!`), fails as on a kernel without it (`absent!`), or kills the process even
//! where unlisted calls fail (`deadly!`).
//!
//! A rule marked [`unseen`](Rule::unseen) is for a call that no test makes: on a kernel without a fast path, with a broken clock, or
//! in an older or newer C library.
//!
//! The lists were traced on x86-64. Calls that other 64-bit architectures lack are left out there, and the calls that replace them are
//! listed. Nobody has traced the workers there yet.

// First, because the modules below use its macros.
#[macro_use]
mod rule;

mod client_edge;
mod common;
mod http_api;
mod mix_egress;
mod mix_ingress;
mod signer;
mod store;
mod validator_query;

use ipc::Role;

pub use self::{
    client_edge::CLIENT_EDGE,
    http_api::HTTP_API,
    mix_egress::MIX_EGRESS,
    mix_ingress::MIX_INGRESS,
    rule::{Argument, Must, Network, Policy, Rule, Unlisted, Verdict},
    signer::SIGNER,
    store::STORE,
    validator_query::{NODE_CHECK, VALIDATOR_QUERY},
};

impl Policy {
    /// The policy of a worker.
    pub const fn of(role: Role) -> &'static Self {
        match role {
            Role::MixIngress => &MIX_INGRESS,
            Role::MixEgress => &MIX_EGRESS,
            Role::ClientEdge => &CLIENT_EDGE,
            Role::Store => &STORE,
            Role::HttpApi => &HTTP_API,
        }
    }

    /// The common rules and the role's own.
    pub fn rules(&self) -> impl Iterator<Item = &'static Rule> {
        common::RULES.iter().chain(self.own)
    }
}
