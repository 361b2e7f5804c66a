//! Whether the new programs of an upgrade stay.
//!
//! *Trusts*: the pages of figures, in which a worker that is taken over can lie about itself. *Promises*: the programs stay only if, from the moment
//! when all workers were ready until the end of the probation, none has died or been silent for the last ten seconds, every packet is accounted for, storage is no worse,
//! not clearly more is refused for a fault of the gateway than before, and somebody is served if somebody was.

use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use ipc::Role;

use super::{Workers, slot::WorkerState};
use crate::{
    handover::{Probation, Refusals, Served},
    systemd,
};

/// A probation under way.
#[derive(Debug)]
pub(super) struct ProbationWatch {
    probation: Probation,
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
    /// Watches the workers once all are ready.
    pub(crate) fn put_on_probation(&mut self, probation: Probation) {
        self.probation = Some(ProbationWatch { probation, stage: Stage::Starting });
    }

    /// How the workers of an upgrade are to be watched for `time` which begins now.
    pub(in crate::supervisor) fn probation_of(&self, time: Duration) -> Probation {
        let read = |page| self.spec.pages.read(page);
        Probation { time, before: Refusals::of(read), served: Served::of(read, self.packets_of_last_minute) }
    }

    /// For how long the new programs are still watched; none if they are not.
    pub(in crate::supervisor) fn probation_left(&self) -> Option<Duration> {
        let watch = self.probation.as_ref()?;
        Some(match watch.stage {
            Stage::Starting => watch.probation.time,
            Stage::Watching { until } => until.saturating_duration_since(Instant::now()),
            Stage::Balancing | Stage::Passed | Stage::Failed(_) => Duration::ZERO,
        })
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
            let time = watch.probation.time;
            watch.stage = Stage::Watching { until: now + time };
            tracing::info!(seconds = time.as_secs(), "all workers of the upgrade are ready, and are watched");
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
        let is_up = self.is_up();
        let Some(watch) = &mut self.probation else { return };
        match watch.stage {
            Stage::Watching { until } if until <= now => {
                watch.stage = Stage::Balancing;
                self.balance.hasten(now);
                self.balance.look(&self.spec.pages, is_up, now);
            }
            Stage::Balancing => {}
            Stage::Watching { .. } | Stage::Starting | Stage::Passed | Stage::Failed(_) => return,
        }
        // A worker that was silent lately is waited for: it hangs, or its next heartbeat comes.
        if !self.balance.is_settled() || !self.all_have_turned() {
            return;
        }
        let own = self.spec.pages.own();
        let off = own.balance_off().into_iter().fold(0, |sum: u64, off| sum.saturating_add(off.load(Relaxed)));
        let read = |page| self.spec.pages.read(page);
        let refusals = Refusals::of(read);
        let Some(watch) = &mut self.probation else { return };
        let Probation { before, served, .. } = watch.probation;
        watch.stage = if off > 0 {
            Stage::Failed(format!("{off} packets are not accounted for"))
        } else if let Some(why) = refusals.worse_than(before).or_else(|| served.is_over(read)) {
            Stage::Failed(why)
        } else {
            Stage::Passed
        };
    }
}
