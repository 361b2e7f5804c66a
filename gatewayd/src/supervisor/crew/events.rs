//! What a crew does about each thing that happens to a worker.

use std::{
    mem,
    time::{Duration, Instant},
};

use ipc::{Role, control::WorkerReport};

use super::{Crew, CrewError, Phase, RETRIES, RETRIES_AT_START, State, hang::Silence};
use crate::supervisor::{
    systemd,
    worker::{Death, Event, What},
};

impl Crew {
    pub(super) fn on_event(&mut self, Event { role, what }: Event) -> Result<(), CrewError> {
        match what {
            What::Report(WorkerReport::WorkerReady) => self.on_ready(role),
            What::Report(WorkerReport::StartFailed { what }) => return self.on_start_failed(role, what),
            What::Report(WorkerReport::LinkViolated { peer, link, rule }) => {
                self.on_violation(role, peer, link, &rule);
            }
            What::Report(WorkerReport::LinkLost { peer, link }) => self.on_loss(role, peer, link),
            What::Report(WorkerReport::ReportFinding(_)) => {
                self.condemn(role, "it reported as a probe, which it is not")
            }
            What::Report(WorkerReport::JailClosed(held)) => self.on_jail_closed(role, held),
            What::Report(WorkerReport::RefuseSyscall { number }) => self.on_refusal(role, number),
            What::Report(WorkerReport::LoopTurns) => self.on_heartbeat(role),
            What::Report(WorkerReport::StorageFull) => self.storage_is_full = true,
            What::Report(WorkerReport::PublicKey(key)) => return self.on_public_key(role, key),
            What::Garbled => self.condemn(role, "it sent bytes that are no report"),
            What::Silent => {
                // At its orderly end a worker lets go of the link first.
                if !matches!(self.posts.get(role).state, State::Draining { .. }) {
                    self.condemn(role, "it closed its control link");
                }
            }
            What::Ended(death) => return self.on_end(role, &death),
        }
        Ok(())
    }

    fn on_ready(&mut self, role: Role) {
        let post = self.posts.get_mut(role);
        match mem::replace(&mut post.state, State::Gone) {
            State::Starting { worker, .. } => {
                let layers = post.held.names();
                tracing::info!(worker = %role, pid = worker.pid(), layers, "worker ready");
                post.state = State::Ready { worker, silence: Silence::default() };
                post.failed_starts = 0;
            }
            State::Ready { worker, silence } => {
                post.state = State::Ready { worker, silence };
                self.condemn(role, "it reported ready twice");
            }
            other => post.state = other,
        }
        let ready = |role| matches!(self.posts.get(role).state, State::Ready { .. });
        let all_ready = Role::ALL.into_iter().all(ready);
        if self.phase == Phase::Open && all_ready {
            systemd::status(systemd::SERVING);
        }
        if self.phase == Phase::Opening && all_ready {
            self.phase = Phase::Open;
            if self.storage_is_full {
                tracing::warn!(
                    "Finished nym gateway startup procedure - but there is no room for all that is new: the error of store says what \
                     is full, what is refused and what to do"
                );
            } else {
                tracing::info!(
                    "Finished nym gateway startup procedure - it should now be able to receive mix and client traffic!"
                );
            }
            self.tell_of_missing_layers();
            systemd::ready(if self.storage_is_full {
                "serving, but storage was full at the start: see the log"
            } else {
                systemd::SERVING
            });
        }
    }

    fn on_start_failed(&mut self, role: Role, what: String) -> Result<(), CrewError> {
        match (&self.posts.get(role).state, self.phase) {
            (State::Starting { .. }, Phase::Opening) => return Err(CrewError::StartFailed { role, what }),
            (State::Ready { .. }, _) => self.condemn(role, "it reported that it cannot start after it was ready"),
            _ => tracing::error!(worker = %role, "worker cannot start: {what}"),
        }
        Ok(())
    }

    /// Kills `role`, if it is alive.
    pub(super) fn condemn(&mut self, role: Role, why: &str) {
        let post = self.posts.get_mut(role);
        post.state = match mem::replace(&mut post.state, State::Gone) {
            State::Starting { worker, .. } | State::Ready { worker, .. } | State::Draining { worker } => {
                tracing::error!(worker = %role, pid = worker.pid(), "worker is killed: {why}");
                worker.kill();
                State::Condemned { worker }
            }
            other => other,
        };
        self.clear_suspicions(role);
    }

    fn on_end(&mut self, role: Role, death: &Death) -> Result<(), CrewError> {
        match mem::replace(&mut self.posts.get_mut(role).state, State::Gone) {
            State::Draining { worker } if death.is_orderly() => {
                tracing::info!(worker = %role, pid = worker.pid(), "worker finished");
            }
            State::Starting { worker, .. }
            | State::Ready { worker, .. }
            | State::Draining { worker }
            | State::Condemned { worker } => {
                match self.killing_call(role, death) {
                    None => tracing::error!(worker = %role, pid = worker.pid(), status = %death, "worker died"),
                    Some(syscall) => tracing::error!(
                        worker = %role, pid = worker.pid(), status = %death, syscall,
                        "worker died of a system call that its policy does not list"
                    ),
                }
                let lived = worker.born().elapsed();
                return self.on_death(role, lived, &death.to_string());
            }
            dead @ (State::Dead { .. } | State::Gone) => self.posts.get_mut(role).state = dead,
        }
        Ok(())
    }

    /// Decides what becomes of a post whose worker is no more, after a life of `lived`.
    pub(super) fn on_death(&mut self, role: Role, lived: Duration, how: &str) -> Result<(), CrewError> {
        self.waiting.forget(role);
        self.clear_suspicions(role);
        let phase = self.phase;
        let post = self.posts.get_mut(role);
        post.deaths = post.deaths.saturating_add(1);
        post.failed_starts = post.failed_starts.saturating_add(1);
        post.state = match phase {
            Phase::Closing => State::Gone,
            Phase::Opening if post.deaths > RETRIES_AT_START => {
                post.state = State::Gone;
                return Err(CrewError::KeepsDying { role, deaths: post.deaths, how: how.to_owned() });
            }
            Phase::Open if post.failed_starts > RETRIES => {
                post.state = State::Gone;
                return Err(CrewError::Lost { role, attempts: post.failed_starts, how: how.to_owned() });
            }
            Phase::Opening | Phase::Open => {
                let delay = post.delay.after(lived);
                let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
                tracing::error!(worker = %role, delay_ms, "worker will be restarted");
                systemd::status(&format!("replacing {role}, which ended with {how}"));
                State::Dead { retry_at: Instant::now() + delay }
            }
        };
        Ok(())
    }
}
