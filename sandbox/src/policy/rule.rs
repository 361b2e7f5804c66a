//! The parts of a policy: rules, their verdicts, and conditions on arguments.

/// `allow!(SYS_read, "links")`: a rule that lets the call of this name through.
macro_rules! allow {
    ($call:ident, $why:literal) => {
        $crate::policy::rule::Rule {
            constant: stringify!($call),
            number: libc::$call,
            arguments: &[],
            verdict: $crate::policy::rule::Verdict::Allow,
            why: $why,
            seen: true,
        }
    };
}

/// `absent!(SYS_clone3, "threads")`: a rule that answers the call of this name as a kernel would that does not have it.
macro_rules! absent {
    ($call:ident, $why:literal) => {
        $crate::policy::rule::Rule { verdict: $crate::policy::rule::Verdict::Absent, ..allow!($call, $why) }
    };
}

/// `deadly!(SYS_execve, "a program")`: a rule by which the process dies of the call of this name, even where unlisted calls fail.
macro_rules! deadly {
    ($call:ident, $why:literal) => {
        $crate::policy::rule::Rule { verdict: $crate::policy::rule::Verdict::Kill, ..allow!($call, $why) }
    };
}

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
    pub(super) constant: &'static str,
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

impl Rule {
    /// The call's name.
    pub fn call(&self) -> &'static str {
        self.constant.strip_prefix("SYS_").unwrap_or(self.constant)
    }

    /// The same rule with these conditions.
    pub(super) const fn when(mut self, arguments: &'static [Argument]) -> Self {
        self.arguments = arguments;
        self
    }

    /// The same rule, marked as one that no test shows.
    pub(super) const fn unseen(mut self) -> Self {
        self.seen = false;
        self
    }
}

pub(super) const fn is(index: u8, value: i32) -> Argument {
    Argument { index, must: Must::Equal(value.cast_unsigned() as u64) }
}

pub(super) const fn is_not(index: u8, value: i32) -> Argument {
    Argument { index, must: Must::NotEqual(value.cast_unsigned() as u64) }
}

pub(super) const fn has_none_of(index: u8, bits: i32) -> Argument {
    Argument { index, must: Must::HaveBits { mask: bits.cast_unsigned() as u64, value: 0 } }
}

pub(super) const fn is_but_for(index: u8, value: i32, ignored: i32) -> Argument {
    let mask = (!ignored).cast_unsigned() as u64;
    Argument { index, must: Must::HaveBits { mask, value: value.cast_unsigned() as u64 } }
}

pub(super) const fn is_null(index: u8) -> Argument {
    Argument { index, must: Must::BeNull }
}

pub(super) const fn is_own_process(index: u8) -> Argument {
    Argument { index, must: Must::BeOwnProcess }
}
