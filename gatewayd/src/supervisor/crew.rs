//! The four workers together: who is alive, who is started anew and when, and when the gateway is up.
//!
//! *Holds*: the workers, what they are lent, and link ends that wait for their owners. *Promises*: whoever dies is
//! replaced, with a delay that grows while lives are short, and its peers get new links; once the gateway has been up, it ends only
//! for a worker that does not come back, or that hangs again and again. What a worker says of a peer is believed only if
//! [`LINKS`](super::links::LINKS) has a link between the two.

mod accusation;
mod drain;
mod events;
mod hang;
mod jail;
mod public_keys;

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use ipc::{
    Role,
    control::{BEAT, Grant, Start, WorkerCommand, WorkerConfig},
    jail::{ActiveLayers, JailSpec, Layer},
    log::LogSettings,
    probe::Attempt,
};
use tokio::sync::mpsc;

pub(super) use self::drain::Drained;
use self::{
    accusation::Suspicion,
    hang::{Hangs, Silence},
};
use super::{
    binaries::Program,
    each::Each,
    holdings::Holdings,
    links::{End, WaitingEnds},
    restart::RestartDelay,
    systemd,
    worker::{Event, Worker},
};
use crate::{
    audit::wire::Live,
    keys::{Mismatch, PublicKeys},
    paths::KeyPaths,
};

/// Within this time a worker must report ready.
const START_LIMIT: Duration = Duration::from_secs(30);
/// As [`START_LIMIT`], for the store, which may have an earlier version's inboxes to import.
const STORE_START_LIMIT: Duration = Duration::from_secs(600);
/// How often a worker that is not ready yet is mentioned.
const NOTE_PERIOD: Duration = Duration::from_secs(10);
/// How often a worker that dies before the gateway is up is started again.
const RETRIES_AT_START: u32 = 5;
/// How often in a row a worker that does not become ready is started again once the gateway is up: with the delays of
/// [`RestartDelay`], for about three minutes.
const RETRIES: u32 = 24;
/// Events that wait; a worker whose event does not fit waits with it.
const EVENTS: usize = 64;

/// What every worker is started from.
#[derive(Debug)]
pub(super) struct Equipment {
    /// Programs.
    pub(super) binaries: Each<Program>,
    /// Descriptors.
    pub(super) holdings: Holdings,
    /// Slices of the configuration.
    pub(super) configs: Each<WorkerConfig>,
    /// What to log, and what lines look like.
    pub(super) log: LogSettings,
    /// Threads per worker.
    pub(super) threads: u16,
    /// Jails to close.
    pub(super) jails: Each<JailSpec>,
    /// Layers of the jail that whoever starts the gateway leaves out on purpose.
    pub(super) layers_left_out: Vec<Layer>,
    /// What the public key files say.
    pub(super) public_keys: PublicKeys,
    /// Where the keys are.
    pub(super) key_paths: KeyPaths,
}

impl Equipment {
    /// Whether each worker has an account of its own.
    pub(super) fn separates_accounts(&self) -> bool {
        let has_its_own = |role| self.jails.get(role).layers.as_ref().is_some_and(|layers| layers.account.is_some());
        Role::ALL.into_iter().all(has_its_own)
    }

    /// The order to start `role`, or a probe of it.
    pub(super) fn start(&self, role: Role, grants: Vec<Grant>, probe: Option<Attempt>) -> Start {
        Start {
            grants,
            log: self.log.clone(),
            threads: self.threads,
            jail: self.jails.get(role).clone(),
            config: self.configs.get(role).clone(),
            probe,
        }
    }
}

/// Why the gateway does not come up.
#[derive(Debug, thiserror::Error)]
pub enum CrewError {
    /// A public key file is of another gateway than the private one.
    #[error(transparent)]
    OtherKey(#[from] Mismatch),
    /// A worker said why.
    #[error("{role} cannot start: {what}")]
    StartFailed {
        /// Who.
        role: Role,
        /// In its words.
        what: String,
    },
    /// A worker does not come back.
    #[error(
        "{role} could not be started again in {attempts} attempts, at last with {how}; the gateway cannot serve without it and ends, \
         so that all of it is started anew; the lines of {role} in the log above say more"
    )]
    Lost {
        /// Who.
        role: Role,
        /// How often it was tried.
        attempts: u32,
        /// How it ended, or why it did not begin.
        how: String,
    },
    /// A worker hangs again and again.
    #[error(
        "{role} has hung {hangs} times, and its replacement did not help; the gateway ends, so that all of it is started \
         anew; look for a disk that does not answer, memory that is used up, or a processor that is taken"
    )]
    Hangs {
        /// Who.
        role: Role,
        /// How often.
        hangs: u32,
    },
    /// A worker did not say why.
    #[error(
        "{role} died {deaths} times before the gateway was up, at last with {how}; its own lines in the log above say \
         more, and RUST_LOG=debug the most"
    )]
    KeepsDying {
        /// Who.
        role: Role,
        /// How often.
        deaths: u32,
        /// How it ended, or why it did not begin.
        how: String,
    },
}

/// The life of a worker.
#[derive(Debug)]
enum State {
    /// To be started then.
    Dead { retry_at: Instant },
    /// Must report ready by then; meanwhile it is mentioned from time to time.
    Starting { worker: Worker, deadline: Instant, note_at: Instant },
    /// At work.
    Ready { worker: Worker, silence: Silence },
    /// Told to finish.
    Draining { worker: Worker },
    /// Killed; its death has not been reported yet.
    Condemned { worker: Worker },
    /// Dead, and not to be started again.
    Gone,
}

#[derive(Debug)]
struct Post {
    state: State,
    delay: RestartDelay,
    deaths: u32,
    /// Deaths since it was last ready.
    failed_starts: u32,
    /// Whether a worker here has derived the public key that is announced.
    has_proved_key: bool,
    /// What the living worker has said of its jail.
    held: ActiveLayers,
    /// The system call that it says it dies of.
    refused: Option<u32>,
    /// Links to each peer that the living worker was given.
    links: Each<u32>,
    /// How often a peer was replaced on the living worker's word.
    accusations: u32,
    /// How often it was replaced lately because its loop had stopped.
    hangs: Hangs,
}

/// Where the gateway is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Not every worker has been ready at once yet.
    Opening,
    /// Up; deaths are repaired.
    Open,
    /// Draining; nobody is started.
    Closing,
}

/// The workers.
#[derive(Debug)]
pub(super) struct Crew {
    equipment: Arc<Equipment>,
    posts: Each<Post>,
    waiting: WaitingEnds,
    suspicions: Vec<Suspicion>,
    phase: Phase,
    /// `store` had no room for all that is new when it started.
    storage_is_full: bool,
    /// When it is next looked whose loop has turned.
    look_at: Instant,
    events: mpsc::Receiver<Event>,
    reporter: mpsc::Sender<Event>,
}

impl Crew {
    /// Nobody is started yet; the first [`step`](Self::step) does.
    pub(super) fn new(equipment: Arc<Equipment>) -> Self {
        let (reporter, events) = mpsc::channel(EVENTS);
        let now = Instant::now();
        let post = |_| Post {
            state: State::Dead { retry_at: now },
            delay: RestartDelay::new(),
            deaths: 0,
            failed_starts: 0,
            has_proved_key: false,
            held: ActiveLayers::default(),
            refused: None,
            links: Each::new(|_| 0),
            accusations: 0,
            hangs: Hangs::default(),
        };
        Self {
            equipment,
            posts: Each::new(post),
            waiting: WaitingEnds::default(),
            suspicions: Vec::new(),
            phase: Phase::Opening,
            storage_is_full: false,
            look_at: now + BEAT,
            events,
            reporter,
        }
    }

    /// Does what is due, or waits for the next thing to happen and deals with it. May be dropped at any time.
    ///
    /// # Errors
    /// Only before the gateway has been up.
    pub(super) async fn step(&mut self) -> Result<(), CrewError> {
        self.do_what_is_due()?;
        let next = self.next_due();
        tokio::select! {
            Some(event) = self.events.recv() => self.on_event(event),
            () = tokio::time::sleep_until(next.into()) => Ok(()),
        }
    }

    /// Workers that are at work.
    pub(super) fn roster(&self) -> Vec<Live> {
        let ready = |role| match self.posts.get(role) {
            Post { state: State::Ready { worker, .. }, held, .. } => {
                Some(Live { role, pid: worker.pid(), held: held.clone() })
            }
            _ => None,
        };
        Role::ALL.into_iter().filter_map(ready).collect()
    }

    fn next_due(&self) -> Instant {
        let due = |role| match &self.posts.get(role).state {
            State::Dead { retry_at } => Some(*retry_at),
            State::Starting { deadline, note_at, .. } => Some(*deadline.min(note_at)),
            _ => None,
        };
        let due = Role::ALL.into_iter().filter_map(due).chain(self.next_suspicion()).chain([self.look_at]);
        due.min().unwrap_or(self.look_at)
    }

    fn do_what_is_due(&mut self) -> Result<(), CrewError> {
        let now = Instant::now();
        self.condemn_suspects(now);
        if self.look_at <= now {
            // From now, not from when it was due: while the supervisor itself was stopped, no worker was silent.
            self.look_at = now + BEAT;
            self.look_for_hangs(now)?;
        }
        for role in Role::ALL {
            match &mut self.posts.get_mut(role).state {
                State::Dead { retry_at } if *retry_at <= now => self.start(role)?,
                State::Starting { deadline, .. } if *deadline <= now => {
                    self.condemn(role, "it did not become ready in time");
                }
                State::Starting { note_at, worker, .. } if *note_at <= now => {
                    *note_at = now + NOTE_PERIOD;
                    let seconds = worker.born().elapsed().as_secs();
                    tracing::info!(worker = %role, pid = worker.pid(), seconds, "worker is still starting");
                    if self.phase == Phase::Opening {
                        systemd::still_starting(NOTE_PERIOD * 3);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Starts `role` and links it with its peers.
    fn start(&mut self, role: Role) -> Result<(), CrewError> {
        let (worker, ends_of_peers) = match self.spawn(role) {
            Ok(born) => born,
            Err(error) => {
                tracing::error!(worker = %role, "worker cannot be started: {error}");
                return self.on_death(role, Duration::ZERO, &error.to_string());
            }
        };
        tracing::info!(worker = %role, pid = worker.pid(), "worker started");
        let now = Instant::now();
        let limit = if role == Role::Store { STORE_START_LIMIT } else { START_LIMIT };
        let post = self.posts.get_mut(role);
        (post.held, post.refused, post.links, post.accusations) = (ActiveLayers::default(), None, Each::new(|_| 1), 0);
        post.state = State::Starting { worker, deadline: now + limit, note_at: now + NOTE_PERIOD };
        for end in ends_of_peers {
            self.hand_over(end);
        }
        Ok(())
    }

    fn spawn(&mut self, role: Role) -> io::Result<(Worker, Vec<End>)> {
        let ends = self.waiting.for_newborn(role)?;
        let mut lent = self.equipment.holdings.for_role(role)?;
        lent.extend(ends.own.into_iter().map(|end| (Grant::Link(end.peer), end.socket)));
        let (grants, descriptors): (Vec<_>, Vec<_>) = lent.into_iter().unzip();
        let start = self.equipment.start(role, grants, None);
        let binary = self.equipment.binaries.get(role);
        let worker = Worker::spawn(role, binary, start, &descriptors, self.reporter.clone())?;
        Ok((worker, ends.of_peers))
    }

    /// Gives a living worker its end of a new link, or keeps the end until there is a living one.
    fn hand_over(&mut self, end: End) {
        let End { owner, peer, socket } = end;
        let post = self.posts.get_mut(owner);
        match &post.state {
            State::Starting { worker, .. } | State::Ready { worker, .. } => {
                match worker.order(&WorkerCommand::ReplaceLink { peer }, &[socket]) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        self.condemn(owner, "it no longer reads its control link");
                    }
                    Ok(()) => *post.links.get_mut(peer) += 1,
                    // It is dying: its successor gets a new link.
                    Err(_) => {}
                }
            }
            State::Dead { .. } | State::Condemned { .. } => self.waiting.keep(End { owner, peer, socket }),
            State::Draining { .. } | State::Gone => {}
        }
    }
}

#[cfg(test)]
mod tests;
