//! Whether new clients are let in. The operator decides this for the present gateway; the next one lets them in.
//!
//! Only the clients' port is concerned. Mix nodes may always connect, because they bring the mail of the clients that are here or come back.

use ipc::{Role, control::WorkerCommand};

use super::{GatewayPhase, Workers};
use crate::systemd;

/// The status of a gateway that lets no newcomers in.
const NO_NEWCOMERS: &str =
    "serving mix nodes and the clients that are connected; no new clients until `gatewayd resume`";

/// The status of a gateway that serves with new programs, which are watched.
const ON_PROBATION: &str = "serving mix nodes and clients; the programs of an upgrade are watched";

impl Workers {
    /// As the supervisor before an upgrade had it.
    pub(crate) const fn let_newcomers_in(&mut self, admitted: bool) {
        self.newcomers = admitted;
    }

    /// Whether new clients are let in.
    pub(in crate::supervisor) const fn lets_newcomers_in(&self) -> bool {
        self.newcomers
    }

    /// Lets new clients in from now on, or not. Those that are connected stay.
    pub(in crate::supervisor) fn admit_newcomers(&mut self, admitted: bool) {
        self.newcomers = admitted;
        self.tell(Role::ClientEdge, &WorkerCommand::AdmitNewcomers(admitted));
        if admitted {
            tracing::info!("new clients are let in, as the operator has ordered");
        } else {
            tracing::warn!(
                id = "GWD-G035",
                "no new clients are let in, as the operator has ordered; those that are connected stay"
            );
        }
        if self.phase == GatewayPhase::Open {
            systemd::status(self.serving());
        }
    }

    /// The status of a gateway whose workers are all ready.
    pub(super) const fn serving(&self) -> &'static str {
        match (self.newcomers, self.probation.is_some()) {
            (true, false) => systemd::SERVING,
            (false, _) => NO_NEWCOMERS,
            (true, true) => ON_PROBATION,
        }
    }
}
