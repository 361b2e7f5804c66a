//! An audit without a running gateway: a crew of probes that only wait, for others to be measured on.
//!
//! *Promises*: no port of the configuration is bound and no lock is taken, so that a running gateway is not disturbed; and whoever
//! asks, root too, leaves the data to whom it belongs: the probes work in empty directories beside it.

use std::{
    io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
};

use ipc::Role;
use tempfile::TempDir;

use super::{
    CrewError, SupervisorError,
    accounts::Accounts,
    equip,
    examiner::Examiner,
    open_data,
    prober::{Places, Prober, Waiting},
    system,
};
use crate::{
    audit::wire::{Answer, Live, Question},
    run::RunPlan,
};

/// A crew of probes.
#[derive(Debug)]
pub(crate) struct SelfTest {
    examiner: Examiner,
    crew: Vec<(Role, Waiting)>,
    /// Gone when dropped.
    _stand_ins: Vec<TempDir>,
}

impl SelfTest {
    /// Starts them, with the configuration of `plan` but ports and directories of their own.
    ///
    /// # Errors
    /// If one cannot be started.
    pub(crate) async fn begin(plan: &RunPlan) -> Result<Self, SupervisorError> {
        let mut plan = plan.clone();
        plan.config.mix.listen = (Ipv4Addr::LOCALHOST, 0).into();
        plan.config.clients.listen = (Ipv4Addr::LOCALHOST, 0).into();
        let stand_ins = stand_ins(&mut plan).map_err(system("make a directory beside the data for the self-test"))?;
        let accounts = Accounts::choose(plan.config.sandbox.first_account.get())?;
        let data = open_data(&plan, accounts)?;
        let prober = Prober::new(Arc::new(equip(&plan, accounts, data)?), Places::of(&plan));
        let mut crew = Vec::new();
        for role in Role::ALL {
            let waiting = prober.wait_in_jail(role).await;
            let waiting = waiting.map_err(|error| CrewError::StartFailed { role, what: error.to_string() })?;
            crew.push((role, waiting));
        }
        Ok(Self { examiner: Examiner::new(prober), crew, _stand_ins: stand_ins })
    }

    /// Answers a question.
    pub(crate) async fn answer(&mut self, question: Question) -> Answer {
        let live =
            |(role, waiting): &(Role, Waiting)| Live { role: *role, pid: waiting.pid(), held: waiting.held().clone() };
        let live = self.crew.iter().map(live).collect();
        self.examiner.answer(question, live).await
    }
}

/// Puts an empty directory in the place of each that `store` is given, which would otherwise change hands.
fn stand_ins(plan: &mut RunPlan) -> io::Result<Vec<TempDir>> {
    let (ledger, inboxes) = (beside(&plan.ledger_path)?, beside(&plan.inboxes_dir)?);
    let replay = beside(&plan.config.replay_directory)?;
    for (path, stand_in) in [
        (&mut plan.ledger_path, &ledger),
        (&mut plan.config.clients.ledger, &ledger),
        (&mut plan.inboxes_dir, &inboxes),
        (&mut plan.config.clients.inboxes, &inboxes),
        (&mut plan.config.replay_directory, &replay),
    ] {
        *path = stand_in.path().to_owned();
    }
    Ok(vec![ledger, inboxes, replay])
}

fn beside(directory: &Path) -> io::Result<TempDir> {
    let parent = directory.parent().map_or_else(|| PathBuf::from("."), Path::to_owned);
    tempfile::Builder::new().prefix(".self-test-").tempdir_in(parent)
}
