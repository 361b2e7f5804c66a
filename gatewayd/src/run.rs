//! `run`: makes the plan, opens what the workers need, asks the validators, and supervises the workers until the end.

use std::{io, path::PathBuf, sync::Arc};

use ipc::Role;
use nix::sys::signal::{SigSet, SigmaskHow};
use tokio::runtime::Runtime;

use crate::{
    admin::{server::Admin, wire::SOCKET},
    audit::prober::Prober,
    config::{Config, MetricsAddress},
    console::Console,
    handover::{Handover, HandoverError, Probation, WayBack},
    launch::{
        self, Accounts, FolderError, Inherited, LaunchError, LaunchSpec, ListenError, MetricsError, PassedError,
        ResourceError, WorkerResources,
    },
    overrides::Overrides,
    path_guard::PathGuard,
    paths::{GatewayId, GatewayPaths, Root},
    plan::{self, Environment, PlanError, RunPlan},
    supervisor::{self, Ended, RunLock, RunLockError, SupervisorError, Upgrades, Workers, WorkersError},
    system_error::SystemError,
    validator::{self, AddressTaken},
    version,
};

/// Why a gateway did not run, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration, or what it names.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The gateway runs already.
    #[error(transparent)]
    Lock(#[from] RunLockError),
    /// What a service manager passes cannot be used.
    #[error(transparent)]
    Passed(#[from] PassedError),
    /// What the program that this process was before hands over cannot be used.
    #[error(transparent)]
    Handover(#[from] HandoverError),
    /// The programs of an upgrade are no good.
    #[error("{0}")]
    Undone(String),
    /// The programs of an upgrade are no good, and the old ones cannot come back.
    #[error("the upgrade has failed ({why}), and the old programs cannot be run again: {source}; restart the gateway")]
    NoWayBack {
        /// Why it has failed.
        why: String,
        /// What the operating system answered.
        source: io::Error,
    },
    /// What the workers need cannot be had.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// Another gateway announces our address.
    #[error(transparent)]
    AddressTaken(#[from] AddressTaken),
    /// The workers.
    #[error(transparent)]
    Supervisor(#[from] SupervisorError),
    /// The operating system refused a call.
    #[error(transparent)]
    System(#[from] SystemError),
}

impl RunError {
    /// Whether every further attempt fails until the operator has changed the configuration or what it names.
    pub const fn is_of_configuration(&self) -> bool {
        matches!(
            self,
            Self::Plan(_)
                | Self::Passed(_)
                | Self::Launch(LaunchError::Open(
                    ResourceError::Folder(FolderError::Foreign { .. })
                        | ResourceError::Listen(ListenError::Passed(_))
                        | ResourceError::Metrics(MetricsError::Port(ListenError::Passed(_)))
                ))
                | Self::Supervisor(SupervisorError::Workers(WorkersError::OtherKey(_)))
        )
    }
}

/// Runs gateway `id` below `root` until it is told to stop. To be called on the main thread, before there is any other.
///
/// # Errors
/// If the gateway does not come up, or does not end in order. No worker is left running then.
pub fn execute(
    id: &GatewayId,
    root: &Root,
    config_file: Option<PathBuf>,
    overrides: &Overrides,
    environment: Environment,
    console: &mut Console<'_>,
) -> Result<(), RunError> {
    // First, before their numbers could be taken for something else.
    let Given { inherited, mut way_back, start } = Given::take()?;
    let run = || {
        let guard = PathGuard::new(GatewayPaths::new(root, id).home());
        let plan = plan::prepare(id, root, guard, config_file, overrides, environment, console)?;
        console.flush();
        run(&plan, inherited?, start, &mut way_back, || {
            plan.print(console);
            console.flush();
        })
    };
    match (run(), way_back) {
        (Err(RunError::Supervisor(SupervisorError::Hurried)), _) => Err(SupervisorError::Hurried.into()),
        (Err(error), Some(way_back)) => {
            let why = error.to_string();
            let source = way_back.go(&why);
            Err(RunError::NoWayBack { why, source })
        }
        (outcome, _) => outcome,
    }
}

/// What a gateway begins with, beside its plan.
struct Start {
    /// Whether this process was another program before, and the gateway goes on.
    goes_on: bool,
    /// How upgrades stand.
    upgrades: Upgrades,
    /// Whether new clients are let in.
    newcomers: bool,
    /// How new programs are watched.
    probation: Option<Probation>,
}

/// What this process was given.
struct Given {
    inherited: Result<Inherited, PassedError>,
    way_back: Option<WayBack>,
    start: Start,
}

impl Given {
    fn take() -> Result<Self, RunError> {
        let Some(mut handover) = Handover::take()? else {
            let start = Start { goes_on: false, upgrades: Upgrades::new(None), newcomers: true, probation: None };
            return Ok(Self { inherited: Inherited::from_service_manager(), way_back: None, start });
        };
        // The program is run from a descriptor, whose number would be the name in lists of processes.
        let _ = nix::sys::prctl::set_name(c"gatewayd");
        let probation = handover.probation();
        let upgrades = Upgrades::new(Some(&handover));
        let way_back = probation.map(|_| WayBack::take(&mut handover)).transpose();
        let way_back = way_back.map_err(SystemError::during("keep the way back to the old programs"))?;
        let Handover { listeners, programs, newcomers, .. } = handover;
        // On the way back the workers are the old ones, wherever their files are.
        let programs = probation.is_none().then_some(programs);
        let inherited = Inherited::from_predecessor(listeners, programs);
        Ok(Self { inherited, way_back, start: Start { goes_on: true, upgrades, newcomers, probation } })
    }
}

/// Runs the gateway of `plan`. Calls `print` once the announced keys are known to be the gateway's own.
fn run(
    plan: &RunPlan,
    inherited: Inherited,
    start: Start,
    way_back: &mut Option<WayBack>,
    print: impl FnOnce(),
) -> Result<(), RunError> {
    // The only thread beside the main one, and the supervisor never waits for it.
    start_log_thread().map_err(SystemError::during("start the thread of the log"))?;
    tracing::info!(
        "gatewayd {} (commit {}), network version {}, client protocols of 2021 and 1 to {}",
        env!("CARGO_PKG_VERSION"),
        env!("GATEWAYD_COMMIT"),
        version::NETWORK,
        wire::CLIENT_PROTOCOL
    );
    tracing::info!("Starting nym gateway!");
    if let Some(warning) = plan.announced.warning() {
        tracing::warn!(id = "GWD-G019", "{warning}");
    }
    let accounts = Accounts::choose(plan.config.sandbox.first_account.get()).map_err(LaunchError::from)?;
    // A gateway that goes on has its data already: what somebody has put there meanwhile must not end it.
    if !start.goes_on {
        let store = *accounts.of_workers().get(Role::Store);
        launch::refuse_foreign_data(&plan.config, &plan.guard, store)
            .map_err(|error| LaunchError::Open(error.into()))?;
    }
    // The data is locked first: a gateway that is started by hand beside a unit has another runtime directory and the same data.
    let data = launch::open_data(plan, accounts)?;
    let lock = RunLock::take(&plan.run_dir, plan.id.as_str(), &plan.guard)?;
    let spec = Arc::new(LaunchSpec::build(plan.clone(), accounts, data, inherited)?);
    launch::warn_if_few(&plan.config.limits).map_err(SystemError::during("read the limit on open files"))?;
    if !start.goes_on {
        validator::refuse_if_taken(plan, accounts.of_query())?;
    }
    announce(&plan.config, &spec.resources).map_err(SystemError::during("read the address of a listener"))?;
    // One thread only: the workers die with the thread that started them.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(SystemError::during("start the supervisor's loop"))?;
    supervise(&runtime, &lock, spec, start, way_back, print)
}

/// Starts the thread of the log, which takes no signal: one that it took while this process becomes another program would be lost.
fn start_log_thread() -> io::Result<()> {
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let started = logging::write_in_background();
    before.thread_set_mask()?;
    started
}

/// Supervises the workers until the gateway ends or becomes another program.
fn supervise(
    runtime: &Runtime,
    lock: &RunLock,
    mut spec: Arc<LaunchSpec>,
    start: Start,
    way_back: &mut Option<WayBack>,
    print: impl FnOnce(),
) -> Result<(), RunError> {
    let Start { mut upgrades, mut newcomers, mut probation, .. } = start;
    let mut print = Some(print);
    loop {
        let mut workers = Workers::new(Arc::clone(&spec));
        workers.let_newcomers_in(newcomers);
        if let Some(probation) = probation.take() {
            workers.put_on_probation(probation);
        }
        let print = || {
            if let Some(print) = print.take() {
                print();
            }
        };
        let ended = runtime.block_on(async {
            let admin = open_admin_socket(lock, Prober::new(Arc::clone(&spec)));
            supervisor::supervise(workers, admin, upgrades, way_back, print).await
        })?;
        match ended {
            Ended::Stopped => return Ok(()),
            Ended::ToGoBack { why, newcomers } => {
                if let Some(way_back) = way_back {
                    way_back.newcomers = newcomers;
                }
                return Err(RunError::Undone(why));
            }
            Ended::ToUpgrade { candidate, spec: last, newcomers: admitted } => {
                let error = candidate.take_over(&last, admitted);
                let why = format!("{} cannot be run: {error}", candidate.name);
                tracing::error!(id = "GWD-G050", "the upgrade is undone, and the old programs go on: {why}");
                upgrades = Upgrades::undone(candidate.number, why);
                (spec, newcomers) = (last, admitted);
            }
        }
    }
}

/// The admin socket, if it can be opened. A gateway without one serves all the same, and cannot be asked.
fn open_admin_socket(lock: &RunLock, prober: Prober) -> Option<Admin> {
    Admin::listen(&lock.path_to(SOCKET), prober)
        .inspect_err(|error| {
            tracing::warn!(
                id = "GWD-G020", %error,
                "there is no admin socket: no command can ask this gateway"
            )
        })
        .ok()
}

/// What nym-gateway 0.10.1 logs, in its order and words.
fn announce(config: &Config, resources: &WorkerResources) -> io::Result<()> {
    let mix = resources.mix_address()?;
    tracing::info!("Starting mix packet forwarder...");
    tracing::info!("Starting clients handler");
    tracing::info!("Starting mix socket listener...");
    tracing::info!("Running mix listener on {:?}", mix.to_string());
    tracing::info!("Starting mixnet listener at {mix}");
    tracing::info!("Starting client [web]socket listener...");
    tracing::info!("Starting websocket listener at {}", resources.client_address()?);
    if let Some(http) = resources.http_address()? {
        tracing::info!("Serving the description of the gateway at {http}");
    }
    if let Some(configured) = &config.metrics.listen {
        let metrics = resources.metrics_address()?.map_or_else(|| configured.clone(), MetricsAddress::Port);
        tracing::info!("Serving metrics at {metrics}");
    }
    Ok(())
}
