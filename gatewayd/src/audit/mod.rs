//! `audit`: shows what each process of the gateway can do. Probes try it from inside each jail.
//!
//! *Trusts*: the kernel's answers to probes, and what `/proc` shows of live workers. Policies and configurations are not asked.
//! *Promises*: every cell of the table is measured. A cell that cannot be measured is a surprise. Any surprise is exit code 1.
//!
//! | file | idea |
//! |---|---|
//! | [`ability`] | the lines of the table, and what is expected |
//! | [`trial`] | the ways in which each ability is tried |
//! | [`look`] | a process seen from outside |
//! | [`wire`] | questions and answers |
//! | [`report`] | the table |
//! | [`examiner`], [`prober`] | answers, and the probes that measure them |
//! | [`self_test`] | an audit without a running gateway |

pub mod ability;
pub(crate) mod examiner;
pub mod look;
pub(crate) mod prober;
pub mod report;
pub(crate) mod self_test;
pub mod trial;
pub mod wire;

pub use self::self_test::SelfTestError;

use std::{
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    time::Duration,
};

use ipc::Role;

use self::{
    ability::{Ability, AbilityVerdict},
    look::look,
    report::{AuditReport, Cell, LayerReport, ProcessReport, TrialReport},
    self_test::SelfTest,
    trial::verdict,
    wire::{AuditAnswer, AuditQuestion, Live, Roster},
};
use crate::{
    admin::{
        client::{AdminClient, AdminError, is_of_units},
        wire::{AdminAnswer, AdminQuestion},
    },
    console::Console,
    own_command::command_for,
    path_guard::PathGuard,
    paths::{GatewayId, GatewayPaths, Root},
    plan::{self, Environment, PlanError, RunPlan},
};

/// The time for one answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(120);
/// The folder of the credentials of units. Only root and the account of a unit can read them.
const CREDENTIALS_OF_UNITS: &str = "/run/credentials";

/// The flags of the command line.
#[derive(Clone, Debug)]
pub struct AuditOptions {
    /// Print JSON.
    pub json: bool,
    /// Start probes in the place of workers, instead of asking a running gateway.
    pub self_test: bool,
    /// Another configuration file.
    pub config: Option<PathBuf>,
    /// Only this column.
    pub role: Option<Role>,
    /// Only this line.
    pub ability: Option<Ability>,
}

/// Why there is no clean audit.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The gateway cannot be prepared.
    #[error(transparent)]
    Prepare(#[from] PlanError),
    /// The self-test cannot begin.
    #[error(transparent)]
    SelfTest(#[from] SelfTestError),
    /// The running gateway cannot be asked.
    #[error("{source} (`{} --self-test` measures without a running gateway)", command_for("audit", id))]
    Ask {
        /// The gateway.
        id: GatewayId,
        /// What went wrong.
        source: AdminError,
    },
    /// The questions cannot be answered.
    #[error(
        "the gateway cannot go on with the audit: {0}; check that it is of the same version, and run the audit again"
    )]
    Conversation(String),
    /// The kernel shows nothing of a process.
    #[error("cannot look at process {pid} of {role}: {source}; if it died, run the audit again")]
    Look {
        /// The role of the process.
        role: Role,
        /// Its number.
        pid: u32,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The result could not be written as JSON.
    #[error("cannot write the result: {0}")]
    Json(#[from] serde_json::Error),
    /// There are surprises. The report names them.
    #[error("surprises: {0}; the gateway's processes are not as they should be; the lines above name each difference")]
    Surprises(usize),
}

/// The folder of the unit's credentials, which may be the only place of its private keys.
fn credentials_of_unit(id: &GatewayId) -> Option<PathBuf> {
    let directory = Path::new(CREDENTIALS_OF_UNITS).join(format!("gatewayd@{id}.service"));
    directory.read_dir().is_ok().then_some(directory)
}

/// The environment of a command. For the gateways of the unit, private keys may be in the folder of the unit's credentials.
pub(crate) fn with_credentials_of_unit(id: &GatewayId, root: &Root, environment: Environment) -> Environment {
    let of_unit = || is_of_units(root.as_path()).then(|| credentials_of_unit(id)).flatten();
    let credentials = environment.credentials_directory.clone().or_else(of_unit);
    Environment { credentials_directory: credentials, ..environment }
}

/// Audits gateway `id` below `root`. To be called on the main thread, before there is any other.
///
/// # Errors
/// If the audit could not be done, or there is a surprise.
pub fn execute(
    id: &GatewayId,
    root: &Root,
    options: AuditOptions,
    environment: Environment,
    console: &mut Console<'_>,
) -> Result<(), AuditError> {
    let AuditOptions { json, self_test, config, role, ability } = options;
    let environment = with_credentials_of_unit(id, root, environment);
    let home = GatewayPaths::new(root, id).home().to_owned();
    // An audit that only asks reads a few files, and may read them in the folder of another account.
    let guard = if self_test { PathGuard::new(&home) } else { PathGuard::for_reading(&home) };
    let plan = plan::read(id, root, guard, config, environment)?;
    // One thread only, because probes die with the thread that started them.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| AuditError::Conversation(error.to_string()))?;
    let report = runtime.block_on(async {
        let mut respondent = if self_test {
            Respondent::SelfTest(Box::new(SelfTest::begin(&plan).await?))
        } else {
            Respondent::Running(plan.id.clone(), AdminClient::open(id, root).map_err(cannot_ask(&plan.id))?)
        };
        let roles = plan.config.roles().filter(|one| role.is_none_or(|only| only == *one));
        let abilities = Ability::ALL.into_iter().filter(|one| ability.is_none_or(|only| only == *one));
        examine(&mut respondent, &plan, roles, abilities).await
    })?;
    if json {
        console.line(report.json()?);
    } else {
        console.line(report.text(io::stdout().is_terminal()));
    }
    match report.surprises().len() {
        0 => Ok(()),
        surprises => Err(AuditError::Surprises(surprises)),
    }
}

/// What answers the questions.
enum Respondent {
    Running(GatewayId, AdminClient),
    SelfTest(Box<SelfTest>),
}

impl Respondent {
    async fn ask(&mut self, question: AuditQuestion) -> Result<AuditAnswer, AuditError> {
        match self {
            Self::Running(id, client) => {
                let answer = client.ask(AdminQuestion::Audit(question), ANSWER_LIMIT).await;
                match answer.map_err(cannot_ask(id))? {
                    AdminAnswer::Audit(answer) => Ok(answer),
                    other => Err(cannot_ask(id)(AdminError::of_other_answer(&other))),
                }
            }
            Self::SelfTest(test) => Ok(test.answer(question).await),
        }
    }

    async fn roster(&mut self) -> Result<Roster, AuditError> {
        match self.ask(AuditQuestion::ShowRoster).await? {
            AuditAnswer::Roster(roster) => Ok(roster),
            other => Err(no_answer(&other)),
        }
    }
}

fn cannot_ask(id: &GatewayId) -> impl Fn(AdminError) -> AuditError + '_ {
    move |source| AuditError::Ask { id: id.clone(), source }
}

fn no_answer(answer: &AuditAnswer) -> AuditError {
    match answer {
        AuditAnswer::Failed(why) => AuditError::Conversation(why.clone()),
        _ => AuditError::Conversation("it sent the answer to another question".to_owned()),
    }
}

async fn examine(
    respondent: &mut Respondent,
    plan: &RunPlan,
    roles: impl Iterator<Item = Role>,
    abilities: impl Iterator<Item = Ability> + Clone,
) -> Result<AuditReport, AuditError> {
    let running = matches!(respondent, Respondent::Running(..));
    let mut report = AuditReport { id: plan.id.to_string(), running, cells: Vec::new(), processes: Vec::new() };
    for role in roles {
        let seen = compare(respondent, role).await?;
        report.processes.push(seen);
        for ability in abilities.clone() {
            report.cells.push(measure(respondent, role, ability).await?);
        }
    }
    Ok(report)
}

async fn compare(respondent: &mut Respondent, role: Role) -> Result<ProcessReport, AuditError> {
    let roster = respondent.roster().await?;
    let looked = |pid| look(pid, roster.supervisor).map_err(|source| AuditError::Look { role, pid, source });
    let (probe, layers) = match respondent.ask(AuditQuestion::WaitInJail { role }).await? {
        AuditAnswer::Waiting { pid, layers } => (looked(pid)?, layers),
        other => return Err(no_answer(&other)),
    };
    let mut surprises = probe.holes();
    let mut live = None;
    if let Respondent::Running(..) = respondent {
        match roster.live.iter().find(|live| live.role == role) {
            Some(Live { pid, layers: said, .. }) => {
                let worker = looked(*pid)?;
                surprises.extend(worker.differences(&probe));
                if said.active != layers.active {
                    let (its, of_probe) = (said.names(), layers.names());
                    surprises.push(format!("its active layers are {its}, those of the probe {of_probe}"));
                }
                live = Some(worker);
            }
            None => surprises.push("no worker is alive; run the audit again when one is".to_owned()),
        }
    }
    Ok(ProcessReport { role, layers: LayerReport::of(&layers), probe, live, surprises })
}

async fn measure(respondent: &mut Respondent, role: Role, ability: Ability) -> Result<Cell, AuditError> {
    let expected = ability.expected(role);
    Ok(match respondent.ask(AuditQuestion::Measure { role, ability }).await? {
        AuditAnswer::Measured(tried) if !tried.is_empty() => Cell {
            role,
            ability,
            expected,
            measured: verdict(tried.iter().map(|tried| (tried.own, &tried.outcome))),
            trials: tried.iter().map(TrialReport::new).collect(),
        },
        AuditAnswer::Failed(why) => {
            let trials = vec![TrialReport::failed(format!("not measured: {why}"))];
            Cell { role, ability, expected, measured: AbilityVerdict::Unknown, trials }
        }
        other => return Err(no_answer(&other)),
    })
}
