//! Handles each event of a worker.

use std::{
    mem,
    time::{Duration, Instant},
};

use ipc::{Role, control::WorkerReport};

use super::{
    GatewayPhase, RETRIES, RETRIES_AT_START, Workers,
    error::WorkersError,
    slot::{MissedHeartbeats, WorkerState},
};
use crate::{
    launch::{Death, EventKind, WorkerEvent},
    systemd,
};

impl Workers {
    pub(super) fn on_event(&mut self, WorkerEvent { role, kind }: WorkerEvent) -> Result<(), WorkersError> {
        match kind {
            EventKind::Report(WorkerReport::WorkerReady) => self.on_ready(role),
            EventKind::Report(WorkerReport::StartFailed { what }) => return self.on_start_failed(role, what),
            EventKind::Report(WorkerReport::LinkViolated { peer, link, rule }) => {
                self.on_violation(role, peer, link, &rule);
            }
            EventKind::Report(WorkerReport::LinkLost { peer, link }) => self.on_loss(role, peer, link),
            EventKind::Report(WorkerReport::ReportFinding(_)) => {
                self.kill_for(role, "it reported as a probe, which it is not")
            }
            EventKind::Report(WorkerReport::JailClosed(layers)) => self.on_jail_closed(role, layers),
            EventKind::Report(WorkerReport::RefuseSyscall { number }) => self.on_refusal(role, number),
            EventKind::Report(WorkerReport::LoopTurns) => self.on_heartbeat(role),
            EventKind::Report(WorkerReport::StorageFull) => self.storage_is_full = true,
            EventKind::Report(WorkerReport::PublicKey(key)) => return self.on_public_key(role, key),
            EventKind::Garbled => self.kill_for(role, "it sent bytes that are no report"),
            EventKind::LinkClosed => {
                // At its orderly end a worker closes the link first.
                if !matches!(self.slots.get(role).state, WorkerState::Draining { .. }) {
                    self.kill_for(role, "it closed its control link");
                }
            }
            EventKind::Ended(death) => return self.on_end(role, &death),
        }
        Ok(())
    }

    fn on_ready(&mut self, role: Role) {
        let slot = self.slots.get_mut(role);
        match mem::replace(&mut slot.state, WorkerState::Gone) {
            WorkerState::Starting { worker, .. } => {
                let layers = slot.layers.names();
                tracing::info!(worker = %role, pid = worker.pid(), layers, "worker ready");
                slot.state = WorkerState::Ready { worker, missed: MissedHeartbeats::default() };
                slot.failed_starts = 0;
            }
            WorkerState::Ready { worker, missed } => {
                slot.state = WorkerState::Ready { worker, missed };
                self.kill_for(role, "it reported ready twice");
            }
            other => slot.state = other,
        }
        let ready = |role| matches!(self.slots.get(role).state, WorkerState::Ready { .. });
        let all_ready = self.spec.roles().all(ready);
        if self.phase == GatewayPhase::Open && all_ready {
            systemd::status(self.serving());
        }
        if self.phase == GatewayPhase::Opening && all_ready {
            self.phase = GatewayPhase::Open;
            if self.storage_is_full {
                tracing::warn!(
                    id = "GWD-G027",
                    "Finished nym gateway startup procedure - but the storage is full: the error of store says what is full, what is \
                     refused and what to do"
                );
            } else {
                tracing::info!(
                    "Finished nym gateway startup procedure - it should now be able to receive mix and client traffic!"
                );
            }
            self.log_missing_layers();
            self.begin_to_watch(Instant::now());
            systemd::ready(if self.storage_is_full {
                "serving, but storage was full at the start: see the log"
            } else {
                self.serving()
            });
        }
    }

    fn on_start_failed(&mut self, role: Role, what: String) -> Result<(), WorkersError> {
        match (&self.slots.get(role).state, self.phase) {
            (WorkerState::Starting { .. }, GatewayPhase::Opening) => {
                return Err(WorkersError::StartFailed { role, what });
            }
            (WorkerState::Ready { .. }, _) => {
                self.kill_for(role, "it reported that it cannot start after it was ready")
            }
            _ => {
                tracing::error!(id = "GWD-G028", worker = %role, "worker cannot start: {what}");
                self.goes_back(role, &what);
            }
        }
        Ok(())
    }

    /// Kills `role` if it lives, and logs why.
    pub(super) fn kill_for(&mut self, role: Role, why: &str) {
        let slot = self.slots.get_mut(role);
        slot.state = match mem::replace(&mut slot.state, WorkerState::Gone) {
            WorkerState::Starting { worker, .. }
            | WorkerState::Ready { worker, .. }
            | WorkerState::Draining { worker } => {
                tracing::error!(id = "GWD-G029", worker = %role, pid = worker.pid(), "worker is killed: {why}");
                worker.kill();
                WorkerState::Killed { worker }
            }
            other => other,
        };
        self.clear_pending_kills(role);
    }

    fn on_end(&mut self, role: Role, death: &Death) -> Result<(), WorkersError> {
        match mem::replace(&mut self.slots.get_mut(role).state, WorkerState::Gone) {
            WorkerState::Draining { worker } if death.is_orderly() => {
                tracing::info!(worker = %role, pid = worker.pid(), "worker finished");
                self.forget_links(role);
            }
            WorkerState::Starting { worker, .. }
            | WorkerState::Ready { worker, .. }
            | WorkerState::Draining { worker }
            | WorkerState::Killed { worker } => {
                match self.killing_call(role, death) {
                    None => tracing::error!(
                        id = "GWD-G030", worker = %role, pid = worker.pid(), status = %death,
                        "worker died"
                    ),
                    Some(syscall) => tracing::error!(
                        id = "GWD-G031",
                        worker = %role, pid = worker.pid(), status = %death, syscall,
                        "worker died of a system call that its policy does not list"
                    ),
                }
                let lived = worker.born().elapsed();
                return self.on_death(role, lived, &death.to_string());
            }
            dead @ (WorkerState::Dead { .. } | WorkerState::Gone) => self.slots.get_mut(role).state = dead,
        }
        Ok(())
    }

    /// Forgets what was pending between a worker that has ended and its peers.
    fn forget_links(&mut self, role: Role) {
        self.waiting.forget(role);
        self.clear_pending_kills(role);
    }

    /// Decides what follows the death of the worker of `role`, which has lived for `lived`.
    pub(super) fn on_death(&mut self, role: Role, lived: Duration, how: &str) -> Result<(), WorkersError> {
        self.forget_links(role);
        self.fail_probation(|| format!("{role} ended with {how}"));
        if self.ends_to_be_replaced(role) || self.goes_back(role, how) {
            self.slots.get_mut(role).state = WorkerState::Gone;
            return Ok(());
        }
        let phase = self.phase;
        let slot = self.slots.get_mut(role);
        slot.deaths = slot.deaths.saturating_add(1);
        slot.failed_starts = slot.failed_starts.saturating_add(1);
        slot.state = match phase {
            GatewayPhase::Closing => WorkerState::Gone,
            GatewayPhase::Opening if slot.deaths > RETRIES_AT_START => {
                slot.state = WorkerState::Gone;
                return Err(WorkersError::KeepsDying { role, deaths: slot.deaths, how: how.to_owned() });
            }
            GatewayPhase::Open if slot.failed_starts > RETRIES => {
                slot.state = WorkerState::Gone;
                return Err(WorkersError::Lost { role, attempts: slot.failed_starts, how: how.to_owned() });
            }
            GatewayPhase::Opening | GatewayPhase::Open => {
                let delay = slot.delay.after(lived);
                let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
                // On probation the old programs come back, if they can.
                if self.probation.is_none() {
                    tracing::error!(id = "GWD-G032", worker = %role, delay_ms, "worker will be restarted");
                    systemd::status(&format!("replacing {role}, which ended with {how}"));
                }
                WorkerState::Dead { retry_at: Instant::now() + delay }
            }
        };
        Ok(())
    }
}
