//! Levels of the log that the operator has changed for a time.
//!
//! *Holds*: one level for each process at the most, and when it ends. *Promises*: each level falls back by itself to what `RUST_LOG` says,
//! and holds for a worker that is started meanwhile.

use std::time::{Duration, Instant};

use ipc::{
    Role,
    control::WorkerCommand,
    log::{LogLevel, LogSettings},
};

use super::Workers;
use crate::launch::PerRole;

/// A level until a moment.
#[derive(Clone, Copy, Debug)]
struct Temporary {
    level: LogLevel,
    ends_at: Instant,
}

/// The levels that are not those of `RUST_LOG`.
#[derive(Debug)]
pub(super) struct TemporaryLevels {
    of_supervisor: Option<Temporary>,
    of_workers: PerRole<Option<Temporary>>,
}

impl TemporaryLevels {
    /// None.
    pub(super) fn new() -> Self {
        Self { of_supervisor: None, of_workers: PerRole::new(|_| None) }
    }

    /// When the next one ends.
    pub(super) fn next_end(&self) -> Option<Instant> {
        processes().filter_map(|of| self.get(of)).map(|temporary| temporary.ends_at).min()
    }

    /// What `role` logs, if `usual` is what `RUST_LOG` says.
    pub(super) fn settings(&self, role: Role, usual: &LogSettings) -> LogSettings {
        self.settings_of(Some(role), usual)
    }

    fn settings_of(&self, of: Option<Role>, usual: &LogSettings) -> LogSettings {
        self.get(of).map_or_else(|| usual.clone(), |temporary| usual.with_level(name(of), temporary.level))
    }

    const fn get(&self, of: Option<Role>) -> Option<Temporary> {
        match of {
            None => self.of_supervisor,
            Some(role) => *self.of_workers.get(role),
        }
    }

    const fn slot(&mut self, of: Option<Role>) -> &mut Option<Temporary> {
        match of {
            None => &mut self.of_supervisor,
            Some(role) => self.of_workers.get_mut(role),
        }
    }
}

/// The supervisor and all workers.
fn processes() -> impl Iterator<Item = Option<Role>> {
    std::iter::once(None).chain(Role::ALL.map(Some))
}

fn name(of: Option<Role>) -> &'static str {
    of.map_or(logging::SUPERVISOR, Role::name)
}

impl Workers {
    /// Has a worker, or the supervisor, log at `level` for a time.
    pub(in crate::supervisor) fn change_level(&mut self, of: Option<Role>, level: LogLevel, time: Duration) {
        *self.levels.slot(of) = Some(Temporary { level, ends_at: Instant::now() + time });
        self.apply_level(of);
        let (process, seconds) = (name(of), time.as_secs());
        tracing::warn!(
            process,
            level = level.name(),
            seconds,
            "the level of the log is changed, as the operator has ordered"
        );
        if level == LogLevel::Trace {
            tracing::warn!(process, "trace: the log names the addresses of peers");
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
