//! `gatewayd check` and `gatewayd run --dry-run`: everything that would keep this gateway from starting or from serving as configured, at once.
//!
//! *Trusts*: the operator. *Promises*: every finding that is not good has a remedy. `check` changes nothing: it listens on the ports for a moment,
//! opens files to read, and reads the private keys only to compare them with the public ones. `run --dry-run` changes nothing either: it
//! also opens what there is as `run` does, and closes each jail once, with empty folders in the place of the data.
//!
//! | file | idea |
//! |---|---|
//! | [`settings`] | the configuration, the keys, what is announced |
//! | [`places`] | programs, ports, folders, accounts |
//! | [`in_use`] | which places a running gateway has |
//! | [`machine`] | descriptors, memory, clock, disk, jail |
//! | [`opening`] | what only opening shows |
//! | [`trial`], [`builds`] | what a new gatewayd says whom a running one tries for an upgrade |

mod builds;
mod in_use;
mod machine;
mod opening;
mod places;
mod settings;
pub mod trial;

use serde::Serialize;

use self::in_use::PlacesInUse;
use crate::{
    admin::client::AdminError,
    config::Config,
    console::Console,
    findings::{Line, Verdict},
    launch,
    path_guard::PathGuard,
    paths::{GatewayId, GatewayPaths, Root},
    plan::{self, PlanSource},
    steer,
};

/// How far a check goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Read only.
    Reading,
    /// Open everything, too.
    Opening,
}

/// Why a gateway is not fit to run.
#[derive(Debug, thiserror::Error)]
pub enum UnfitError {
    /// Each attempt would fail until the operator has corrected something.
    #[error("{0} of the lines above say what has to be corrected before the gateway can start")]
    Configuration(usize),
    /// Something about the machine, which may pass.
    #[error("{0} of the lines above say what would keep the gateway from starting, or from serving")]
    Machine(usize),
    /// The result could not be written as JSON.
    #[error("cannot write the result: {0}")]
    Json(#[from] serde_json::Error),
}

/// All findings.
#[derive(Debug, Default, Serialize)]
struct Findings {
    /// About the configuration and what it names.
    configuration: Vec<Line>,
    /// About the machine.
    machine: Vec<Line>,
}

impl Findings {
    fn bad(lines: &[Line]) -> usize {
        lines.iter().filter(|line| line.verdict == Verdict::Bad).count()
    }
}

/// Checks gateway `id` as `run` would start it from `source`, and prints every finding.
///
/// # Errors
/// If something would keep it from starting or serving.
pub fn execute(
    id: &GatewayId,
    source: PlanSource,
    depth: Depth,
    json: bool,
    console: &mut Console<'_>,
) -> Result<(), UnfitError> {
    let findings = look(id, source, depth);
    if json {
        console.line(serde_json::to_string_pretty(&findings)?);
    } else {
        findings.configuration.iter().chain(&findings.machine).for_each(|line| line.print(console));
    }
    match (Findings::bad(&findings.configuration), Findings::bad(&findings.machine)) {
        (0, 0) => Ok(()),
        (0, machine) => Err(UnfitError::Machine(machine)),
        (configuration, machine) => Err(UnfitError::Configuration(configuration + machine)),
    }
}

fn look(id: &GatewayId, source: PlanSource, depth: Depth) -> Findings {
    let paths = GatewayPaths::new(&source.root, id);
    let guard = PathGuard::new(paths.home());
    let mut findings = Findings::default();
    let config = settings::look(id, &paths, &guard, &source, &mut findings.configuration);
    if let Some(config) = &config {
        let RunningGateway { is_running, in_use } = running_gateway(id, &source.root, config, &mut findings.machine);
        if is_running && depth == Depth::Opening {
            let remedy = "stop the gateway first, or try a copy of its folder";
            findings
                .machine
                .push(Line::doubtful("nothing was opened and no jail was closed, because it is running", remedy));
        }
        places::look(config, &guard, in_use.as_ref(), &mut findings);
        findings.machine.extend(machine::look(config));
        if depth == Depth::Opening && !is_running && Findings::bad(&findings.configuration) == 0 {
            match plan::from_source(id, guard, source) {
                Ok(plan) => findings.machine.extend(opening::look(plan)),
                Err(error) => {
                    findings.configuration.push(Line::bad(error.to_string(), "correct this, and check again"))
                }
            }
        }
    }
    findings
}

/// Whether the gateway runs already.
struct RunningGateway {
    is_running: bool,
    /// The places that it has, unless it does not tell. One that does not run has none.
    in_use: Option<PlacesInUse>,
}

/// Asks the gateway. One that does not answer is found by its data.
fn running_gateway(id: &GatewayId, root: &Root, config: &Config, lines: &mut Vec<Line>) -> RunningGateway {
    let holder = launch::user_of_data(config, &config.home);
    let named = holder.as_ref().map(|holder| format!(": {holder}")).unwrap_or_default();
    match steer::config::ask(id, root) {
        Ok(running) => {
            lines.push(Line::good(format!(
                "the gateway is running{named}; the ports and data that it has are in use by it"
            )));
            RunningGateway { is_running: true, in_use: Some(PlacesInUse::of(&running, &config.replay_directory)) }
        }
        Err(AdminError::NotRunning { .. }) if holder.is_none() => {
            RunningGateway { is_running: false, in_use: Some(PlacesInUse::default()) }
        }
        Err(error) => {
            lines.push(Line::doubtful(
                format!("the gateway is running{named}; ports and data were not tried, because it does not say which it has: {error}"),
                "do what the line says, and check again",
            ));
            RunningGateway { is_running: true, in_use: None }
        }
    }
}
