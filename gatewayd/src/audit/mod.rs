//! `audit`: shows what each process of the gateway can do, by having it tried from inside each jail.
//!
//! *Trusts*: the kernel's answers to probes, and what `/proc` shows of live workers; no policy and no configuration says anything
//! here. *Promises*: every cell is measured; a cell that cannot be measured is a surprise; any surprise is exit code 1.
//!
//! | file | idea |
//! |---|---|
//! | [`ability`] | the lines of the table, and what is expected |
//! | [`trial`] | by which ways each is tried |
//! | [`look`] | a process seen from outside |
//! | [`wire`] | questions and answers |
//! | [`report`] | the table |

pub mod ability;
pub mod look;
pub mod report;
pub mod trial;
pub mod wire;

use std::{
    io::{self, IsTerminal},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    time::Duration,
};

use ipc::Role;
use link::stream::{LinkReader, LinkWriter, open};
use tokio::time::timeout;

use self::{
    ability::{Ability, Verdict},
    look::look,
    report::{Cell, Layers, Process, Report, TrialReport},
    trial::verdict,
    wire::{Answer, Crew, Live, Question},
};
use crate::{
    console::Console,
    overrides::Overrides,
    path_guard::PathGuard,
    paths::{GatewayId, GatewayPaths, Root},
    run::{self, RunError, RunPlan, Surroundings},
    supervisor::{SOCKET, SelfTest, SupervisorError},
};

/// Time for one answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(120);
/// Where the unit that gives each worker its account keeps its gateways.
const HOME_OF_UNITS: &str = "/var/lib/gatewayd";
/// Where the units of systemd have their runtime directories.
const RUN_DIR_OF_UNITS: &str = "/run/gatewayd";
/// Where they have their credentials, for root and their own account to see.
const CREDENTIALS_OF_UNITS: &str = "/run/credentials";

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Request {
    /// Print for programs.
    pub json: bool,
    /// Start a crew of probes of its own in place of asking a running gateway.
    pub self_test: bool,
    /// Another configuration file.
    pub config: Option<PathBuf>,
    /// One column only.
    pub role: Option<Role>,
    /// One line only.
    pub ability: Option<Ability>,
}

/// Why there is no clean audit.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The gateway cannot be prepared.
    #[error(transparent)]
    Prepare(#[from] RunError),
    /// The self-test cannot begin.
    #[error(transparent)]
    SelfTest(#[from] SupervisorError),
    /// Nobody answers.
    #[error(
        "cannot ask the running gateway at {}: {source}; start it, or run the audit as root or as the account that runs it, or \
         measure without one: `gatewayd audit --id {id} --self-test`", path.display()
    )]
    Ask {
        /// The admin socket.
        path: PathBuf,
        /// The gateway.
        id: GatewayId,
        /// What went wrong.
        source: io::Error,
    },
    /// The conversation broke off.
    #[error("the gateway broke off the audit: {0}; is it of the same version, and does nobody else audit it?")]
    Conversation(String),
    /// A process cannot be looked at.
    #[error("cannot look at process {pid} of {role}: {source}; if it died, run the audit again")]
    Look {
        /// Whose.
        role: Role,
        /// Its number.
        pid: u32,
        /// What the kernel says.
        source: io::Error,
    },
    /// The result could not be written for programs.
    #[error("cannot write the result: {0}")]
    Json(#[from] serde_json::Error),
    /// There is a surprise. The report says which.
    #[error("{0} surprises: the gateway's processes are not what they should be; the lines above say which and how")]
    Surprises(usize),
}

/// Whether the gateways below `root` are those of the unit. What the unit has elsewhere belongs to no gateway of another folder,
/// whatever its id.
fn is_of_units(root: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    real(root).is_some_and(|root| real(Path::new(HOME_OF_UNITS)) == Some(root))
}

/// The private keys of a gateway that systemd runs may be nowhere else.
fn credentials_of_unit(id: &GatewayId) -> Option<PathBuf> {
    let directory = Path::new(CREDENTIALS_OF_UNITS).join(format!("gatewayd@{id}.service"));
    directory.read_dir().is_ok().then_some(directory)
}

/// Audits gateway `id` below `root`. To be called on the main thread, before there is any other.
///
/// # Errors
/// If it could not be done, or there is a surprise.
pub fn execute(
    id: &GatewayId,
    root: &Root,
    request: Request,
    surroundings: Surroundings,
    console: &mut Console<'_>,
) -> Result<(), AuditError> {
    let Request { json, self_test, config, role, ability } = request;
    let mut nobody = io::sink();
    let of_units = is_of_units(root.as_path());
    let credentials = surroundings.credentials_directory.clone();
    let credentials = credentials.or_else(|| of_units.then(|| credentials_of_unit(id)).flatten());
    let surroundings = Surroundings { credentials_directory: credentials, ..surroundings };
    let home = GatewayPaths::new(root, id).home().to_owned();
    // Whoever only asks reads a few files, and may do so in the folder of another account.
    let guard = if self_test { PathGuard::new(&home) } else { PathGuard::for_reading(&home) };
    let plan =
        run::prepare(id, root, guard, config, &Overrides::default(), surroundings, &mut Console::new(&mut nobody))?;
    // One thread only: probes die with the thread that started them.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| AuditError::Conversation(error.to_string()))?;
    let report = runtime.block_on(async {
        let mut witness = if self_test {
            Witness::SelfTest(Box::new(SelfTest::begin(&plan).await?))
        } else {
            Witness::Running(Connection::open(&plan, of_units)?)
        };
        let roles = Role::ALL.into_iter().filter(|one| role.is_none_or(|only| only == *one));
        let abilities = Ability::ALL.into_iter().filter(|one| ability.is_none_or(|only| only == *one));
        examine(&mut witness, &plan, roles, abilities).await
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

/// Who answers.
enum Witness {
    Running(Connection),
    SelfTest(Box<SelfTest>),
}

impl Witness {
    async fn ask(&mut self, question: Question) -> Result<Answer, AuditError> {
        match self {
            Self::Running(connection) => connection.ask(question).await,
            Self::SelfTest(test) => Ok(test.answer(question).await),
        }
    }

    async fn crew(&mut self) -> Result<Crew, AuditError> {
        match self.ask(Question::ShowCrew).await? {
            Answer::Crew(crew) => Ok(crew),
            other => Err(no_answer(&other)),
        }
    }
}

fn no_answer(answer: &Answer) -> AuditError {
    match answer {
        Answer::Failed(why) => AuditError::Conversation(why.clone()),
        _ => AuditError::Conversation("it answered another question".to_owned()),
    }
}

async fn examine(
    witness: &mut Witness,
    plan: &RunPlan,
    roles: impl Iterator<Item = Role>,
    abilities: impl Iterator<Item = Ability> + Clone,
) -> Result<Report, AuditError> {
    let running = matches!(witness, Witness::Running(_));
    let mut report = Report { id: plan.id.to_string(), running, cells: Vec::new(), processes: Vec::new() };
    for role in roles {
        let seen = compare(witness, role).await?;
        report.processes.push(seen);
        for ability in abilities.clone() {
            report.cells.push(measure(witness, role, ability).await?);
        }
    }
    Ok(report)
}

async fn compare(witness: &mut Witness, role: Role) -> Result<Process, AuditError> {
    let crew = witness.crew().await?;
    let looked = |pid| look(pid, crew.supervisor).map_err(|source| AuditError::Look { role, pid, source });
    let (probe, held) = match witness.ask(Question::WaitInJail { role }).await? {
        Answer::Waiting { pid, held } => (looked(pid)?, held),
        other => return Err(no_answer(&other)),
    };
    let mut surprises = probe.holes();
    let mut live = None;
    if let Witness::Running(_) = witness {
        match crew.live.iter().find(|live| live.role == role) {
            Some(Live { pid, held: said, .. }) => {
                let worker = looked(*pid)?;
                surprises.extend(worker.differences(&probe));
                if said.active != held.active {
                    let (its, of_probe) = (said.names(), held.names());
                    surprises.push(format!("layers that it says hold are {its}, of the probe {of_probe}"));
                }
                live = Some(worker);
            }
            None => surprises.push("no worker is alive; run the audit again when it is".to_owned()),
        }
    }
    Ok(Process { role, layers: Layers::of(&held), probe, live, surprises })
}

async fn measure(witness: &mut Witness, role: Role, ability: Ability) -> Result<Cell, AuditError> {
    let expected = ability.expected(role);
    Ok(match witness.ask(Question::Measure { role, ability }).await? {
        Answer::Measured(tried) if !tried.is_empty() => Cell {
            role,
            ability,
            expected,
            measured: verdict(tried.iter().map(|tried| (tried.own, &tried.outcome))),
            trials: tried.iter().map(TrialReport::new).collect(),
        },
        Answer::Failed(why) => {
            let trials = vec![TrialReport::failed(format!("not measured: {why}"))];
            Cell { role, ability, expected, measured: Verdict::Unknown, trials }
        }
        other => return Err(no_answer(&other)),
    })
}

/// The admin socket of a running gateway.
struct Connection {
    answers: LinkReader<Answer>,
    questions: LinkWriter<Question>,
}

impl Connection {
    /// In the runtime directory of the gateway's folder, or of its unit.
    fn open(plan: &RunPlan, of_units: bool) -> Result<Self, AuditError> {
        let of_unit = Path::new(RUN_DIR_OF_UNITS).join(plan.id.as_str()).join(SOCKET);
        let socket = match UnixStream::connect(plan.run_dir.join(SOCKET)) {
            Err(_) if of_units => UnixStream::connect(of_unit),
            connected => connected,
        };
        let opened = socket.and_then(|socket| open(OwnedFd::from(socket)));
        let (answers, questions) = opened.map_err(|source| AuditError::Ask {
            path: plan.run_dir.join(SOCKET),
            id: plan.id.clone(),
            source,
        })?;
        Ok(Self { answers, questions })
    }

    async fn ask(&mut self, question: Question) -> Result<Answer, AuditError> {
        let asked = async {
            self.questions.write_batch(&[question]).await?;
            self.answers.read_batch().await
        };
        match timeout(ANSWER_LIMIT, asked).await {
            Ok(Ok(mut answers)) => answers.pop().ok_or_else(|| AuditError::Conversation("it said nothing".to_owned())),
            Ok(Err(error)) => Err(AuditError::Conversation(error.to_string())),
            Err(_) => Err(AuditError::Conversation("it did not answer in time".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_folder_of_the_units_is_theirs() {
        let other = tempfile::tempdir().unwrap();
        assert!(!is_of_units(other.path()));
        assert!(!is_of_units(Path::new("/nowhere")));
        assert!(!is_of_units(&Path::new(HOME_OF_UNITS).join("one")));
        assert_eq!(is_of_units(Path::new(HOME_OF_UNITS)), Path::new(HOME_OF_UNITS).is_dir());
    }
}
