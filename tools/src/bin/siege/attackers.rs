//! Those who mean harm: one file for each kind. Each says what it wants, what it spends, and how its success is judged.
//!
//! All of them stop when the siege does, have a bound on what they hold and how fast they come, and connect to nothing but
//! loopback addresses and those of the run's own namespace.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use harness::{connection::Connection, hostiles::Hostiles};
use tokio::{
    io::AsyncReadExt,
    net::TcpStream,
    task::JoinSet,
    time::{Instant, Interval, MissedTickBehavior, interval, timeout_at},
};

use crate::{
    evidence::Evidence,
    sources::{Block, Target},
    tally::{Tally, Verdict},
};

mod forgetters;
mod frames;
mod garbage;
mod halves;
mod hoarders;
mod lobby;
mod login_replays;
mod logins;
mod mute;
mod next_hops;
mod reflection;
mod seats;
mod supported_protocol;
mod unknown_clients;
mod unread;
mod witness;

/// A kind of attacker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Logins of others, once more.
    LoginReplays,
    /// What the gateway sealed, sent back to it.
    Reflection,
    /// Questions before a login, for ever.
    SupportedProtocol,
    /// Silent connections on the mixnet port.
    Seats,
    /// Silent connections on the clients' port.
    Lobby,
    /// Logins and registrations without end.
    Logins,
    /// Sessions that read nothing.
    Unread,
    /// Halves of messages and of frames.
    Halves,
    /// Packets that do not unwrap.
    Garbage,
    /// Packets to next hops that do not exist.
    NextHops,
    /// Packets for unregistered clients.
    UnknownClients,
    /// Pings and fragments.
    Frames,
    /// Mail that is never fetched.
    Hoarders,
    /// Mail without SURB-acks.
    Mute,
    /// Accounts with much mail that are forgotten.
    Forgetters,
}

/// What every attacker has.
#[derive(Clone)]
pub(crate) struct Attack {
    /// The gateway.
    pub(crate) target: Target,
    /// Where the attackers of this kind come from.
    pub(crate) block: Block,
    /// To be told what is spent and got.
    pub(crate) tally: Arc<Tally>,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 15] = [
        Self::LoginReplays,
        Self::Reflection,
        Self::SupportedProtocol,
        Self::Seats,
        Self::Lobby,
        Self::Logins,
        Self::Unread,
        Self::Halves,
        Self::Garbage,
        Self::NextHops,
        Self::UnknownClients,
        Self::Frames,
        Self::Hoarders,
        Self::Mute,
        Self::Forgetters,
    ];

    /// What it is called.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::LoginReplays => "login-replays",
            Self::Reflection => "reflection",
            Self::SupportedProtocol => "supported-protocol",
            Self::Seats => "seats",
            Self::Lobby => "lobby",
            Self::Logins => "logins",
            Self::Unread => "unread",
            Self::Halves => "halves",
            Self::Garbage => "garbage",
            Self::NextHops => "next-hops",
            Self::UnknownClients => "unknown-clients",
            Self::Frames => "frames",
            Self::Hoarders => "hoarders",
            Self::Mute => "mute",
            Self::Forgetters => "forgetters",
        }
    }

    async fn attack(self, attack: Attack) -> Result<()> {
        match self {
            Self::LoginReplays => login_replays::attack(attack).await,
            Self::Reflection => reflection::attack(attack).await,
            Self::SupportedProtocol => supported_protocol::attack(attack).await,
            Self::Seats => seats::attack(attack).await,
            Self::Lobby => lobby::attack(attack).await,
            Self::Logins => logins::attack(attack).await,
            Self::Unread => unread::attack(attack).await,
            Self::Halves => halves::attack(attack).await,
            Self::Garbage => garbage::attack(attack).await,
            Self::NextHops => next_hops::attack(attack).await,
            Self::UnknownClients => unknown_clients::attack(attack).await,
            Self::Frames => frames::attack(attack).await,
            Self::Hoarders => hoarders::attack(attack).await,
            Self::Mute => mute::attack(attack).await,
            Self::Forgetters => forgetters::attack(attack).await,
        }
    }

    /// Whether the gateway held against it.
    pub(crate) fn judge(self, tally: &Tally, evidence: &Evidence) -> Verdict {
        match self {
            Self::LoginReplays => login_replays::judge(tally),
            Self::Reflection => reflection::judge(tally),
            Self::SupportedProtocol => supported_protocol::judge(tally),
            Self::Seats => seats::judge(tally, evidence),
            Self::Lobby => lobby::judge(tally, evidence),
            Self::Logins => logins::judge(tally, evidence),
            Self::Unread => unread::judge(tally, evidence),
            Self::Halves => halves::judge(tally),
            Self::Garbage => garbage::judge(tally, evidence),
            Self::NextHops => next_hops::judge(tally, evidence),
            Self::UnknownClients => unknown_clients::judge(tally, evidence),
            Self::Frames => frames::judge(tally, evidence),
            Self::Hoarders => hoarders::judge(tally, evidence),
            Self::Mute => mute::judge(tally, evidence),
            Self::Forgetters => forgetters::judge(tally, evidence),
        }
    }
}

/// All attackers of some kinds, at work.
pub(crate) struct Attackers {
    hostiles: Hostiles,
    at_work: Vec<(Kind, Arc<Tally>)>,
}

impl Attackers {
    /// Sends them out, for so long.
    ///
    /// # Errors
    /// If there can be no more threads.
    pub(crate) fn send(kinds: &[Kind], target: Target, lasts: Duration) -> Result<Self> {
        let end = Instant::now() + lasts;
        let mut hostiles = Hostiles::new()?;
        let mut at_work = Vec::new();
        for (party, kind) in (1..).zip(kinds.iter().copied()) {
            let block = Block { party, has_v6: target.v6.is_some() };
            let tally = Arc::new(Tally::default());
            let attack = Attack { target, block, tally: tally.clone() };
            at_work.push((kind, tally.clone()));
            hostiles.spawn(async move {
                // One that the gateway has driven off by a refusal reconnects.
                while Instant::now() < end {
                    if let Ok(Err(refused)) = timeout_at(end, kind.attack(attack.clone())).await {
                        eprintln!("{} begins again: {refused:#}", kind.name());
                        tally.spent("attempts to begin that failed", 1);
                        tokio::time::sleep(PAUSE).await;
                    }
                }
                Ok(())
            });
        }
        Ok(Self { hostiles, at_work })
    }

    /// Waits until all have ended.
    ///
    /// # Errors
    /// If one failed in a way that is no refusal.
    pub(crate) async fn ended(mut self) -> Result<Vec<(Kind, Arc<Tally>)>> {
        self.hostiles.all_ended().await?;
        Ok(self.at_work)
    }
}

/// Before an attacker tries again what did not work.
const PAUSE: Duration = Duration::from_millis(200);

/// So many times a second; what was missed is not made up for.
fn per_second(count: u32) -> Interval {
    let mut pace = interval(Duration::from_secs(1) / count);
    pace.set_missed_tick_behavior(MissedTickBehavior::Skip);
    pace
}

/// Keeps `each` connections open from each of so many addresses. `sit` opens one and stays until it is closed; then, after a pause,
/// the next one takes its place.
async fn keep_sitting<S>(
    attack: &Attack,
    (addresses, each): (u16, u16),
    pause: Duration,
    sit: fn(Attack, u16) -> S,
) -> Result<()>
where
    S: Future<Output = ()> + Send + 'static,
{
    let mut sitting = JoinSet::new();
    for source in (0..addresses).flat_map(|number| std::iter::repeat_n(number, usize::from(each))) {
        let attack = attack.clone();
        sitting.spawn(async move {
            loop {
                sit(attack.clone(), source).await;
                tokio::time::sleep(pause).await;
            }
        });
    }
    while sitting.join_next().await.is_some() {}
    Ok(())
}

/// Reads until the gateway closes the connection.
async fn until_closed(stream: &mut TcpStream) {
    let mut said = [0; 4_096];
    while matches!(stream.read(&mut said).await, Ok(1..)) {}
}

/// Says goodbye and waits until the connection is closed.
async fn leave(mut connection: Connection) {
    // One that the gateway has closed needs no goodbye.
    if connection.send_close().await.is_ok() {
        let _ = connection.wait_for_end().await;
    }
}
