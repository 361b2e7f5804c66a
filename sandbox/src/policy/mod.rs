//! Which system calls each role may make.
//!
//! A policy is a list of rules, one per line: the call, conditions on its arguments if there are any, and what needs it. Rules of
//! [`common`] hold for every role. A call that no rule lists is not carried out, and a worker dies of it
//! (`refusal`); [`Unlisted`] says who does not. If several rules name one call, any of them is enough. Conditions look at numbers
//! only: what a pointer leads to cannot be judged.
//!
//! Each rule says whether the call is carried out (`allow!`), fails as on a kernel that does not have it (`absent!`), or is one that
//! the process dies of although others fail (`deadly!`).
//!
//! A rule marked [`unseen`](Rule::unseen) is for what does not happen in any test: a kernel without a fast path, a broken
//! clock, a C library of another age.
//!
//! Traced on x86-64. On other 64-bit architectures the calls that they do not have are left out, and the ones that take their
//! place are listed; nobody has traced the workers there yet.

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

/// `deadly!(SYS_execve, "a program")`: a rule by which the process dies of the call of this name, whatever becomes of others.
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

/// What becomes of a call that no rule lists. It is not carried out in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unlisted {
    /// The process dies of it: all of its code is known, and so are its calls.
    Kills,
    /// It fails with `ENOSYS`. For a program into which the machine loads code of its own, whose calls nobody can list.
    Fails,
}

/// Who begins a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// The others, if anybody.
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
    /// All of this must be true of its arguments.
    pub arguments: &'static [Argument],
    /// What becomes of it.
    pub verdict: Verdict,
    /// What needs it.
    pub why: &'static str,
    /// Whether a traced run of all tests shows it.
    pub seen: bool,
}

/// What becomes of a call that a rule lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is carried out.
    Allow,
    /// It is not carried out, and fails with `ENOSYS`. For what the C library tries and can do without.
    Absent,
    /// It is not carried out, and the process dies of it, even where what is not listed [fails](Unlisted::Fails).
    Kill,
}

/// What must be true of one argument. Of a number its lower 32 bits are looked at: those that the kernel heeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Which, from 0.
    pub index: u8,
    /// What.
    pub must: Must,
}

/// See [`Argument`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Must {
    /// It must be this number.
    Equal(u64),
    /// It must be another number than this one.
    NotEqual(u64),
    /// Of the bits in `mask` it must have exactly those in `value`.
    HaveBits {
        /// Which bits.
        mask: u64,
        /// What they must be.
        value: u64,
    },
    /// It must be the number of the calling process.
    BeOwnProcess,
    /// It must be a pointer to nothing; all of its bits are looked at.
    BeNull,
}

impl Policy {
    /// That of a worker.
    pub const fn of(role: Role) -> &'static Self {
        match role {
            Role::MixIngress => &MIX_INGRESS,
            Role::MixEgress => &MIX_EGRESS,
            Role::ClientEdge => &CLIENT_EDGE,
            Role::Store => &STORE,
        }
    }

    /// The common rules and its own.
    pub fn rules(&self) -> impl Iterator<Item = &'static Rule> {
        common::RULES.iter().chain(self.own)
    }
}

impl Rule {
    /// The call's name.
    pub fn call(&self) -> &'static str {
        self.constant.strip_prefix("SYS_").unwrap_or(self.constant)
    }

    /// The same, if this is true of an argument, too.
    const fn when(mut self, arguments: &'static [Argument]) -> Self {
        self.arguments = arguments;
        self
    }

    /// The same, marked as one that no test shows.
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
