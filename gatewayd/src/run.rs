//! `run`: makes the plan, opens what the workers need, asks the validators, and supervises the workers until the end.

use std::{io, path::PathBuf, sync::Arc};

use crate::{
    admin::{server::Admin, wire::SOCKET},
    audit::prober::Prober,
    config::{Config, MetricsAddress},
    console::Console,
    launch::{
        self, Accounts, LaunchError, LaunchSpec, ListenError, MetricsError, PassedError, PassedListeners,
        ResourceError, WorkerResources,
    },
    overrides::Overrides,
    path_guard::PathGuard,
    paths::{GatewayId, GatewayPaths, Root},
    plan::{self, Environment, PlanError, RunPlan},
    supervisor::{self, RunLock, RunLockError, SupervisorError, Workers, WorkersError},
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
                    ResourceError::Listen(ListenError::Passed(_))
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
    let passed = PassedListeners::take();
    let guard = PathGuard::new(GatewayPaths::new(root, id).home());
    let plan = plan::prepare(id, root, guard, config_file, overrides, environment, console)?;
    console.flush();
    run(&plan, passed?, || {
        plan.print(console);
        console.flush();
    })
}

/// Runs the gateway of `plan`. Calls `print` once the announced keys are known to be the gateway's own.
fn run(plan: &RunPlan, passed: PassedListeners, print: impl FnOnce()) -> Result<(), RunError> {
    // The only thread beside the main one, and the supervisor never waits for it.
    logging::write_in_background().map_err(SystemError::during("start the thread of the log"))?;
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
    // The data is locked first: a gateway that is started by hand beside a unit has another runtime directory and the same data.
    let data = launch::open_data(plan, accounts)?;
    let lock = RunLock::take(&plan.run_dir, plan.id.as_str(), &plan.guard)?;
    let spec = Arc::new(LaunchSpec::build(plan.clone(), accounts, data, passed)?);
    launch::warn_if_few(&plan.config.limits).map_err(SystemError::during("read the limit on open files"))?;
    validator::refuse_if_taken(plan, accounts.of_query())?;
    announce(&plan.config, &spec.resources).map_err(SystemError::during("read the address of a listener"))?;
    // One thread only: the workers die with the thread that started them.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(SystemError::during("start the supervisor's loop"))?;
    Ok(runtime.block_on(async {
        let prober = Prober::new(Arc::clone(&spec));
        supervisor::supervise(Workers::new(spec), open_admin_socket(&lock, prober), print).await
    })?)
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
