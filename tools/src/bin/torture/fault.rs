//! What can be done to a gateway: faults that are over as soon as they are done, and conditions that last.

use std::{fmt, iter, time::Duration};

use harness::gateway::WORKERS;
use rand::{RngExt, rngs::StdRng, seq::IteratorRandom};

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A worker is killed.
    Kill,
    /// Two workers are killed in one instant.
    KillTwo,
    /// The store is killed: it has the most to lose.
    KillStore,
    /// A worker is killed, and its successors as soon as they have started.
    KillAgain,
    /// The supervisor is killed.
    KillSupervisor,
    /// The supervisor is killed, and its successor before it is ready.
    KillInStart,
    /// A worker is killed while a client registers.
    KillInRegistration,
    /// A worker is killed while a client is being forgotten.
    KillInForgetting,
    /// A process stops for seconds.
    Stop,
    /// A client resets its connection in the middle of a login or registration.
    Reset,
    /// Bytes that are no message appear on a link.
    Garbage,
    /// The gateway is ended in good order and started again.
    Restart,
    /// The disk is full for seconds.
    FullDisk,
    /// What was written to a database after the last completed sync is torn.
    TornDatabase,
    /// A crash leaves an unfinished snapshot.
    LeftoverSnapshot,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 15] = [
        Self::Kill,
        Self::KillTwo,
        Self::KillStore,
        Self::KillAgain,
        Self::KillSupervisor,
        Self::KillInStart,
        Self::KillInRegistration,
        Self::KillInForgetting,
        Self::Stop,
        Self::Reset,
        Self::Garbage,
        Self::Restart,
        Self::FullDisk,
        Self::TornDatabase,
        Self::LeftoverSnapshot,
    ];

    /// How the command line calls it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::KillTwo => "kill-two",
            Self::KillStore => "kill-store",
            Self::KillAgain => "kill-again",
            Self::KillSupervisor => "kill-supervisor",
            Self::KillInStart => "kill-in-start",
            Self::KillInRegistration => "kill-in-registration",
            Self::KillInForgetting => "kill-in-forgetting",
            Self::Stop => "stop",
            Self::Reset => "reset",
            Self::Garbage => "garbage",
            Self::Restart => "restart",
            Self::FullDisk => "full-disk",
            Self::TornDatabase => "torn-database",
            Self::LeftoverSnapshot => "leftover-snapshot",
        }
    }
}

/// A fault that is over as soon as it is done, with everything about it that is drawn.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    Kill { worker: &'static str },
    KillTwo { workers: [&'static str; 2] },
    KillAgain { worker: &'static str, times: usize },
    KillSupervisor,
    KillInStart { after: Duration },
    KillInRegistration { worker: &'static str, after: Duration },
    KillInForgetting { worker: &'static str, after: Duration },
    Reset { stage: Stage, times: usize },
    Garbage { worker: &'static str, link: usize, len: usize },
    Restart,
    TornDatabase { database: Database },
    LeftoverSnapshot { database: Database },
}

impl Fault {
    /// One of this kind that is no harm to the process `spared`; none if such faults last.
    pub(crate) fn draw(kind: Kind, spared: Option<&str>, random: &mut StdRng) -> Option<Self> {
        let mut workers = WORKERS.into_iter().filter(|worker| Some(*worker) != spared).sample(random, 2).into_iter();
        let (worker, another) = (workers.next()?, workers.next()?);
        let database = pick(random, Database::Ledger, [Database::Inboxes]);
        // Of those who have to do with accounts.
        let clerk = pick(random, "store", ["client-edge"]);
        Some(match kind {
            Kind::Kill => Self::Kill { worker },
            Kind::KillTwo => Self::KillTwo { workers: [worker, another] },
            Kind::KillStore => Self::Kill { worker: "store" },
            Kind::KillAgain => Self::KillAgain { worker, times: random.random_range(2..5) },
            Kind::KillSupervisor => Self::KillSupervisor,
            Kind::KillInStart => Self::KillInStart { after: millis(random, 1, 400) },
            Kind::KillInRegistration => Self::KillInRegistration { worker: clerk, after: millis(random, 0, 25) },
            Kind::KillInForgetting => Self::KillInForgetting { worker: clerk, after: millis(random, 0, 25) },
            Kind::Reset => Self::Reset {
                stage: pick(random, Stage::HalfLogin, [Stage::Login, Stage::HalfRegistration]),
                times: random.random_range(1..6),
            },
            Kind::Garbage => {
                Self::Garbage { worker, link: random.random_range(0..8), len: random.random_range(4..5_000) }
            }
            Kind::Restart => Self::Restart,
            Kind::TornDatabase => Self::TornDatabase { database },
            Kind::LeftoverSnapshot => Self::LeftoverSnapshot { database },
            Kind::Stop | Kind::FullDisk => return None,
        })
    }

    /// Time to leave for it before the next.
    pub(crate) const fn usual_duration(self) -> Duration {
        match self {
            Self::KillSupervisor | Self::KillInStart { .. } | Self::Restart | Self::KillAgain { .. } => {
                Duration::from_millis(1_500)
            }
            Self::Garbage { .. }
            | Self::TornDatabase { .. }
            | Self::KillInRegistration { .. }
            | Self::KillInForgetting { .. } => Duration::from_millis(1_000),
            _ => Duration::from_millis(300),
        }
    }
}

/// What lasts, so that something else can happen meanwhile.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Condition {
    /// A process is stopped.
    Stopped { name: &'static str },
    /// The disk is full.
    FullDisk,
}

impl Condition {
    /// One of this kind; none if such faults do not last.
    pub(crate) fn draw(kind: Kind, random: &mut StdRng) -> Option<Self> {
        match kind {
            Kind::Stop => Some(Self::Stopped { name: pick(random, "supervisor", WORKERS) }),
            Kind::FullDisk => Some(Self::FullDisk),
            _ => None,
        }
    }

    /// For how long: a full disk is to be met by a gateway that starts, too.
    pub(crate) fn draw_duration(self, random: &mut StdRng) -> Duration {
        match self {
            Self::Stopped { .. } => millis(random, 500, 4_000),
            Self::FullDisk => millis(random, 1_500, 4_500),
        }
    }

    /// Who takes no harm from what happens meanwhile.
    pub(crate) const fn spared(self) -> Option<&'static str> {
        match self {
            Self::Stopped { name } => Some(name),
            Self::FullDisk => None,
        }
    }

    /// Whether such a fault can happen meanwhile.
    ///
    /// A gateway is not ended in good order while one of its processes is stopped: that one is rightly killed for being
    /// late, and others wait for it. No report of a peer arrives while its reporter or the supervisor is stopped. On a full
    /// disk there is nothing to tear, and nothing to write a snapshot with. What becomes of an account is asked of a gateway that is
    /// well.
    pub(crate) fn allows(self, kind: Kind) -> bool {
        use Kind::*;
        match (self, kind) {
            (_, Stop | FullDisk | TornDatabase | KillInRegistration | KillInForgetting) => false,
            (Self::FullDisk, LeftoverSnapshot) => false,
            (Self::FullDisk, _) => true,
            (Self::Stopped { .. }, Restart | Garbage) => false,
            (Self::Stopped { name: "store" }, KillStore | LeftoverSnapshot) => false,
            // Without it there are no successors to kill.
            (Self::Stopped { name: "supervisor" }, KillAgain) => false,
            (Self::Stopped { .. }, _) => true,
        }
    }
}

/// Where in its introduction a client vanishes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stage {
    /// Half of a login is sent.
    HalfLogin,
    /// A login is sent, and its answer not waited for.
    Login,
    /// The first message of a registration is sent.
    HalfRegistration,
}

/// One of the gateway's databases.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Database {
    /// The clients' keys.
    Ledger,
    /// The mail.
    Inboxes,
}

impl Database {
    /// Its folder in the data folder.
    pub(crate) const fn folder(self) -> &'static str {
        match self {
            Self::Ledger => "client_ledger.sled",
            Self::Inboxes => "inboxes/mail",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill { worker } => write!(f, "SIGKILL {worker}"),
            Self::KillAgain { worker, times } => write!(f, "SIGKILL {worker}, {times} times in a row, in its start"),
            Self::KillTwo { workers: [one, other] } => write!(f, "SIGKILL {one} and {other} at once"),
            Self::KillSupervisor => write!(f, "SIGKILL supervisor"),
            Self::KillInStart { after } => write!(f, "SIGKILL supervisor, and again {after:?} into its start"),
            Self::KillInRegistration { worker, after } => {
                write!(f, "SIGKILL {worker}, {after:?} into a registration")
            }
            Self::KillInForgetting { worker, after } => {
                write!(f, "SIGKILL {worker}, {after:?} into the wish of a client to be forgotten")
            }
            Self::Reset { stage, times } => write!(f, "{times} clients reset their connections ({stage:?})"),
            Self::Garbage { worker, link, len } => write!(f, "{len} bytes of garbage from {worker} (link {link})"),
            Self::Restart => write!(f, "SIGTERM and start"),
            Self::TornDatabase { database } => write!(f, "SIGKILL store, {} torn", database.folder()),
            Self::LeftoverSnapshot { database } => {
                write!(f, "SIGKILL store, unfinished snapshot in {}", database.folder())
            }
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped { name } => write!(f, "SIGSTOP {name}"),
            Self::FullDisk => write!(f, "disk full"),
        }
    }
}

/// One of these; the first is named apart, so that there is one.
fn pick<T: Copy>(random: &mut StdRng, first: T, others: impl IntoIterator<Item = T>) -> T {
    iter::once(first).chain(others).choose(random).unwrap_or(first)
}

/// A time between these two.
pub(crate) fn millis(random: &mut StdRng, from: u64, to: u64) -> Duration {
    Duration::from_millis(random.random_range(from..to))
}
