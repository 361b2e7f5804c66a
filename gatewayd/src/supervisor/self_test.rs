//! An audit without a running gateway: a crew of probes that only wait, for others to be measured on.
//!
//! *Promises*: no port of the configuration is bound and no lock is taken, so that a running gateway is not disturbed.

use std::{net::Ipv4Addr, sync::Arc};

use proto::ipc::Role;

use super::{
    CrewError, SupervisorError, accounts, equip,
    examiner::Examiner,
    prober::{Places, Prober, Waiting},
};
use crate::{
    audit::wire::{Answer, Question},
    run::RunPlan,
};

/// A crew of probes.
#[derive(Debug)]
pub(crate) struct SelfTest {
    examiner: Examiner,
    crew: Vec<(Role, Waiting)>,
}

impl SelfTest {
    /// Starts them, with the configuration of `plan` but ports of their own.
    ///
    /// # Errors
    /// If one cannot be started.
    pub(crate) async fn begin(plan: &RunPlan) -> Result<Self, SupervisorError> {
        let mut plan = plan.clone();
        plan.config.mix.listen = (Ipv4Addr::LOCALHOST, 0).into();
        plan.config.clients.listen = (Ipv4Addr::LOCALHOST, 0).into();
        let prober = Prober::new(Arc::new(equip(&plan, accounts(&plan)?)?), Places::of(&plan));
        let mut crew = Vec::new();
        for role in Role::ALL {
            let waiting = prober.wait_in_jail(role).await;
            let waiting = waiting.map_err(|error| CrewError::StartFailed { role, what: error.to_string() })?;
            crew.push((role, waiting));
        }
        Ok(Self { examiner: Examiner::new(prober), crew })
    }

    /// Answers a question.
    pub(crate) async fn answer(&mut self, question: Question) -> Answer {
        let live = self.crew.iter().map(|(role, waiting)| (*role, waiting.pid())).collect();
        self.examiner.answer(question, live).await
    }
}
