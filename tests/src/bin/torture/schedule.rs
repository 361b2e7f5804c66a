//! Which faults, and when: drawn from a seed before anything starts, so that the same seed gives the same schedule.

use std::{fmt, iter, time::Duration};

use ::tests::gateway::WORKERS;
use rand::{
    RngExt, SeedableRng,
    rngs::StdRng,
    seq::{IteratorRandom, SliceRandom},
};

/// A kind of fault. Every kind comes up once before any comes up again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A worker is killed.
    Kill,
    /// The store is killed: it has the most to lose.
    KillStore,
    /// A worker is killed, and its successors as soon as they have started.
    KillAgain,
    /// The supervisor is killed.
    KillSupervisor,
    /// The supervisor is killed, and its successor before it is ready.
    KillInStart,
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
    pub(crate) const ALL: [Self; 12] = [
        Self::Kill,
        Self::KillStore,
        Self::KillAgain,
        Self::KillSupervisor,
        Self::KillInStart,
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
            Self::KillStore => "kill-store",
            Self::KillAgain => "kill-again",
            Self::KillSupervisor => "kill-supervisor",
            Self::KillInStart => "kill-in-start",
            Self::Stop => "stop",
            Self::Reset => "reset",
            Self::Garbage => "garbage",
            Self::Restart => "restart",
            Self::FullDisk => "full-disk",
            Self::TornDatabase => "torn-database",
            Self::LeftoverSnapshot => "leftover-snapshot",
        }
    }

    fn draw(self, random: &mut StdRng) -> Fault {
        let worker = pick(random, "store", WORKERS.into_iter().filter(|worker| *worker != "store"));
        let database = pick(random, Database::Ledger, [Database::Inboxes]);
        match self {
            Self::Kill => Fault::Kill { worker },
            Self::KillStore => Fault::Kill { worker: "store" },
            Self::KillAgain => Fault::KillAgain { worker, times: random.random_range(2..5) },
            Self::KillSupervisor => Fault::KillSupervisor,
            Self::KillInStart => Fault::KillInStart { after: millis(random, 1, 400) },
            Self::Stop => {
                let name = pick(random, "supervisor", WORKERS);
                Fault::Stop { name, lasts: millis(random, 500, 4_000) }
            }
            Self::Reset => Fault::Reset {
                stage: pick(random, Stage::HalfLogin, [Stage::Login, Stage::HalfRegistration]),
                times: random.random_range(1..6),
            },
            Self::Garbage => {
                Fault::Garbage { worker, link: random.random_range(0..8), len: random.random_range(4..5_000) }
            }
            Self::Restart => Fault::Restart,
            Self::FullDisk => Fault::FullDisk { lasts: millis(random, 1_000, 4_000) },
            Self::TornDatabase => Fault::TornDatabase { database },
            Self::LeftoverSnapshot => Fault::LeftoverSnapshot { database },
        }
    }
}

/// A fault, with everything about it that is drawn.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    Kill { worker: &'static str },
    KillAgain { worker: &'static str, times: usize },
    KillSupervisor,
    KillInStart { after: Duration },
    Stop { name: &'static str, lasts: Duration },
    Reset { stage: Stage, times: usize },
    Garbage { worker: &'static str, link: usize, len: usize },
    Restart,
    FullDisk { lasts: Duration },
    TornDatabase { database: Database },
    LeftoverSnapshot { database: Database },
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
            Self::Inboxes => "inboxes",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill { worker } => write!(f, "SIGKILL {worker}"),
            Self::KillAgain { worker, times } => write!(f, "SIGKILL {worker}, {times} times in a row, in its start"),
            Self::KillSupervisor => write!(f, "SIGKILL supervisor"),
            Self::KillInStart { after } => write!(f, "SIGKILL supervisor, and again {after:?} into its start"),
            Self::Stop { name, lasts } => write!(f, "SIGSTOP {name} for {lasts:?}"),
            Self::Reset { stage, times } => write!(f, "{times} clients reset their connections ({stage:?})"),
            Self::Garbage { worker, link, len } => write!(f, "{len} bytes of garbage from {worker} (link {link})"),
            Self::Restart => write!(f, "SIGTERM and start"),
            Self::FullDisk { lasts } => write!(f, "disk full for {lasts:?}"),
            Self::TornDatabase { database } => write!(f, "SIGKILL store, {} torn", database.folder()),
            Self::LeftoverSnapshot { database } => {
                write!(f, "SIGKILL store, unfinished snapshot in {}", database.folder())
            }
        }
    }
}

/// A fault and its time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Planned {
    /// Since the beginning.
    pub(crate) at: Duration,
    /// What happens.
    pub(crate) fault: Fault,
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:7.2} s  {}", self.at.as_secs_f64(), self.fault)
    }
}

/// Draws a schedule.
pub(crate) fn draw(seed: u64, duration: Duration, kinds: &[Kind]) -> Vec<Planned> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut schedule = Vec::new();
    let mut bag: Vec<Kind> = Vec::new();
    let mut at = Duration::from_secs(1);
    while at < duration {
        if bag.is_empty() {
            bag.extend_from_slice(kinds);
            bag.shuffle(&mut random);
        }
        let Some(kind) = bag.pop() else { break };
        let fault = kind.draw(&mut random);
        schedule.push(Planned { at, fault });
        at += fault.usual_duration() + millis(&mut random, 100, 2_500);
    }
    schedule
}

impl Fault {
    /// Time to leave for it before the next.
    const fn usual_duration(self) -> Duration {
        match self {
            Self::Stop { lasts, .. } | Self::FullDisk { lasts } => lasts,
            Self::KillSupervisor | Self::KillInStart { .. } | Self::Restart | Self::KillAgain { .. } => {
                Duration::from_millis(1_500)
            }
            Self::Garbage { .. } | Self::TornDatabase { .. } => Duration::from_millis(1_000),
            _ => Duration::from_millis(300),
        }
    }
}

/// One of these; the first is named apart, so that there is one.
fn pick<T: Copy>(random: &mut StdRng, first: T, others: impl IntoIterator<Item = T>) -> T {
    iter::once(first).chain(others).choose(random).unwrap_or(first)
}

fn millis(random: &mut StdRng, from: u64, to: u64) -> Duration {
    Duration::from_millis(random.random_range(from..to))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(seed: u64) -> Vec<String> {
        draw(seed, Duration::from_secs(600), &Kind::ALL).iter().map(Planned::to_string).collect()
    }

    #[test]
    fn a_seed_is_a_schedule_and_every_kind_comes_up() {
        assert_eq!(printed(7), printed(7));
        assert_ne!(printed(7), printed(8));
        let all = printed(7).join("\n");
        for words in
            ["SIGKILL store\n", "times in a row", "again", "SIGSTOP", "reset", "garbage", "SIGTERM", "full", "torn"]
        {
            assert!(all.contains(words), "{words}");
        }
    }
}
