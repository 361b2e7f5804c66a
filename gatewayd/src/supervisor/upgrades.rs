//! Orders to become another program, and what has become of them.
//!
//! *Promises*: one at a time. The programs are tried in a task of its own, so that nothing else waits. Nothing is begun while a worker is being
//! replaced, or while the configuration file is not what is in force, because the new supervisor reads that file.

use std::{path::PathBuf, time::Duration};

use tokio::{sync::oneshot, task::JoinHandle};

use super::{InForce, Workers, reload};
use crate::{
    admin::wire::{AdminAnswer, ReloadAnswer},
    handover::{
        Candidate, Handover, Probation, Purpose, try_programs,
        wire::{UpgradeAnswer, UpgradeQuestion},
    },
};

/// The longest probation.
const LONGEST: Duration = Duration::from_hours(1);

/// Programs that are being tried.
struct Trial {
    task: JoinHandle<Result<Candidate, String>>,
    asker: oneshot::Sender<AdminAnswer>,
}

/// How upgrades stand.
pub(crate) struct Upgrades {
    outcome: UpgradeAnswer,
    trial: Option<Trial>,
}

fn answer(asker: oneshot::Sender<AdminAnswer>, answer: &UpgradeAnswer) {
    // An error means that the command has not waited for the answer.
    let _ = asker.send(AdminAnswer::Upgrade(answer.encode()));
}

impl Upgrades {
    /// As they stand by what was handed over to this process.
    pub(crate) fn new(handover: Option<&Handover>) -> Self {
        let outcome = match handover {
            None => UpgradeAnswer::None,
            Some(Handover { upgrade, purpose: Purpose::Probation { .. }, .. }) => {
                UpgradeAnswer::Probation { number: *upgrade, left: None }
            }
            Some(Handover { upgrade, purpose: Purpose::Return { why }, .. }) => {
                UpgradeAnswer::Undone { number: *upgrade, why: why.clone() }
            }
        };
        Self { outcome, trial: None }
    }

    /// The new programs of this number cannot be run, and the old ones go on.
    pub(crate) fn undone(number: u64, why: String) -> Self {
        Self { outcome: UpgradeAnswer::Undone { number, why }, trial: None }
    }

    /// The new programs stay.
    pub(super) fn keep(&mut self) {
        if let UpgradeAnswer::Probation { number, .. } = self.outcome {
            self.outcome = UpgradeAnswer::Kept { number };
        }
    }

    /// Whether the old programs can come back, who read the configuration file. If it was edited meanwhile, they might not start with it, and
    /// the new ones stay.
    pub(super) fn can_go_back(&mut self, why: &str, workers: &Workers) -> bool {
        let Err(edited) = unedited(workers) else { return true };
        tracing::error!(
            id = "GWD-G052",
            "the programs of the upgrade have failed, and stay, because the old ones might not start: {why}; {edited}"
        );
        if let UpgradeAnswer::Probation { number, .. } = self.outcome {
            self.outcome = UpgradeAnswer::Failed { number, why: format!("{why}; {edited}") };
        }
        false
    }

    /// Says how an upgrade stands, or begins to try the programs of another.
    pub(super) fn hear(&mut self, question: UpgradeQuestion, asker: oneshot::Sender<AdminAnswer>, workers: &Workers) {
        match question {
            // The old programs have not all come back yet.
            UpgradeQuestion::Outcome if matches!(self.outcome, UpgradeAnswer::Undone { .. }) && !workers.is_up() => {
                answer(asker, &UpgradeAnswer::Busy);
            }
            UpgradeQuestion::Outcome => answer(asker, &self.standing(workers)),
            UpgradeQuestion::Begin { .. } if workers.is_on_probation() => answer(asker, &self.standing(workers)),
            UpgradeQuestion::Begin { .. } if self.trial.is_some() || !workers.can_be_replaced() => {
                answer(asker, &UpgradeAnswer::Busy);
            }
            UpgradeQuestion::Begin { program, probation, number } => {
                tracing::info!(program, "the programs of an upgrade are tried");
                let time = Duration::from_secs(probation).min(LONGEST);
                let task = tokio::spawn(async move {
                    let (program, name) = try_programs(&PathBuf::from(program)).await?;
                    let probation = Probation { time, ..Probation::default() };
                    Ok(Candidate { program, name, probation, number })
                });
                self.trial = Some(Trial { task, asker });
            }
        }
    }

    /// How the latest upgrade stands now.
    fn standing(&self, workers: &Workers) -> UpgradeAnswer {
        match self.outcome {
            UpgradeAnswer::Probation { number, .. } => {
                UpgradeAnswer::Probation { number, left: workers.probation_left().map(|left| left.as_secs()) }
            }
            ref outcome => outcome.clone(),
        }
    }

    /// Waits until programs were tried. Cancel-safe.
    pub(super) async fn next_tried(&mut self) -> Tried {
        let Some(trial) = &mut self.trial else { return std::future::pending().await };
        let outcome = (&mut trial.task).await.unwrap_or_else(|error| Err(error.to_string()));
        match self.trial.take() {
            Some(Trial { asker, .. }) => Tried { outcome, asker },
            None => std::future::pending().await,
        }
    }
}

/// Programs that were tried.
pub(super) struct Tried {
    outcome: Result<Candidate, String>,
    asker: oneshot::Sender<AdminAnswer>,
}

impl Tried {
    /// The new programs, if the gateway can become them now. The command that asked is answered.
    pub(super) fn decide(self, workers: &Workers) -> Option<Candidate> {
        let Self { outcome, asker } = self;
        if outcome.is_ok() && !workers.can_be_replaced() {
            answer(asker, &UpgradeAnswer::Busy);
            return None;
        }
        match outcome.and_then(|candidate| unedited(workers).map(|()| candidate)) {
            Ok(mut candidate) => {
                // Now, because who is served is not seen any more once the workers have ended.
                candidate.probation = workers.probation_of(candidate.probation.time);
                tracing::info!(program = candidate.name, "an upgrade begins: the workers end");
                answer(asker, &UpgradeAnswer::Begun { program: candidate.name.clone() });
                Some(candidate)
            }
            Err(why) => {
                tracing::error!(id = "GWD-G051", "the upgrade is refused, and nothing has changed: {why}");
                answer(asker, &UpgradeAnswer::Refused { why });
                None
            }
        }
    }
}

/// Whether the configuration file is what is in force.
fn unedited(workers: &Workers) -> Result<(), String> {
    let id = &workers.spec().plan.id;
    let (edited, remedy) = match reload::read_again(workers.spec()) {
        Ok(change) if change.report.changed.is_empty() && change.report.replaced.is_empty() => return Ok(()),
        Ok(change) => (change.report.changed.join("; "), InForce::ByReload.remedy(id)),
        Err(ReloadAnswer::NeedsStart(what)) => (what.join(", "), InForce::ByStartOnly.remedy(id)),
        Err(ReloadAnswer::Wrong(why) | ReloadAnswer::Undone(why)) => {
            (why, "correct it, or take the changes back".to_owned())
        }
        Err(ReloadAnswer::Done(_)) => return Ok(()),
    };
    Err(format!("the configuration file is not what is in force ({edited}): {remedy}"))
}
