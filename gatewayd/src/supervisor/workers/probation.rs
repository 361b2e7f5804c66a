//! Whether the new programs of an upgrade stay.
//!
//! *Trusts*: the pages of figures, in which a worker that is taken over can lie about itself. *Promises*: the programs stay only if, from the moment
//! when all workers were ready until the end of the probation, none has died or been silent for the last ten seconds, every packet is accounted for, and not clearly
//! more is refused than before.

use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use ipc::Role;

use super::{Workers, slot::WorkerState};
use crate::{handover::Refusals, systemd};

/// A probation under way.
#[derive(Debug)]
pub(super) struct ProbationWatch {
    time: Duration,
    before: Refusals,
    stage: Stage,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// The workers start.
    Starting,
    /// They are watched.
    Watching { until: Instant },
    /// The balance is looked at once more.
    Balancing,
    /// The programs stay.
    Passed,
    /// They do not.
    Failed(String),
}

impl Workers {
    /// Watches the workers for `time` once all are ready. `before` is what was refused before the upgrade.
    pub(crate) fn put_on_probation(&mut self, time: Duration, before: Refusals) {
        self.probation = Some(ProbationWatch { time, before, stage: Stage::Starting });
    }

    /// Whether the new programs are still watched.
    pub(in crate::supervisor) const fn is_on_probation(&self) -> bool {
        self.probation.is_some()
    }

    /// The verdict about the new programs, once: that they stay, or why not.
    pub(in crate::supervisor) fn take_verdict(&mut self) -> Option<Result<(), String>> {
        let verdict = match &self.probation.as_ref()?.stage {
            Stage::Passed => Ok(()),
            Stage::Failed(why) => Err(why.clone()),
            Stage::Starting | Stage::Watching { .. } | Stage::Balancing => return None,
        };
        self.probation = None;
        if verdict.is_ok() {
            systemd::status(self.serving());
        }
        Some(verdict)
    }

    /// All workers are ready.
    pub(super) fn begin_to_watch(&mut self, now: Instant) {
        if let Some(watch) = &mut self.probation
            && watch.stage == Stage::Starting
        {
            watch.stage = Stage::Watching { until: now + watch.time };
            tracing::info!(seconds = watch.time.as_secs(), "all workers of the upgrade are ready, and are watched");
        }
    }

    /// Something has happened that a good build does not do.
    pub(super) fn fail_probation(&mut self, why: impl FnOnce() -> String) {
        if let Some(watch) = &mut self.probation
            && !matches!(watch.stage, Stage::Failed(_))
        {
            watch.stage = Stage::Failed(why());
        }
    }

    /// When the next judgement is due.
    pub(super) fn next_judgement(&self) -> Option<Instant> {
        match self.probation.as_ref()?.stage {
            Stage::Watching { until } => Some(until),
            Stage::Balancing => Some(self.balance.due()),
            Stage::Starting | Stage::Passed | Stage::Failed(_) => None,
        }
    }

    fn all_have_turned(&self) -> bool {
        Role::ALL.into_iter().all(|role| match self.slots.get(role).state {
            WorkerState::Ready { missed, .. } => missed.is_alive(),
            _ => true,
        })
    }

    /// Judges if it is time.
    pub(super) fn judge_probation(&mut self, now: Instant) {
        let Some(watch) = &mut self.probation else { return };
        match watch.stage {
            Stage::Watching { until } if until <= now => {
                watch.stage = Stage::Balancing;
                self.balance.hasten(now);
                self.balance.look(&self.spec.pages, now);
            }
            Stage::Balancing => {}
            Stage::Watching { .. } | Stage::Starting | Stage::Passed | Stage::Failed(_) => return,
        }
        // A worker that was silent lately is waited for: it hangs, or its next heartbeat comes.
        if !self.balance.is_settled() || !self.all_have_turned() {
            return;
        }
        let own = self.spec.pages.own();
        let off = [&own.balance_off_received, &own.balance_off_forwarded].map(|off| off.load(Relaxed));
        let refusals = Refusals::of(|page| self.spec.pages.read(page));
        let Some(watch) = &mut self.probation else { return };
        watch.stage = if off != [0, 0] {
            Stage::Failed(format!("{} packets are not accounted for", off[0].saturating_add(off[1])))
        } else if let Some(why) = refusals.worse_than(watch.before) {
            Stage::Failed(why)
        } else {
            Stage::Passed
        };
    }
}
