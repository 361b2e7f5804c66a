//! Workers that live and do nothing.
//!
//! Each worker reports again and again that its own loop turns (see [`LoopTurns`](ipc::control::WorkerReport::LoopTurns)). One that has not for a
//! minute is killed and replaced. Time counts only while the supervisor's own loop turns, so that a machine that slept, or a
//! whole group of processes that was stopped, finds its workers as they were.

use std::{
    fs,
    time::{Duration, Instant},
};

use ipc::Role;

use super::{Crew, CrewError, State};

/// Looks without a heartbeat after which a worker hangs: a minute.
const LOOKS: u32 = 12;
/// A worker that hangs this often is not helped by a replacement.
const MOST: u32 = 3;
/// A hang is forgotten after this time.
const MEMORY: Duration = Duration::from_secs(3600);

/// How often it was looked for a heartbeat in vain.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Silence(u32);

/// The hangs of one role that are not forgotten yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Hangs(Vec<Instant>);

impl Hangs {
    /// Notes one more, and returns how many there are.
    fn add(&mut self, now: Instant) -> u32 {
        self.0.retain(|at| now.saturating_duration_since(*at) < MEMORY);
        self.0.push(now);
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }
}

impl Crew {
    /// The loop of `role` turns.
    pub(super) fn on_heartbeat(&mut self, role: Role) {
        if let State::Ready { silence, .. } = &mut self.posts.get_mut(role).state {
            *silence = Silence::default();
        }
    }

    /// Looks whose loop has not turned for too long, and kills its process.
    ///
    /// # Errors
    /// If killing it has not helped before.
    pub(super) fn look_for_hangs(&mut self, now: Instant) -> Result<(), CrewError> {
        for role in Role::ALL {
            let post = self.posts.get_mut(role);
            let State::Ready { worker, silence } = &mut post.state else { continue };
            silence.0 = silence.0.saturating_add(1);
            if silence.0 <= LOOKS {
                continue;
            }
            let state = state_of(worker.pid());
            tracing::error!(worker = %role, pid = worker.pid(), state, "the loop of the worker has not turned for a minute");
            let hangs = post.hangs.add(now);
            self.condemn(role, "it hangs");
            if hangs >= MOST {
                return Err(CrewError::Hangs { role, hangs });
            }
        }
        Ok(())
    }
}

/// What the kernel says that a process does: `T (stopped)`, `D (disk sleep)`.
fn state_of(pid: u32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let state = status.lines().find_map(|line| line.strip_prefix("State:"));
    state.map_or_else(|| "unknown".to_owned(), |state| state.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hangs_are_counted_for_an_hour() {
        let start = Instant::now();
        let mut hangs = Hangs::default();
        assert_eq!([hangs.add(start), hangs.add(start + MEMORY / 2)], [1, 2]);
        assert_eq!(hangs.add(start + MEMORY), 2);
        assert_eq!(hangs.add(start + MEMORY * 3), 1);
    }

    #[test]
    fn the_kernel_says_what_a_process_does() {
        let state = state_of(std::process::id());
        assert!(state.starts_with("R (") || state.starts_with("S ("), "{state}");
        assert_eq!(state_of(u32::MAX), "unknown");
    }
}
