//! The workers together: which of them live, when a dead one is started again, and when the gateway is up.
//!
//! *Holds*: the workers, what they are launched with, and link ends that wait for their owners. *Promises*: a dead worker is replaced,
//! with a delay that grows while lives are short, and its peers get new links. Once the gateway has been up, it ends only for a worker
//! that does not come back, or that hangs again and again. A report about a peer is believed only if the two share a link.

mod balance;
mod change_level;
pub(super) mod drain;
pub(super) mod error;
mod events;
mod figures;
mod hang;
mod jail_reports;
mod levels;
mod newcomers;
mod peer_reports;
mod probation;
mod public_keys;
mod replace;
mod replacement;
mod slot;

use std::{
    io,
    os::fd::OwnedFd,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use ipc::{
    Role,
    control::{BEAT, Grant, Start, WorkerCommand},
    operator::StoreQuestion,
};
use tokio::sync::mpsc;

use self::{
    balance::BalanceWatch,
    error::WorkersError,
    levels::TemporaryLevels,
    probation::ProbationWatch,
    replacement::Replacement,
    slot::{PendingKill, WorkerSlot, WorkerState},
};
use crate::{
    admin::wire::AdminAnswer,
    audit::wire::Live,
    launch::{LaunchSpec, LinkEnd, PerRole, WaitingEnds, Worker, WorkerEvent},
    systemd,
};

/// Within this time a worker must report ready.
const START_LIMIT: Duration = Duration::from_secs(30);
/// The same for the store, which may have to import the inboxes of an earlier version.
const STORE_START_LIMIT: Duration = Duration::from_secs(600);
/// How often the log mentions a worker that is not ready yet.
const NOTE_PERIOD: Duration = Duration::from_secs(10);
/// How often a worker that dies before the gateway is up is started again.
const RETRIES_AT_START: u32 = 5;
/// How often in a row a worker that does not become ready is started again once the gateway is up. With the delays of
/// [`RestartDelay`](super::restart::RestartDelay) these attempts take about three minutes.
const RETRIES: u32 = 24;
/// The length of the queue of events. A worker whose event does not fit waits.
const EVENTS: usize = 64;

/// Where the gateway is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GatewayPhase {
    /// The workers have not all been ready at once yet.
    Opening,
    /// Up. A dead worker is replaced.
    Open,
    /// Draining. No worker is started.
    Closing,
}

/// The workers, one slot for each.
#[derive(Debug)]
pub(crate) struct Workers {
    spec: Arc<LaunchSpec>,
    slots: PerRole<WorkerSlot>,
    waiting: WaitingEnds,
    pending_kills: Vec<PendingKill>,
    phase: GatewayPhase,
    /// Whether `store` had no room for new mail when it started.
    storage_is_full: bool,
    /// Whether new clients are let in.
    newcomers: bool,
    levels: TemporaryLevels,
    replacement: Option<Replacement>,
    probation: Option<ProbationWatch>,
    /// Whether a signal asked for a reload that could not be done yet.
    reload_due: bool,
    /// When the heartbeats are checked next.
    next_heartbeat_check: Instant,
    balance: BalanceWatch,
    /// When `http-api` is told the figures next.
    figures_due: Instant,
    /// Packets accepted between the last two times that figures were due.
    packets_of_last_minute: u64,
    /// Packets accepted until the last of them.
    packets_until_then: u64,
    events: mpsc::Receiver<WorkerEvent>,
    reporter: mpsc::Sender<WorkerEvent>,
}

impl Workers {
    /// Starts no worker yet; the first [`step`](Self::step) does.
    pub(crate) fn new(spec: Arc<LaunchSpec>) -> Self {
        let (reporter, events) = mpsc::channel(EVENTS);
        let now = Instant::now();
        let roles: Vec<Role> = spec.roles().collect();
        let packets_until_then = figures::packets_accepted(&spec.pages);
        Self {
            spec,
            slots: PerRole::new(|role| if roles.contains(&role) { WorkerSlot::new(now) } else { WorkerSlot::unused() }),
            waiting: WaitingEnds::among(roles.iter().copied()),
            pending_kills: Vec::new(),
            phase: GatewayPhase::Opening,
            storage_is_full: false,
            newcomers: true,
            levels: TemporaryLevels::new(),
            replacement: None,
            probation: None,
            reload_due: false,
            next_heartbeat_check: now + BEAT,
            balance: BalanceWatch::new(now),
            figures_due: now + figures::PERIOD,
            packets_of_last_minute: 0,
            packets_until_then,
            events,
            reporter,
        }
    }

    /// Does what is due, then waits for the next event and handles it. May be dropped at any time.
    ///
    /// # Errors
    /// If the gateway does not come up, or cannot go on without a worker.
    pub(super) async fn step(&mut self) -> Result<(), WorkersError> {
        self.do_what_is_due()?;
        self.show_workers();
        let next = self.next_due();
        tokio::select! {
            Some(event) = self.events.recv() => self.on_event(event),
            () = tokio::time::sleep_until(next.into()) => Ok(()),
        }
    }

    /// What the workers are started from.
    pub(super) const fn spec(&self) -> &Arc<LaunchSpec> {
        &self.spec
    }

    /// The workers that are ready.
    pub(super) fn ready(&self) -> Vec<Live> {
        let ready = |role| match self.slots.get(role) {
            WorkerSlot { state: WorkerState::Ready { worker, .. }, layers, .. } => {
                Some(Live { role, pid: worker.pid(), layers: layers.clone() })
            }
            _ => None,
        };
        Role::ALL.into_iter().filter_map(ready).collect()
    }

    fn next_due(&self) -> Instant {
        let due = |role| match &self.slots.get(role).state {
            WorkerState::Dead { retry_at } => Some(*retry_at),
            WorkerState::Starting { deadline, note_at, .. } => Some(*deadline.min(note_at)),
            _ => None,
        };
        let ends =
            self.next_pending_kill().into_iter().chain(self.levels.next_end()).chain(self.next_replacement_limit());
        let others =
            ends.chain(self.next_judgement()).chain([self.next_heartbeat_check, self.figures_due, self.balance.due()]);
        Role::ALL.into_iter().filter_map(due).chain(others).min().unwrap_or(self.next_heartbeat_check)
    }

    fn do_what_is_due(&mut self) -> Result<(), WorkersError> {
        let now = Instant::now();
        self.run_pending_kills(now);
        if self.next_heartbeat_check <= now {
            // From now, not from when it was due: time in which the supervisor itself was stopped must not count.
            self.next_heartbeat_check = now + BEAT;
            self.check_heartbeats(now)?;
            self.show_processes();
            self.spec.pages.own().loop_turns.fetch_add(1, Relaxed);
        }
        self.balance.look(&self.spec.pages, self.is_up(), now);
        self.judge_probation(now);
        self.publish_figures(now);
        self.end_levels(now);
        self.go_on_replacing(now);
        self.reload_if_due();
        for role in Role::ALL {
            match &mut self.slots.get_mut(role).state {
                WorkerState::Dead { retry_at } if *retry_at <= now => self.start(role)?,
                WorkerState::Starting { deadline, .. } if *deadline <= now => {
                    self.kill_for(role, "it did not become ready in time");
                }
                WorkerState::Starting { note_at, worker, .. } if *note_at <= now => {
                    *note_at = now + NOTE_PERIOD;
                    let seconds = worker.born().elapsed().as_secs();
                    tracing::info!(worker = %role, pid = worker.pid(), seconds, "worker is still starting");
                    if self.phase == GatewayPhase::Opening {
                        systemd::still_starting(NOTE_PERIOD * 3);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Starts `role` and links it with its peers.
    fn start(&mut self, role: Role) -> Result<(), WorkersError> {
        let (worker, ends_of_peers) = match self.spawn(role) {
            Ok(born) => born,
            Err(error) => {
                tracing::error!(id = "GWD-G022", worker = %role, "worker cannot be started: {error}");
                return self.on_death(role, Duration::ZERO, &error.to_string());
            }
        };
        tracing::info!(worker = %role, pid = worker.pid(), "worker started");
        let now = Instant::now();
        let limit = if role == Role::Store { STORE_START_LIMIT } else { START_LIMIT };
        let starting = WorkerState::Starting { worker, deadline: now + limit, note_at: now + NOTE_PERIOD };
        self.slots.get_mut(role).begin(starting);
        for end in ends_of_peers {
            self.hand_over(end);
        }
        Ok(())
    }

    fn spawn(&mut self, role: Role) -> io::Result<(Worker, Vec<LinkEnd>)> {
        let ends = self.waiting.for_new_worker(role)?;
        let mut grants = self.spec.resources.grants_for(role)?;
        grants.push(self.spec.pages.grant_for(role)?);
        grants.extend(self.spec.pages_to_read(role)?);
        grants.extend(ends.own.into_iter().map(|end| (Grant::Link(end.peer), end.socket)));
        let (grants, descriptors): (Vec<_>, Vec<_>) = grants.into_iter().unzip();
        let start = self.spec.start_message(role, grants, None);
        let start = Start { log: self.levels.settings(role, &start.log), newcomers: self.newcomers, ..start };
        let worker = Worker::spawn(role, self.spec.program(role)?, start, &descriptors, self.reporter.clone())?;
        Ok((worker, ends.of_peers))
    }

    /// Tells `role` something, if it lives. Its successor has to learn the same from its start message.
    fn tell(&mut self, role: Role, command: &WorkerCommand) {
        let (WorkerState::Starting { worker, .. } | WorkerState::Ready { worker, .. }) = &self.slots.get(role).state
        else {
            return;
        };
        // On another error the worker is dying.
        if worker.send(command, &[]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            self.kill_for(role, "it no longer reads its control link");
        }
    }

    /// Passes a question of the operator on to `store`, with the socket for its answer.
    pub(super) fn ask_store(&self, question: StoreQuestion, socket: OwnedFd) -> AdminAnswer {
        let WorkerState::Ready { worker, .. } = &self.slots.get(Role::Store).state else {
            return AdminAnswer::StoreAway;
        };
        // It is dying, or does not read its commands just now.
        worker
            .send(&WorkerCommand::AskStore(question), &[socket])
            .map_or(AdminAnswer::StoreAway, |()| AdminAnswer::Done)
    }

    /// Gives a living worker its end of a new link. If none lives, the end is kept for the next.
    fn hand_over(&mut self, end: LinkEnd) {
        let LinkEnd { owner, peer, socket } = end;
        let slot = self.slots.get_mut(owner);
        match &slot.state {
            WorkerState::Starting { worker, .. } | WorkerState::Ready { worker, .. } => {
                match worker.send(&WorkerCommand::ReplaceLink { peer }, &[socket]) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        self.kill_for(owner, "it no longer reads its control link");
                    }
                    Ok(()) => *slot.links.get_mut(peer) += 1,
                    // The worker is dying: the next one gets a new link.
                    Err(_) => {}
                }
            }
            WorkerState::Dead { .. } | WorkerState::Killed { .. } => self.waiting.keep(LinkEnd { owner, peer, socket }),
            WorkerState::Draining { .. } | WorkerState::Gone => {}
        }
    }
}

#[cfg(test)]
mod tests;
