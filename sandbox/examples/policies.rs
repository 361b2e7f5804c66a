//! Prints each role's policy as `role call whose seen` lines, for `dev/syscalls`.

use std::io::{self, Write};

use sandbox::policy::{CLIENT_EDGE, HTTP_API, MIX_EGRESS, MIX_INGRESS, NODE_CHECK, STORE, VALIDATOR_QUERY, Verdict};

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    for policy in [&MIX_INGRESS, &MIX_EGRESS, &CLIENT_EDGE, &STORE, &HTTP_API, &VALIDATOR_QUERY] {
        for rule in policy.rules().filter(|rule| rule.verdict != Verdict::Kill) {
            let whose = if policy.own.iter().any(|own| std::ptr::eq(own, rule)) { "own" } else { "common" };
            let seen = if rule.seen { "seen" } else { "unseen" };
            writeln!(out, "{} {} {whose} {seen}", policy.name, rule.call())?;
        }
    }
    // Its rules are those of validator-query, which is traced for what needs them.
    for rule in NODE_CHECK.rules().filter(|rule| rule.verdict != Verdict::Kill) {
        writeln!(out, "{} {} shared either", NODE_CHECK.name, rule.call())?;
    }
    Ok(())
}
