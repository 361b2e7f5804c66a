//! Levels of the log that the operator has changed for a time.
//!
//! *Holds*: one level for each process at the most, and when it ends. *Promises*: each level falls back by itself to what `RUST_LOG` says,
//! and holds for a worker that is started meanwhile.

use std::time::Instant;

use ipc::{
    Role,
    log::{LogLevel, LogSettings},
};

use crate::launch::PerRole;

/// A level until a moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Temporary {
    pub(super) level: LogLevel,
    pub(super) ends_at: Instant,
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

    pub(super) fn settings_of(&self, of: Option<Role>, usual: &LogSettings) -> LogSettings {
        self.get(of).map_or_else(|| usual.clone(), |temporary| usual.with_level(name(of), temporary.level))
    }

    pub(super) const fn get(&self, of: Option<Role>) -> Option<Temporary> {
        match of {
            None => self.of_supervisor,
            Some(role) => *self.of_workers.get(role),
        }
    }

    pub(super) const fn slot(&mut self, of: Option<Role>) -> &mut Option<Temporary> {
        match of {
            None => &mut self.of_supervisor,
            Some(role) => self.of_workers.get_mut(role),
        }
    }
}

/// The supervisor and all workers.
pub(super) fn processes() -> impl Iterator<Item = Option<Role>> {
    std::iter::once(None).chain(Role::ALL.map(Some))
}

pub(super) fn name(of: Option<Role>) -> &'static str {
    of.map_or(logging::SUPERVISOR, Role::name)
}
