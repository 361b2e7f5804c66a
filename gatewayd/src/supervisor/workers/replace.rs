//! Replaces the workers whose part of the configuration has changed, while the others go on and the ports stay open.
//!
//! All of them end before the first of their successors starts, because two workers that share a limit must be told the same. They end in
//! the order of [`drain`](super::drain), so that what is under way is finished.
//!
//! *Promises*: if one of the new workers does not start, all are started from the old configuration again. A worker that is not replaced
//! is not touched. A worker that does not end in its time is killed.

use std::{sync::Arc, time::Instant};

use ipc::Role;
use tokio::sync::oneshot;

use super::{
    GatewayPhase, Workers,
    drain::ORDER,
    replacement::{Replacement, Stage},
    slot::WorkerState,
};
use crate::{
    admin::wire::{AdminAnswer, ReloadAnswer, ReloadReport},
    launch::LaunchSpec,
    supervisor::reload::{Change, read_again},
    systemd,
};

impl Workers {
    /// Reads the configuration again and takes it over, or says what that would do. `asker` is told the outcome. Without an asker, who could
    /// ask again, it is done as soon as it can be done.
    pub(in crate::supervisor) fn reload(&mut self, dry_run: bool, asker: Option<oneshot::Sender<AdminAnswer>>) {
        if dry_run {
            // It changes nothing, so that it can be asked at any time.
            let answer =
                read_again(&self.spec).map_or_else(|refusal| refusal, |change| ReloadAnswer::Done(change.report));
            return tell(asker, AdminAnswer::Reload(answer));
        }
        if !self.can_be_replaced() {
            if asker.is_none() {
                tracing::warn!(
                    id = "GWD-G038",
                    "the configuration is read again later, because a worker is being started or replaced, or an upgrade is not decided yet"
                );
                self.reload_due = true;
            }
            let busy = self.probation_left().map(|left| AdminAnswer::OnProbation(left.as_secs()));
            return tell(asker, busy.unwrap_or(AdminAnswer::Busy));
        }
        self.reload_due = false;
        match read_again(&self.spec) {
            Ok(Change { spec, report }) => self.replace(spec, report, asker),
            Err(answer) => {
                log(&answer);
                tell(asker, AdminAnswer::Reload(answer));
            }
        }
    }

    /// Reads the configuration again if a signal asked for it when it could not be done.
    pub(super) fn reload_if_due(&mut self) {
        if self.reload_due && self.can_be_replaced() {
            self.reload(false, None);
        }
    }

    /// Whether all workers are ready, and none is being replaced or watched after an upgrade.
    pub(in crate::supervisor) fn can_be_replaced(&self) -> bool {
        self.replacement.is_none() && self.probation.is_none() && self.is_up()
    }

    /// Whether all workers are ready.
    pub(in crate::supervisor) fn is_up(&self) -> bool {
        self.phase == GatewayPhase::Open && self.spec.roles().all(|role| self.is_ready(role))
    }

    fn is_ready(&self, role: Role) -> bool {
        matches!(self.slots.get(role).state, WorkerState::Ready { .. })
    }

    pub(super) fn replace(
        &mut self,
        next: Arc<LaunchSpec>,
        report: ReloadReport,
        asker: Option<oneshot::Sender<AdminAnswer>>,
    ) {
        let roles = report.replaced.clone();
        if !roles.is_empty() {
            let names: Vec<&str> = roles.iter().copied().map(Role::name).collect();
            tracing::info!(replaced = names.join(", "), "a changed configuration is taken over");
            systemd::status("taking over a changed configuration");
        }
        let stage = Stage::Ending { since: Instant::now(), next };
        let before = Arc::clone(&self.spec);
        self.replacement = Some(Replacement { roles, stage, before, report, failed: None, asker });
    }

    /// When the next worker that does not end is killed.
    pub(super) fn next_replacement_limit(&self) -> Option<Instant> {
        match self.replacement.as_ref()?.stage {
            Stage::Ending { since, .. } => {
                let now = Instant::now();
                ORDER.iter().map(|(_, limit)| since + *limit).find(|limit| *limit > now)
            }
            Stage::Starting => None,
        }
    }

    /// Does the next step of a replacement, if it can be done.
    pub(super) fn go_on_replacing(&mut self, now: Instant) {
        let Some(mut replacement) = self.replacement.take() else { return };
        if let Stage::Ending { since, next } = &replacement.stage {
            if !self.have_ended(&replacement.roles, *since, now) {
                self.replacement = Some(replacement);
                return;
            }
            self.spec = Arc::clone(next);
            for role in &replacement.roles {
                self.slots.get_mut(*role).state = WorkerState::Dead { retry_at: now };
            }
            replacement.stage = Stage::Starting;
        }
        if replacement.roles.iter().all(|role| self.is_ready(*role)) {
            self.finish(replacement);
        } else {
            self.replacement = Some(replacement);
        }
    }

    /// Tells the workers to end, one group after the other. Returns whether all have ended.
    fn have_ended(&mut self, roles: &[Role], since: Instant, now: Instant) -> bool {
        for (group, limit) in ORDER {
            let mut have_ended = true;
            for role in group.iter().copied().filter(|role| roles.contains(role)) {
                self.tell_to_finish(role);
                if since + limit <= now {
                    self.kill_for(role, "it did not finish in time");
                }
                have_ended &= matches!(self.slots.get(role).state, WorkerState::Gone);
            }
            if !have_ended {
                return false;
            }
        }
        true
    }

    fn finish(&self, Replacement { report, failed, asker, .. }: Replacement) {
        let answer = match failed {
            None => ReloadAnswer::Done(report),
            Some(why) => ReloadAnswer::Undone(why),
        };
        log(&answer);
        systemd::status(self.serving());
        tell(asker, AdminAnswer::Reload(answer));
    }

    /// Whether `role` ends because it is being replaced. Its slot then waits until all others have ended too.
    pub(super) fn ends_to_be_replaced(&self, role: Role) -> bool {
        let ending = |replacement: &Replacement| matches!(replacement.stage, Stage::Ending { .. });
        self.replacement.as_ref().is_some_and(|replacement| replacement.roles.contains(&role) && ending(replacement))
    }

    /// Takes note that a new worker does not start. Returns whether all go back to the old configuration for it.
    pub(super) fn goes_back(&mut self, role: Role, why: &str) -> bool {
        let Some(replacement) = &mut self.replacement else { return false };
        if !replacement.roles.contains(&role) || replacement.failed.is_some() {
            return false;
        }
        replacement.failed = Some(format!("{role} does not start with it: {why}"));
        tracing::error!(
            id = "GWD-G039", worker = %role,
            "a worker does not start with the changed configuration: the old one is used again"
        );
        replacement.stage = Stage::Ending { since: Instant::now(), next: Arc::clone(&replacement.before) };
        true
    }

    /// Gives a replacement up, because the gateway ends.
    pub(super) fn stop_replacing(&mut self) {
        self.replacement = None;
    }
}

fn tell(asker: Option<oneshot::Sender<AdminAnswer>>, answer: AdminAnswer) {
    if let Some(asker) = asker {
        // An error means that the command has not waited for the answer.
        let _ = asker.send(answer);
    }
}

/// Logs the outcome, in one line.
fn log(answer: &ReloadAnswer) {
    match answer {
        ReloadAnswer::Done(report) if report.changed.is_empty() => {
            tracing::info!("the configuration was read again: nothing in it has changed");
        }
        ReloadAnswer::Done(report) => {
            tracing::info!(changes = report.changed.join("; "), "the changed configuration is in force");
            if !report.at_next_start.is_empty() {
                tracing::warn!(
                    id = "GWD-G040",
                    "in force from the next start only: {}",
                    report.at_next_start.join(", ")
                );
            }
        }
        ReloadAnswer::Wrong(why) => {
            tracing::error!(
                id = "GWD-G041",
                "the configuration is wrong, and the old one stays in force: {}",
                why.replace('\n', "; ")
            );
        }
        ReloadAnswer::NeedsStart(what) => tracing::error!(
            id = "GWD-G042",
            "nothing is changed, because a running gateway cannot change {}: restart it, or take these changes back",
            what.join(", ")
        ),
        ReloadAnswer::Undone(why) => tracing::error!(id = "GWD-G043", "the old configuration is in force again: {why}"),
    }
}
