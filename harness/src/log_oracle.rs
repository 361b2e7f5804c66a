//! Reads the gateway's log: its counters, and lines that must never be in it. A death that no fault explains is a bug,
//! be it a panic, a broken rule of a link, or the kernel's verdict on a forbidden system call.

use std::collections::{BTreeMap, HashSet};

use crate::{
    log::{Log, REFUSAL, field},
    process::Process,
};

mod errors;

pub use errors::Cause;

type Counters = BTreeMap<String, u64>;

/// Words that no fault explains, whatever else the line says.
const FATAL: [&str; 3] = ["panicked", "cannot start", REFUSAL];

/// What the log has said so far, over all starts of the gateway.
#[derive(Debug, Default)]
pub struct LogOracle {
    /// Lines of the present log that have been read.
    read: usize,
    /// All lines of all logs.
    said: Vec<String>,
    killed: HashSet<u32>,
    /// What has been done to the gateway so far.
    causes: HashSet<Cause>,
    /// Of the present process of each role; what it counted is in the log now and then, and at an orderly end.
    counting: BTreeMap<String, Counters>,
    counted: BTreeMap<String, Counters>,
    strange: Vec<String>,
}

/// What has just been done to the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Injected {
    /// Nothing that would have one worker report another.
    Nothing,
    /// A link was fed with garbage: a worker will report the one that sent it.
    Garbage,
}

impl LogOracle {
    /// This process is about to be killed by a fault.
    pub fn expect_death(&mut self, process: Process) {
        self.expect(Cause::Death);
        self.killed.insert(process.0);
    }

    /// Something is about to be done of which the log may complain.
    pub fn expect(&mut self, cause: Cause) {
        self.causes.insert(cause);
    }

    /// Reads what is new.
    pub fn look(&mut self, log: &Log, injected: Injected) {
        if injected == Injected::Garbage {
            self.expect(Cause::Garbage);
        }
        let lines = log.lines();
        let new = lines.get(self.read..).unwrap_or_default();
        for line in new {
            self.read_line(line, injected);
        }
        self.said.extend_from_slice(new);
        self.read = lines.len();
    }

    /// Reads what is new; the next log will be another one.
    pub fn close(&mut self, log: &Log) {
        self.look(log, Injected::Nothing);
        self.read = 0;
    }

    fn read_line(&mut self, line: &str, injected: Injected) {
        let pid = field(line, "pid").and_then(|pid| pid.parse().ok());
        if let Some((head, counters)) = line.split_once(" > counters: ") {
            let role = head.rsplit(' ').next().unwrap_or_default().to_owned();
            let pairs = counters.split_whitespace().filter_map(|pair| pair.split_once('='));
            let counters = pairs.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect();
            self.counting.insert(role, counters);
        } else if line.contains("worker started") {
            self.fold(field(line, "worker").unwrap_or_default());
        } else if line.contains("worker is killed") {
            self.expect(Cause::Death);
            self.killed.extend(pid);
            if injected == Injected::Nothing {
                self.strange.push(line.to_owned());
            }
        } else if line.contains("worker died") && !line.contains(REFUSAL) {
            if pid.is_none_or(|pid| !self.killed.contains(&pid)) {
                self.strange.push(line.to_owned());
            }
        } else if FATAL.iter().any(|words| line.contains(words)) || self.is_unexplained_error(line) {
            self.strange.push(line.to_owned());
        }
    }

    fn is_unexplained_error(&self, line: &str) -> bool {
        errors::is_error(line) && errors::cause_of(line).is_none_or(|cause| !self.causes.contains(&cause))
    }

    fn fold(&mut self, role: &str) {
        let Some(counters) = self.counting.remove(role) else { return };
        let sums = self.counted.entry(role.to_owned()).or_default();
        for (name, value) in counters {
            *sums.entry(name).or_default() += value;
        }
    }

    /// Adds a finding that is no line of the log.
    pub fn note(&mut self, what: String) {
        self.strange.push(what);
    }

    /// Keeps a log without a judgement: its gateway may die of anything.
    pub fn overhear(&mut self, log: &Log) {
        self.said.extend(log.lines());
    }

    /// All lines that have been read.
    pub fn said(&self) -> &[String] {
        &self.said
    }

    /// All lines that no fault explains.
    pub fn strange(&self) -> &[String] {
        &self.strange
    }

    /// Counters of all roles, as far as their processes lived to tell.
    pub fn counters(mut self) -> BTreeMap<String, Counters> {
        let roles: Vec<String> = self.counting.keys().cloned().collect();
        for role in roles {
            self.fold(&role);
        }
        self.counted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIED: &str = " 2026 ERROR gatewayd > worker died worker=store pid=7 status=signal: 31 (SIGSYS) (core dumped)";

    #[test]
    fn a_death_that_nobody_caused_is_strange() {
        let mut log_oracle = LogOracle::default();
        log_oracle.read_line(DIED, Injected::Nothing);
        assert_eq!(log_oracle.strange(), [DIED]);
        let mut log_oracle = LogOracle::default();
        log_oracle.expect_death(Process(7));
        log_oracle.read_line(DIED, Injected::Nothing);
        assert_eq!(log_oracle.strange(), [""; 0]);
    }

    #[test]
    fn a_report_of_a_peer_needs_garbage_and_explains_a_death() {
        let reported = " 2026 ERROR gatewayd > worker is killed: it broke a rule of its link worker=store pid=7";
        for (injected, strange) in [(Injected::Nothing, 1), (Injected::Garbage, 0)] {
            let mut log_oracle = LogOracle::default();
            log_oracle.read_line(reported, injected);
            log_oracle.read_line(DIED, Injected::Nothing);
            assert_eq!(log_oracle.strange().len(), strange);
        }
    }

    #[test]
    fn an_error_that_no_fault_explains_is_strange() {
        let full = " 2026 ERROR store > new mail and new clients are refused error=there is no room left";
        let unknown = " 2026 ERROR store > a stored message is damaged inbox=7";
        let mut log_oracle = LogOracle::default();
        log_oracle.read_line(full, Injected::Nothing);
        assert_eq!(log_oracle.strange(), [full]);
        log_oracle.expect(Cause::FullDisk);
        log_oracle.read_line(full, Injected::Nothing);
        log_oracle.read_line(unknown, Injected::Nothing);
        assert_eq!(log_oracle.strange(), [full, unknown]);
    }

    #[test]
    fn counters_of_all_processes_of_a_role_are_added_up() {
        let mut log_oracle = LogOracle::default();
        for line in [
            " 2026 INFO  store > counters: refused_inbox_full=1",
            " 2026 INFO  store > counters: refused_inbox_full=3 pushed=2",
            " 2026 INFO  gatewayd > worker started worker=store pid=8",
            " 2026 INFO  store > counters: refused_inbox_full=4",
        ] {
            log_oracle.read_line(line, Injected::Nothing);
        }
        let counters = log_oracle.counters();
        assert_eq!(counters["store"], Counters::from([("refused_inbox_full".into(), 7), ("pushed".into(), 2)]));
    }
}
