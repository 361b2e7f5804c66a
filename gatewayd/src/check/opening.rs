//! What only opening shows: the lock, the ports, the data and the programs as `run` opens them, and each jail, closed once by a probe.
//!
//! *Promises*: nothing is left behind. No folder is made, and nothing changes its owner.

use std::sync::Arc;

use ipc::{Role, jail::ActiveLayers};

use crate::{
    audit::prober::Prober,
    findings::Line,
    launch::{self, Accounts, Inherited, LaunchSpec},
    plan::RunPlan,
    supervisor::RunLock,
};

/// Opens everything, and lets it go again.
pub(super) fn look(plan: RunPlan) -> Vec<Line> {
    let left_out = plan.layers_left_out.clone();
    let required = plan.config.sandbox.require.clone();
    let opened = match open(plan) {
        Ok(opened) => opened,
        Err(error) => return vec![Line::bad(error, "correct this, and check again")],
    };
    let mut lines = vec![Line::good("the ports, the keys and the data can be opened")];
    for (role, closed) in opened {
        match closed {
            Ok(ActiveLayers { missing, .. }) => {
                let missing = missing.into_iter().filter(|missing| !left_out.contains(&missing.layer));
                let mut missing: Vec<Line> = missing
                    .map(|missing| {
                        let what = format!("{} is missing in the jail of {role}: {}", missing.layer, missing.why);
                        let remedy = "see the line, or leave the layer out on purpose";
                        let is_required = required.contains(&missing.layer);
                        if is_required { Line::bad(what, remedy) } else { Line::doubtful(what, remedy) }
                    })
                    .collect();
                if missing.is_empty() {
                    missing.push(Line::good(format!("the jail of {role} is complete")));
                }
                lines.extend(missing);
            }
            Err(error) => {
                lines.push(Line::bad(format!("{role} cannot start: {error}"), "correct this, and check again"));
            }
        }
    }
    lines
}

type Closed = Vec<(Role, Result<ActiveLayers, String>)>;

fn open(plan: RunPlan) -> Result<Closed, String> {
    fn text(error: impl std::fmt::Display) -> String {
        error.to_string()
    }
    let inherited = Inherited::from_service_manager().map_err(text)?;
    let accounts = Accounts::choose(plan.config.sandbox.first_account.get()).map_err(text)?;
    let (_held, data) = launch::open_trial_data(&plan, accounts).map_err(text)?;
    RunLock::look(&plan.run_dir, plan.id.as_str(), &plan.guard).map_err(text)?;
    let spec = Arc::new(LaunchSpec::build(plan, accounts, data, inherited).map_err(text)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(text)?;
    let prober = Prober::new(Arc::clone(&spec));
    Ok(runtime.block_on(async {
        let mut closed = Vec::new();
        for role in spec.roles() {
            let probe = prober.wait_in_jail(role).await;
            closed.push((role, probe.map(|probe| probe.layers().clone()).map_err(text)));
        }
        closed
    }))
}
