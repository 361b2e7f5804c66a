//! The questions of `gatewayd audit` to a running supervisor, and the answers.

use bincode::{Decode, Encode};
use ipc::{Role, jail::ActiveLayers, probe::Attempt};

use super::{ability::Ability, trial::TrialOutcome};

/// A question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum AuditQuestion {
    /// Which processes are alive?
    ShowRoster,
    /// Start a probe of this role that waits in its jail. The next question ends it.
    WaitInJail {
        /// The role of the probe.
        role: Role,
    },
    /// Try every way in which the role might have the ability.
    Measure {
        /// The role.
        role: Role,
        /// The ability.
        ability: Ability,
    },
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum AuditAnswer {
    /// To [`AuditQuestion::ShowRoster`].
    Roster(Roster),
    /// To [`AuditQuestion::WaitInJail`].
    Waiting {
        /// The process number of the probe.
        pid: u32,
        /// The layers of its jail, as it reports them.
        layers: ActiveLayers,
    },
    /// To [`AuditQuestion::Measure`].
    Measured(Vec<Tried>),
    /// The question could not be answered, for this reason.
    Failed(String),
}

/// The processes of a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Roster {
    /// The process number of the supervisor.
    pub supervisor: u32,
    /// The workers that are alive.
    pub live: Vec<Live>,
}

/// A worker that is alive.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Live {
    /// Its role.
    pub role: Role,
    /// Its process number.
    pub pid: u32,
    /// The layers of its jail, as it reports them.
    pub layers: ActiveLayers,
}

impl Roster {
    /// The process numbers of the workers of all other roles.
    pub fn others_than(&self, role: Role) -> Vec<u32> {
        self.live.iter().filter(|other| other.role != role).map(|other| other.pid).collect()
    }
}

/// An attempt and its outcome.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Tried {
    /// What was tried.
    pub attempt: Attempt,
    /// Whether it leads only to the role's own data.
    pub own: bool,
    /// The outcome.
    pub outcome: TrialOutcome,
}
