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

// Macros first, for the modules below.

/// `allow!(SYS_read, "links")`: a rule that lets the call of this name through.
macro_rules! allow {
    ($call:ident, $why:literal) => {
        $crate::policy::Rule {
            constant: stringify!($call),
            number: libc::$call,
            arguments: &[],
            verdict: $crate::policy::Verdict::Allow,
            why: $why,
            seen: true,
        }
    };
}

/// `absent!(SYS_clone3, "threads")`: a rule that answers the call of this name as a kernel would that does not have it.
macro_rules! absent {
    ($call:ident, $why:literal) => {
        $crate::policy::Rule { verdict: $crate::policy::Verdict::Absent, ..allow!($call, $why) }
    };
}

/// `deadly!(SYS_execve, "a program")`: a rule by which the process dies of the call of this name, even where unlisted calls fail.
macro_rules! deadly {
    ($call:ident, $why:literal) => {
        $crate::policy::Rule { verdict: $crate::policy::Verdict::Kill, ..allow!($call, $why) }
    };
}

mod client_edge;
mod common;
mod mix_egress;
mod mix_ingress;
mod store;
mod validator_query;

use proto::ipc::Role;

pub use self::{
    client_edge::CLIENT_EDGE, mix_egress::MIX_EGRESS, mix_ingress::MIX_INGRESS, store::STORE,
    validator_query::VALIDATOR_QUERY,
};

/// What one role may do.
#[derive(Debug)]
pub struct Policy {
    /// The name of its process.
    pub name: &'static str,
    /// Its relation to the network.
    pub network: Network,
    /// What becomes of a call that no rule lists.
    pub unlisted: Unlisted,
    /// Its own calls, beside the common ones.
    pub own: &'static [Rule],
}

/// The result of a call that no rule lists. The call is not carried out in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unlisted {
    /// The process dies of the call. For a program of which all code is known, and so all calls.
    Kills,
    /// The call fails with `ENOSYS`. For a program that loads libraries of the machine, whose calls nobody can list.
    Fails,
}

/// Who opens the connections of a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Only peers, if anybody.
    Accepts,
    /// The process itself.
    Connects,
}

/// One line of a policy.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// The constant that names the call: `SYS_` and its name.
    constant: &'static str,
    /// Its number on this architecture.
    pub number: i64,
    /// Conditions on its arguments, all of which must hold.
    pub arguments: &'static [Argument],
    /// The result of the call.
    pub verdict: Verdict,
    /// What needs the call.
    pub why: &'static str,
    /// Whether a traced run of all tests shows the call.
    pub seen: bool,
}

/// The result of a call that a rule lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The call is carried out.
    Allow,
    /// The call is not carried out, and fails with `ENOSYS`. For what the C library tries and can do without.
    Absent,
    /// The call is not carried out, and the process dies of it, even where unlisted calls [fail](Unlisted::Fails).
    Kill,
}

/// A condition on one argument. Of a number only the lower 32 bits are compared, which are those that the kernel heeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argument {
    /// The position of the argument, from 0.
    pub index: u8,
    /// The condition.
    pub must: Must,
}

/// What must be true of an [`Argument`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Must {
    /// The argument is this number.
    Equal(u64),
    /// The argument is any other number than this one.
    NotEqual(u64),
    /// Of the bits in `mask`, the argument has exactly those in `value`.
    HaveBits {
        /// The bits that are compared.
        mask: u64,
        /// Their value.
        value: u64,
    },
    /// The argument is the number of the calling process.
    BeOwnProcess,
    /// The argument is a null pointer; all of its bits are compared.
    BeNull,
}

impl Policy {
    /// The policy of a worker.
    pub const fn of(role: Role) -> &'static Self {
        match role {
            Role::MixIngress => &MIX_INGRESS,
            Role::MixEgress => &MIX_EGRESS,
            Role::ClientEdge => &CLIENT_EDGE,
            Role::Store => &STORE,
        }
    }

    /// The common rules and the role's own.
    pub fn rules(&self) -> impl Iterator<Item = &'static Rule> {
        common::RULES.iter().chain(self.own)
    }
}

impl Rule {
    /// The call's name.
    pub fn call(&self) -> &'static str {
        self.constant.strip_prefix("SYS_").unwrap_or(self.constant)
    }

    /// The same rule with these conditions.
    const fn when(mut self, arguments: &'static [Argument]) -> Self {
        self.arguments = arguments;
        self
    }

    /// The same rule, marked as one that no test shows.
    const fn unseen(mut self) -> Self {
        self.seen = false;
        self
    }
}

const fn is(index: u8, value: i32) -> Argument {
    Argument { index, must: Must::Equal(value.cast_unsigned() as u64) }
}

const fn is_not(index: u8, value: i32) -> Argument {
    Argument { index, must: Must::NotEqual(value.cast_unsigned() as u64) }
}

const fn has_none_of(index: u8, bits: i32) -> Argument {
    Argument { index, must: Must::HaveBits { mask: bits.cast_unsigned() as u64, value: 0 } }
}

const fn is_but_for(index: u8, value: i32, ignored: i32) -> Argument {
    let mask = (!ignored).cast_unsigned() as u64;
    Argument { index, must: Must::HaveBits { mask, value: value.cast_unsigned() as u64 } }
}

const fn is_null(index: u8) -> Argument {
    Argument { index, must: Must::BeNull }
}

const fn is_own_process(index: u8) -> Argument {
    Argument { index, must: Must::BeOwnProcess }
}
