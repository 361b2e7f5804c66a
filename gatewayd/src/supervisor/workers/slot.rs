//! The slot of one worker: its life, and what has to be remembered of the lives before.

use std::time::{Duration, Instant};

use ipc::{Role, jail::ActiveLayers};

use crate::{
    launch::{PerRole, Worker},
    supervisor::restart::RestartDelay,
};

/// Within this time a hang is remembered.
const HANG_MEMORY: Duration = Duration::from_secs(3600);

/// The slot of one role: the worker in it now, and what is remembered of those before.
#[derive(Debug)]
pub(super) struct WorkerSlot {
    pub(super) state: WorkerState,
    pub(super) delay: RestartDelay,
    pub(super) deaths: u32,
    /// Deaths since a worker was last ready.
    pub(super) failed_starts: u32,
    /// Whether a worker here has derived the public key that is announced.
    pub(super) has_proved_key: bool,
    /// The layers of its jail, as the living worker reports them.
    pub(super) layers: ActiveLayers,
    /// The system call of which the living worker reports that it dies.
    pub(super) refused: Option<u32>,
    /// How many links to each peer the living worker was given.
    pub(super) links: PerRole<u32>,
    /// How many peers were killed because of reports of the living worker.
    pub(super) peer_reports: u32,
    /// The latest hangs.
    pub(super) hangs: Hangs,
}

impl WorkerSlot {
    /// No worker yet; one is to be started at `start_at`.
    pub(super) fn new(start_at: Instant) -> Self {
        Self {
            state: WorkerState::Dead { retry_at: start_at },
            delay: RestartDelay::new(),
            deaths: 0,
            failed_starts: 0,
            has_proved_key: false,
            layers: ActiveLayers::default(),
            refused: None,
            links: PerRole::new(|_| 0),
            peer_reports: 0,
            hangs: Hangs::default(),
        }
    }

    /// The process of the worker, if there is one.
    pub(super) fn pid(&self) -> Option<u32> {
        match &self.state {
            WorkerState::Starting { worker, .. }
            | WorkerState::Ready { worker, .. }
            | WorkerState::Draining { worker }
            | WorkerState::Killed { worker } => Some(worker.pid()),
            WorkerState::Dead { .. } | WorkerState::Gone => None,
        }
    }

    /// For a role that does not run.
    pub(super) fn unused() -> Self {
        Self { state: WorkerState::Gone, ..Self::new(Instant::now()) }
    }

    /// Takes in a new worker, which has one link to each of its peers.
    pub(super) fn begin(&mut self, state: WorkerState) {
        self.state = state;
        (self.layers, self.refused, self.peer_reports) = (ActiveLayers::default(), None, 0);
        self.links = PerRole::new(|_| 1);
    }
}

/// The life of a worker.
#[derive(Debug)]
pub(super) enum WorkerState {
    /// Dead. To be started again at `retry_at`.
    Dead { retry_at: Instant },
    /// Started. It must report ready before `deadline`; the next log line about the wait is due at `note_at`.
    Starting { worker: Worker, deadline: Instant, note_at: Instant },
    /// At work.
    Ready { worker: Worker, missed: MissedHeartbeats },
    /// Told to finish.
    Draining { worker: Worker },
    /// Killed; its death has not been reported yet.
    Killed { worker: Worker },
    /// Not to be started, or not again.
    Gone,
}

/// Checks in a row that found no heartbeat.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MissedHeartbeats(u32);

impl MissedHeartbeats {
    /// Counts one more, and returns how many there are.
    pub(super) fn add(&mut self) -> u32 {
        self.0 = self.0.saturating_add(1);
        self.0
    }

    /// Whether there was one since the check before the last.
    pub(super) const fn is_alive(self) -> bool {
        self.0 <= 1
    }
}

/// The hangs of one role within the last hour.
#[derive(Clone, Debug, Default)]
pub(super) struct Hangs(Vec<Instant>);

impl Hangs {
    /// Counts one more, and returns how many there are.
    pub(super) fn add(&mut self, now: Instant) -> u32 {
        self.0.retain(|at| now.saturating_duration_since(*at) < HANG_MEMORY);
        self.0.push(now);
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }
}

/// A worker whose link has ended and that is not known to be dead. It is killed at `kill_at`, unless it dies before.
#[derive(Debug)]
pub(super) struct PendingKill {
    pub(super) reporter: Role,
    pub(super) peer: Role,
    pub(super) kill_at: Instant,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hangs_are_counted_for_an_hour() {
        let start = Instant::now();
        let mut hangs = Hangs::default();
        assert_eq!([hangs.add(start), hangs.add(start + HANG_MEMORY / 2)], [1, 2]);
        assert_eq!(hangs.add(start + HANG_MEMORY), 2);
        assert_eq!(hangs.add(start + HANG_MEMORY * 3), 1);
    }
}
