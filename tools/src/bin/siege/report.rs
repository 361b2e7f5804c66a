//! What is said about a siege, on standard output.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use harness::{oracle::percentile, output::say};

use crate::{
    attackers::Kind,
    evidence::{Evidence, Phase},
    namespace::Network,
    tally::{Tally, Verdict},
};

/// Of what there is too much to say.
const EXAMPLES: usize = 20;

/// Says what the run is.
///
/// # Errors
/// If standard output is closed.
pub(crate) fn begin(network: &Network, undisturbed: Duration, lasts: Duration) -> Result<()> {
    match network {
        Network::Own => say("in a network namespace of its own, over IPv4 and IPv6")?,
        Network::Shared(why) => {
            say(format_args!("over IPv4 loopback alone; attackers of IPv6 prefixes are skipped: {why}"))?
        }
    }
    say(
        "seats: a tenth of the default, in the same proportions; disk: 1 MiB a second, 64 at least; all other limits as by default",
    )?;
    say(format_args!("undisturbed {undisturbed:?}, besieged {lasts:?}"))
}

/// Writes all of it, and says whether every aim was met.
///
/// # Errors
/// If standard output is closed.
pub(crate) fn print(attackers: &[(Kind, Arc<Tally>)], evidence: &Evidence) -> Result<bool> {
    let mut is_good = true;
    say("")?;
    for (kind, tally) in attackers {
        let verdict = kind.judge(tally, evidence);
        is_good &= verdict == Verdict::Held;
        say(format_args!("{:<19} {}", kind.name(), tally.over(evidence.lasted)))?;
        match verdict {
            Verdict::Held => say(format_args!("attacker {}: held", kind.name()))?,
            Verdict::Fell(why) => say(format_args!("attacker {}: FELL: {why}", kind.name()))?,
        }
    }
    say("")?;
    for phase in [&evidence.undisturbed, &evidence.besieged] {
        print_phase(phase)?;
    }
    print_refusals(evidence)?;
    for (name, kib) in &evidence.peaks {
        say(format_args!("peak memory {kib:>9} KiB {name}"))?;
    }
    is_good &=
        aim("memory", evidence.is_within_memory(), &format!("{} of {} KiB", evidence.memory(), evidence.budget))?;
    let percent = format!("{:.2} %", evidence.besieged.online.percent_acked());
    is_good &= aim("taken at first try", evidence.is_taken_at_first_try(), &percent)?;
    is_good &= aim("latency", evidence.is_fast(), &slower(evidence))?;
    print_losses(evidence)?;
    Ok(is_good && evidence.is_nothing_lost())
}

fn aim(what: &str, is_met: bool, figure: &str) -> Result<bool> {
    say(format_args!("aim {what}: {} ({figure})", if is_met { "met" } else { "MISSED" }))?;
    Ok(is_met)
}

fn slower(evidence: &Evidence) -> String {
    let Some(tails) = evidence.tails() else { return "no mail came".to_owned() };
    let [client, ack] = tails.map(|tail| tail.besieged.as_secs_f64() / tail.undisturbed.as_secs_f64().max(1e-6));
    format!("p99 {client:.1} times to the client, {ack:.1} times to the ack")
}

fn print_phase(phase: &Phase) -> Result<()> {
    for (whose, figures) in [("online clients", &phase.online), ("newcomers' mail", &phase.newcomers)] {
        say(format_args!(
            "{:<11} {whose}: {} sent, {} acked ({:.2} %), {} delivered; to client {}; to ack {}",
            phase.name,
            figures.sent,
            figures.acked,
            figures.percent_acked(),
            figures.delivered,
            times(&figures.to_client),
            times(&figures.to_ack),
        ))?;
    }
    Ok(())
}

fn times(sorted: &[Duration]) -> String {
    let millis = |percent| percentile(sorted, percent).map(|time| time.as_secs_f64() * 1e3);
    match (millis(50), millis(99)) {
        (Some(p50), Some(p99)) => format!("p50 {p50:.2} ms p99 {p99:.2} ms"),
        _ => "never".to_owned(),
    }
}

fn print_refusals(evidence: &Evidence) -> Result<()> {
    say(format_args!("honest logins: {} let in, {} not", evidence.logins, evidence.failed_logins()))?;
    for (reason, count) in evidence.refusals.iter().take(EXAMPLES) {
        say(format_args!("honest, turned away {count:>6} {reason}"))?;
    }
    for (role, counters) in &evidence.counters {
        for (name, value) in counters.iter().filter(|(name, _)| is_refusal(name)) {
            say(format_args!("{value:>26} {name} ({role}, of everybody)"))?;
        }
    }
    say(format_args!("the ledger grew by {} bytes", evidence.ledger_growth))
}

fn print_losses(evidence: &Evidence) -> Result<()> {
    let sums = &evidence.sums;
    for wrong in sums.out_of_order.iter().take(EXAMPLES) {
        say(format_args!("out of order: {wrong}"))?;
    }
    for what in evidence.strange.iter().chain(sums.strange.iter().take(EXAMPLES)) {
        say(format_args!("must not be: {what}"))?;
    }
    for (number, inbox) in sums.lost.iter().take(EXAMPLES) {
        say(format_args!("lost: message {number} for client {inbox}"))?;
    }
    say(format_args!("sent in all: {}; acked in all: {}", sums.sent, sums.acked))?;
    say(format_args!("sent again: {}; acked again: {}", sums.replayed_known, sums.acked_again))?;
    say(format_args!("acked but lost: {}", sums.lost.len()))
}

fn is_refusal(counter: &str) -> bool {
    ["refused", "dropped", "replayed", "malformed", "timeouts", "floods", "displaced", "evicted", "full", "forbidden"]
        .iter()
        .any(|word| counter.contains(word))
}
