//! Answers the questions of an audit, for a running gateway and for a self-test alike.

use std::sync::Arc;

use super::{
    prober::{Prober, WaitingProbe},
    wire::{AuditAnswer, AuditQuestion, Live, Roster},
};
use crate::launch::LaunchSpec;

/// Answers one question after the other.
#[derive(Debug)]
pub(crate) struct Examiner {
    prober: Prober,
    waiting: Option<WaitingProbe>,
}

impl Examiner {
    pub(crate) const fn new(prober: Prober) -> Self {
        Self { prober, waiting: None }
    }

    /// Starts probes from `spec` from now on.
    pub(crate) fn measure_with(&mut self, spec: Arc<LaunchSpec>) {
        self.prober = Prober::new(spec);
    }

    /// Answers a question. `live` are the workers that are alive.
    pub(crate) async fn answer(&mut self, question: AuditQuestion, live: Vec<Live>) -> AuditAnswer {
        self.waiting = None;
        let roster = Roster { supervisor: std::process::id(), live };
        match question {
            AuditQuestion::ShowRoster => AuditAnswer::Roster(roster),
            AuditQuestion::WaitInJail { role } => match self.prober.wait_in_jail(role).await {
                Ok(waiting) => {
                    let waiting = self.waiting.insert(waiting);
                    AuditAnswer::Waiting { pid: waiting.pid(), layers: waiting.layers().clone() }
                }
                Err(error) => AuditAnswer::Failed(error.to_string()),
            },
            AuditQuestion::Measure { role, ability } => {
                let others = roster.others_than(role);
                if others.is_empty() {
                    return AuditAnswer::Failed(format!("no worker beside {role} is alive, so there is no target"));
                }
                let measured = self.prober.measure(role, ability, others).await;
                measured.map_or_else(|error| AuditAnswer::Failed(error.to_string()), AuditAnswer::Measured)
            }
        }
    }
}
