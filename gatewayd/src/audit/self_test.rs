//! An audit without a running gateway. One waiting probe for each role takes the place of the workers; it is what other probes try to
//! reach.
//!
//! *Promises*: no port of the configuration is bound and no lock of the data is taken, so that a running gateway is not disturbed. The
//! data does not change its owner, even if root runs the test: the probes work in empty directories beside it.

use std::{
    io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
};

use ipc::Role;
use tempfile::TempDir;

use super::{
    examiner::Examiner,
    prober::{Prober, WaitingProbe},
    wire::{AuditAnswer, AuditQuestion, Live},
};
use crate::{
    config::MetricsAddress,
    launch::{self, Accounts, Inherited, LaunchError, LaunchSpec},
    plan::RunPlan,
    system_error::SystemError,
};

/// Why a self-test cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum SelfTestError {
    /// What the probes need cannot be had.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// A probe does not come up.
    #[error("{role} cannot start: {what}")]
    StartFailed {
        /// The role of the probe.
        role: Role,
        /// In its words, or those of the operating system.
        what: String,
    },
    /// The operating system refused a call.
    #[error(transparent)]
    System(#[from] SystemError),
}

/// One waiting probe for each role.
#[derive(Debug)]
pub(crate) struct SelfTest {
    examiner: Examiner,
    probes: Vec<(Role, WaitingProbe)>,
    /// Removed when dropped.
    _stand_ins: [TempDir; 3],
}

impl SelfTest {
    /// Starts the probes, with the configuration of `plan`, but ports and directories of their own.
    ///
    /// # Errors
    /// If a probe cannot be started.
    pub(crate) async fn begin(plan: &RunPlan) -> Result<Self, SelfTestError> {
        let mut plan = plan.clone();
        plan.config.mix.listen = (Ipv4Addr::LOCALHOST, 0).into();
        plan.config.clients.listen = (Ipv4Addr::LOCALHOST, 0).into();
        plan.config.node.http_bind_address = (Ipv4Addr::LOCALHOST, 0).into();
        // The socket of a gateway that runs must stay.
        plan.config.metrics.listen =
            plan.config.metrics.listen.map(|_| MetricsAddress::Port((Ipv4Addr::LOCALHOST, 0).into()));
        let stand_ins =
            stand_ins(&mut plan).map_err(SystemError::during("make a directory beside the data for the self-test"))?;
        let accounts = Accounts::choose(plan.config.sandbox.first_account.get()).map_err(LaunchError::from)?;
        let data = launch::open_data(&plan, accounts)?;
        let spec = Arc::new(LaunchSpec::build(plan, accounts, data, Inherited::nothing())?);
        let roles: Vec<Role> = spec.roles().collect();
        let prober = Prober::new(spec);
        let mut probes = Vec::new();
        for role in roles {
            let waiting = prober.wait_in_jail(role).await;
            let waiting = waiting.map_err(|error| SelfTestError::StartFailed { role, what: error.to_string() })?;
            probes.push((role, waiting));
        }
        Ok(Self { examiner: Examiner::new(prober), probes, _stand_ins: stand_ins })
    }

    /// Answers a question.
    pub(crate) async fn answer(&mut self, question: AuditQuestion) -> AuditAnswer {
        let live = |(role, waiting): &(Role, WaitingProbe)| Live {
            role: *role,
            pid: waiting.pid(),
            layers: waiting.layers().clone(),
        };
        let live = self.probes.iter().map(live).collect();
        self.examiner.answer(question, live).await
    }
}

/// Puts an empty directory in the place of each that `store` is given. The real ones would change their owner.
fn stand_ins(plan: &mut RunPlan) -> io::Result<[TempDir; 3]> {
    let config = &mut plan.config;
    let put = |directory: &mut PathBuf| {
        let stand_in = beside(directory)?;
        *directory = stand_in.path().to_owned();
        Ok::<_, io::Error>(stand_in)
    };
    Ok([put(&mut config.clients.ledger)?, put(&mut config.clients.inboxes)?, put(&mut config.replay_directory)?])
}

fn beside(directory: &Path) -> io::Result<TempDir> {
    let parent = directory.parent().map_or_else(|| PathBuf::from("."), Path::to_owned);
    tempfile::Builder::new().prefix(".self-test-").tempdir_in(parent)
}
