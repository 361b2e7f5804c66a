//! Changes what a process logs, and takes that back when its time is over.

use std::time::{Duration, Instant};

use ipc::{
    Role,
    control::WorkerCommand,
    log::{LogLevel, LogSettings},
};

use super::{
    Workers,
    levels::{Temporary, name, processes},
};

impl Workers {
    /// Has a worker, or the supervisor, log at `level` for a time.
    pub(in crate::supervisor) fn change_level(&mut self, of: Option<Role>, level: LogLevel, time: Duration) {
        *self.levels.slot(of) = Some(Temporary { level, ends_at: Instant::now() + time });
        self.apply_level(of);
        let (process, seconds) = (name(of), time.as_secs());
        tracing::warn!(
            id = "GWD-G024",
            process,
            level = level.name(),
            seconds,
            "the level of the log is changed, as the operator has ordered"
        );
        if level == LogLevel::Trace {
            tracing::warn!(id = "GWD-G025", process, "trace: the log names the addresses of peers");
        }
    }

    /// Ends the levels whose time is over.
    pub(super) fn end_levels(&mut self, now: Instant) {
        for of in processes() {
            if self.levels.get(of).is_some_and(|temporary| temporary.ends_at <= now) {
                *self.levels.slot(of) = None;
                self.apply_level(of);
                tracing::info!(process = name(of), "the level of the log is what RUST_LOG says again");
            }
        }
    }

    fn apply_level(&mut self, of: Option<Role>) {
        let LogSettings { filter, .. } = self.levels.settings_of(of, &self.spec.plan.log);
        match of {
            None => logging::change(&filter),
            Some(role) => self.tell(role, &WorkerCommand::ChangeLog { filter }),
        }
    }
}
