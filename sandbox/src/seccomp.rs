//! How a policy becomes a filter in the kernel.
//!
//! There are three filters. The first is the list: a call that is not on it fails or raises SIGSYS, as the policy says. The second fails
//! the calls that the policy marks as absent. The third raises SIGSYS for the calls that the policy marks as deadly. Of several
//! filters the kernel heeds the strictest. Calls by the numbers of another architecture kill at once.
//!
//! A call that is listed without a condition costs nothing: the kernel remembers that it is let through.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter,
};

use crate::{
    policy::{Argument, Must, Policy, Rule, Unlisted, Verdict},
    refusal::FATAL,
    step::Why,
};

const REMEDY: &str =
    "it takes a kernel with CONFIG_SECCOMP_FILTER, and a container that does not forbid the system call seccomp";

/// The programs for the kernel.
pub(crate) struct Filter {
    listed: BpfProgram,
    absent: BpfProgram,
    deadly: Option<BpfProgram>,
}

/// Compiles `policy`.
pub(crate) fn filter(policy: &Policy) -> Result<Filter, Why> {
    compile(policy).map_err(|error| Why::new(error, REMEDY))
}

fn compile(policy: &Policy) -> Result<Filter, seccompiler::Error> {
    use SeccompAction::{Allow, Errno, Trap};
    let program = |rules, otherwise, then| -> Result<BpfProgram, seccompiler::Error> {
        let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
        Ok(SeccompFilter::new(rules, otherwise, then, architecture)?.try_into()?)
    };
    // The list lets absent calls through, because their answer comes from the second filter.
    let listed = alternatives(policy.rules().filter(|rule| rule.verdict != Verdict::Kill))?;
    let absent = alternatives(policy.rules().filter(|rule| is_absent(policy, rule)))?;
    let mut deadly = alternatives(policy.rules().filter(|rule| rule.verdict == Verdict::Kill))?;
    let fail = Errno(libc::ENOSYS.cast_unsigned());
    let unlisted = match policy.unlisted {
        Unlisted::Kills => Trap,
        Unlisted::Fails => {
            deadly.insert(FATAL.cast_unsigned().into(), Vec::new());
            fail.clone()
        }
    };
    Ok(Filter {
        listed: program(listed, unlisted, Allow)?,
        absent: program(absent, Allow, fail)?,
        deadly: if deadly.is_empty() { None } else { Some(program(deadly, Allow, Trap)?) },
    })
}

/// A call is not absent if another rule allows it with the same conditions or without any.
fn is_absent(policy: &Policy, rule: &Rule) -> bool {
    let allows = |other: &Rule| {
        other.number == rule.number
            && other.verdict == Verdict::Allow
            && (other.arguments.is_empty() || other.arguments == rule.arguments)
    };
    rule.verdict == Verdict::Absent && !policy.rules().any(allows)
}

/// Each call with its alternative sets of conditions, of which one is enough. An empty list means that there is no condition.
fn alternatives<'a>(
    rules: impl Iterator<Item = &'a Rule>,
) -> Result<BTreeMap<i64, Vec<SeccompRule>>, seccompiler::Error> {
    let mut calls: BTreeMap<i64, Option<Vec<SeccompRule>>> = BTreeMap::new();
    for rule in rules {
        let alternatives = calls.entry(rule.number).or_insert_with(|| Some(Vec::new()));
        match (rule.arguments.is_empty(), alternatives) {
            (true, alternatives) => *alternatives = None,
            (false, Some(alternatives)) => alternatives.push(SeccompRule::new(conditions(rule)?)?),
            (false, None) => {}
        }
    }
    Ok(calls.into_iter().map(|(number, alternatives)| (number, alternatives.unwrap_or_default())).collect())
}

fn conditions(rule: &Rule) -> Result<Vec<SeccompCondition>, seccompiler::Error> {
    let condition = |Argument { index, must }: &Argument| {
        // Upper halves that the kernel ignores are not compared: numbers are ints, or flags below 2^32.
        let int = SeccompCmpArgLen::Dword;
        let (len, operator, value) = match *must {
            Must::Equal(value) => (int, SeccompCmpOp::Eq, value),
            Must::NotEqual(value) => (int, SeccompCmpOp::Ne, value),
            Must::HaveBits { mask, value } => (int, SeccompCmpOp::MaskedEq(mask), value),
            Must::BeOwnProcess => (int, SeccompCmpOp::Eq, u64::from(std::process::id())),
            Must::BeNull => (SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0),
        };
        Ok(SeccompCondition::new(*index, len, operator, value)?)
    };
    rule.arguments.iter().map(condition).collect()
}

impl Filter {
    /// Gives the programs to the kernel. From then on they hold for this thread and all that it starts.
    pub(crate) fn apply(&self) -> Result<(), Why> {
        // The list comes last, because it forbids the call that installs a filter.
        let first = [Some(&self.absent), self.deadly.as_ref()].into_iter().flatten();
        let mut filters = first.chain([&self.listed]);
        let applied = filters.try_for_each(|filter| apply_filter(filter));
        applied.map_err(|error| Why::new(error, REMEDY))
    }
}
