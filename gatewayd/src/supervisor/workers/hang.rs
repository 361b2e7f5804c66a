//! Workers that live and do nothing.
//!
//! Each worker reports again and again that its own loop turns (see [`LoopTurns`](ipc::control::WorkerReport::LoopTurns)). A worker
//! that has not reported for a minute is killed and replaced. Time counts only while the supervisor's own loop turns. Otherwise a
//! machine that was suspended, or a group of processes that was stopped, would lose all its workers when it goes on.

use std::{fs, time::Instant};

use ipc::Role;

use super::{
    Workers,
    error::WorkersError,
    slot::{MissedHeartbeats, WorkerState},
};

/// A worker hangs after so many checks without a heartbeat: a minute.
const CHECKS: u32 = 12;
/// After so many an upgrade has failed: 20 seconds.
const CHECKS_ON_PROBATION: u32 = 4;
/// After so many hangs within an hour a replacement does not help.
const MOST: u32 = 3;

impl Workers {
    /// The loop of `role` turns.
    pub(super) fn on_heartbeat(&mut self, role: Role) {
        if let WorkerState::Ready { missed, .. } = &mut self.slots.get_mut(role).state {
            *missed = MissedHeartbeats::default();
        }
    }

    /// Kills each worker whose loop has not turned for a minute.
    ///
    /// # Errors
    /// If replacing the worker has not helped before.
    pub(super) fn check_heartbeats(&mut self, now: Instant) -> Result<(), WorkersError> {
        for role in Role::ALL {
            let slot = self.slots.get_mut(role);
            let WorkerState::Ready { missed, .. } = &mut slot.state else { continue };
            let checks = missed.add();
            if checks > CHECKS_ON_PROBATION {
                self.fail_probation(|| format!("the loop of {role} has not turned for 20 s"));
            }
            let slot = self.slots.get_mut(role);
            let WorkerState::Ready { worker, .. } = &slot.state else { continue };
            if checks <= CHECKS {
                continue;
            }
            let state = state_of(worker.pid());
            tracing::error!(
                id = "GWD-G033", worker = %role, pid = worker.pid(), state,
                "the loop of the worker has not turned for a minute"
            );
            let hangs = slot.hangs.add(now);
            self.kill_for(role, "it hangs");
            if hangs >= MOST {
                return Err(WorkersError::Hangs { role, hangs });
            }
        }
        Ok(())
    }
}

/// The state of a process, as the kernel names it: `T (stopped)`, `D (disk sleep)`.
fn state_of(pid: u32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let state = status.lines().find_map(|line| line.strip_prefix("State:"));
    state.map_or_else(|| "unknown".to_owned(), |state| state.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_what_a_process_does() {
        let state = state_of(std::process::id());
        assert!(state.starts_with("R (") || state.starts_with("S ("), "{state}");
        assert_eq!(state_of(u32::MAX), "unknown");
    }
}
