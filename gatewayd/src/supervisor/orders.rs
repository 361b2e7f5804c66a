//! Carries out the orders of the operator.

use std::time::Duration;

use super::Workers;
use crate::{
    admin::{
        order::{Ordered, Task},
        wire::{AdminAnswer, ConfigInForce, Order},
    },
    config::SettingInForce,
    plan::RunPlan,
};

impl Workers {
    /// Does a task, and answers.
    pub(super) fn carry_out(&mut self, Ordered { task, answer }: Ordered) {
        let done = match task {
            Task::CarryOut(Order::AdmitNewcomers(admitted)) => {
                self.admit_newcomers(admitted);
                AdminAnswer::Done
            }
            Task::CarryOut(Order::ChangeLog { of, level, seconds }) => {
                self.change_level(of, level, Duration::from_secs(seconds.into()));
                AdminAnswer::Done
            }
            Task::CarryOut(Order::ShowConfig) => AdminAnswer::Config(shown(&self.spec().plan)),
            // The answer comes when the workers are replaced.
            Task::CarryOut(Order::Reload { dry_run }) => return self.reload(dry_run, Some(answer)),
            Task::AskStore { question, socket } => self.ask_store(question, socket),
            // The loop hands it to `Upgrades`.
            Task::Upgrade(_) => AdminAnswer::Busy,
        };
        // An error means that the command has not waited for the answer.
        let _ = answer.send(done);
    }
}

/// The configuration, for the operator.
fn shown(plan: &RunPlan) -> ConfigInForce {
    let settings = plan.settings.iter().cloned().map(SettingInForce::shortened).collect();
    ConfigInForce { file: plan.config_file.to_string_lossy().into_owned(), settings }
}
