//! What `gatewayd audit` asks a running supervisor, and what it is answered: on the admin socket, in the frames of the links.
//!
//! *The supervisor trusts* root and its own account, whose processes alone may connect, with questions and nothing else. *The audit
//! trusts* the supervisor that holds the gateway's lock. One question at a time; each has one answer.

use bincode::{Decode, Encode};
use ipc::{Role, jail::ActiveLayers, probe::Attempt};

use super::{ability::Ability, trial::Outcome};

/// A question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Question {
    /// Who is alive?
    ShowCrew,
    /// Start a probe of this role that waits to be looked at; the next question ends it.
    WaitInJail {
        /// Of which role.
        role: Role,
    },
    /// Try every way in which the role might have the ability.
    Measure {
        /// Which role.
        role: Role,
        /// Which ability.
        ability: Ability,
    },
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Answer {
    /// To [`Question::ShowCrew`].
    Crew(Crew),
    /// To [`Question::WaitInJail`].
    Waiting {
        /// Its process number.
        pid: u32,
        /// What it says of its jail.
        held: ActiveLayers,
    },
    /// To [`Question::Measure`].
    Measured(Vec<Tried>),
    /// It could not be done.
    Failed(String),
}

/// The processes of a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Crew {
    /// The supervisor.
    pub supervisor: u32,
    /// Workers that are alive.
    pub live: Vec<Live>,
}

/// A worker that is alive.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Live {
    /// Of which role.
    pub role: Role,
    /// Its process number.
    pub pid: u32,
    /// What it has said of its jail.
    pub held: ActiveLayers,
}

impl Crew {
    /// The workers of all other roles than this one.
    pub fn others_than(&self, role: Role) -> Vec<u32> {
        self.live.iter().filter(|other| other.role != role).map(|other| other.pid).collect()
    }
}

/// An attempt and its outcome.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Tried {
    /// What was tried.
    pub attempt: Attempt,
    /// Whether it leads only to the data of the role's own job.
    pub own: bool,
    /// What came of it.
    pub outcome: Outcome,
}
