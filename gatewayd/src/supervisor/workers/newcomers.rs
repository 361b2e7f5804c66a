//! Whether new clients are let in. The operator decides this for the present gateway; the next one lets them in.
//!
//! Only the clients' port is concerned. Mix nodes may always connect, because they bring the mail of the clients that are here or come back.

use ipc::{Role, control::WorkerCommand};

use super::{GatewayPhase, Workers};
use crate::systemd;

/// The status of a gateway that lets no newcomers in.
const NO_NEWCOMERS: &str =
    "serving mix nodes and the clients that are connected; no new clients until `gatewayd resume`";

impl Workers {
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
        if self.newcomers { systemd::SERVING } else { NO_NEWCOMERS }
    }
}
