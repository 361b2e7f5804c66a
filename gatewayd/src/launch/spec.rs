//! Puts together, from a plan, all that workers and probes are started from.

use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
    sync::Arc,
    thread::available_parallelism,
};

use ipc::{
    Role,
    control::{Grant, OwnAddresses, Start, WorkerConfig},
    jail::{Account, JailSpec, LayerSettings},
    probe::Attempt,
};

use super::{
    accounts::{AccountError, Accounts},
    binaries::{self, BinaryError, Program},
    data_folders::DataFolders,
    inherited::Inherited,
    open_files, own_addresses,
    pages::FiguresPages,
    per_role::PerRole,
    resources::{ResourceError, WorkerResources},
    worker_config,
};
use crate::{plan::RunPlan, system_error::SystemError};

/// What every worker is started from.
#[derive(Debug)]
pub(crate) struct LaunchSpec {
    /// What the gateway is to run with.
    pub(crate) plan: RunPlan,
    /// The programs of the workers that run.
    pub(crate) binaries: Arc<PerRole<Option<Program>>>,
    /// The descriptors.
    pub(crate) resources: Arc<WorkerResources>,
    /// The pages of figures.
    pub(crate) pages: Arc<FiguresPages>,
    /// The configuration of each worker.
    pub(crate) configs: PerRole<WorkerConfig>,
    /// Threads per worker.
    pub(crate) threads: u16,
    /// The jails to close.
    pub(crate) jails: PerRole<JailSpec>,
}

/// Why there is nothing to start workers from.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// There are no accounts for the workers.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// A worker's program is missing.
    #[error(transparent)]
    Binary(#[from] BinaryError),
    /// A port, a key or a directory cannot be used.
    #[error(transparent)]
    Open(#[from] ResourceError),
    /// The operating system refused a call.
    #[error(transparent)]
    System(#[from] SystemError),
}

/// Opens and locks the directories of the store.
///
/// # Errors
/// If one cannot be used, or another gateway uses it.
pub(crate) fn open_data(plan: &RunPlan, accounts: Accounts) -> Result<DataFolders, LaunchError> {
    let store = *accounts.of_workers().get(Role::Store);
    Ok(DataFolders::open(&plan.config, &plan.guard, store).map_err(ResourceError::from)?)
}

impl LaunchSpec {
    /// Opens everything that `plan` names. `data` are its directories, which are open already, and `inherited` what this process was given
    /// before it began.
    ///
    /// # Errors
    /// With what is missing and what to do.
    pub(crate) fn build(
        plan: RunPlan,
        accounts: Accounts,
        data: DataFolders,
        inherited: Inherited,
    ) -> Result<Self, LaunchError> {
        let Inherited { listeners, programs } = inherited;
        let binaries = match programs {
            Some(programs) => programs,
            None => binaries::open(&plan.config.roles().collect::<Vec<_>>())?,
        };
        let resources = Arc::new(WorkerResources::open(&plan.config, &plan.guard, data, listeners)?);
        let own = own_addresses(&plan, &resources).map_err(SystemError::during("read the address of a listener"))?;
        let spec = Self {
            binaries: Arc::new(binaries),
            resources,
            pages: Arc::new(FiguresPages::make().map_err(SystemError::during("make the pages for figures"))?),
            configs: PerRole::new(|role| worker_config::for_role(&plan.config, &plan.announced, &own, role)),
            threads: available_parallelism().map_or(1, |threads| u16::try_from(threads.get()).unwrap_or(u16::MAX)),
            jails: jails(&plan, accounts, &own)?,
            plan,
        };
        if spec.plan.insecure {
            tracing::warn!(
                id = "GWD-G010",
                "--insecure-no-sandbox: the workers run WITHOUT their jail; an attacker who controls one can do everything \
                 that gatewayd's account can do. For debugging only"
            );
        } else if let Some(account) = accounts.of_workers().get(Role::Store) {
            spec.resources.give_to_store(&spec.plan, *account)?;
        }
        Ok(spec)
    }

    /// The same ports, data and programs with another configuration, which must name the same ones.
    ///
    /// # Errors
    /// If the kernel does not tell the address of a listener.
    pub(crate) fn with_plan(&self, plan: RunPlan) -> io::Result<Self> {
        let own = own_addresses(&plan, &self.resources)?;
        let jail = |role| {
            let JailSpec { supervisor, open_files, layers } = self.jails.get(role).clone();
            let layers = layers.map(|LayerSettings { account, .. }| layers_of(&plan, &own, role, account));
            JailSpec { supervisor, open_files, layers }
        };
        Ok(Self {
            binaries: Arc::clone(&self.binaries),
            resources: Arc::clone(&self.resources),
            pages: Arc::clone(&self.pages),
            configs: PerRole::new(|role| worker_config::for_role(&plan.config, &plan.announced, &own, role)),
            threads: self.threads,
            jails: PerRole::new(jail),
            plan,
        })
    }

    /// The workers to which `other` says something else.
    pub(crate) fn differing(&self, other: &Self) -> Vec<Role> {
        let differs = |role: &Role| {
            self.configs.get(*role) != other.configs.get(*role) || self.jails.get(*role) != other.jails.get(*role)
        };
        self.roles().filter(differs).collect()
    }

    /// The workers that run.
    pub(crate) fn roles(&self) -> impl Iterator<Item = Role> + use<> {
        self.plan.config.roles()
    }

    /// The account of the store, if it has one of its own.
    pub(crate) fn account_of_store(&self) -> Option<Account> {
        self.jails.get(Role::Store).layers.as_ref().and_then(|layers| layers.account)
    }

    /// The program of `role`.
    ///
    /// # Errors
    /// If the role does not run.
    pub(crate) fn program(&self, role: Role) -> io::Result<&Program> {
        self.binaries.get(role).as_ref().ok_or_else(|| io::Error::other(format!("{role} does not run in this gateway")))
    }

    /// The programs of all workers that run, by their names.
    pub(crate) fn programs(&self) -> Vec<(String, BorrowedFd<'_>)> {
        let descriptor = |role| Some((Role::name(role).to_owned(), self.binaries.get(role).as_ref()?.descriptor()?));
        Role::ALL.into_iter().filter_map(descriptor).collect()
    }

    /// Whether each worker has an account of its own.
    pub(crate) fn separates_accounts(&self) -> bool {
        let has_its_own = |role| self.jails.get(role).layers.as_ref().is_some_and(|layers| layers.account.is_some());
        Role::ALL.into_iter().all(has_its_own)
    }

    /// What `role` may read of the figures of all processes: everything, if it serves metrics.
    ///
    /// # Errors
    /// If the kernel gives no further descriptor.
    pub(crate) fn pages_to_read(&self, role: Role) -> io::Result<Vec<(Grant, OwnedFd)>> {
        let serves_metrics = role == Role::HttpApi && self.plan.config.metrics.listen.is_some();
        if serves_metrics { self.pages.grants_for_reading() } else { Ok(Vec::new()) }
    }

    /// The message that starts `role`, or a probe of it.
    pub(crate) fn start_message(&self, role: Role, grants: Vec<Grant>, probe: Option<Attempt>) -> Start {
        Start {
            grants,
            log: self.plan.log.clone(),
            threads: self.threads,
            jail: self.jails.get(role).clone(),
            config: self.configs.get(role).clone(),
            newcomers: true,
            probe,
        }
    }
}

/// The addresses of this machine, at which `mix-egress` must not reach its other services.
fn own_addresses(plan: &RunPlan, resources: &WorkerResources) -> io::Result<OwnAddresses> {
    Ok(own_addresses::find(
        &plan.config,
        resources.mix_address()?,
        resources.client_address()?,
        [resources.http_address()?, resources.metrics_address()?],
    ))
}

/// The jail that each worker is to close.
fn jails(plan: &RunPlan, accounts: Accounts, own: &OwnAddresses) -> Result<PerRole<JailSpec>, SystemError> {
    let open_files = open_files::raise().map_err(SystemError::during("raise the limit on open files"))?;
    let accounts = accounts.of_workers();
    Ok(PerRole::new(|role| JailSpec {
        supervisor: std::process::id(),
        open_files,
        layers: (!plan.insecure).then(|| layers_of(plan, own, role, *accounts.get(role))),
    }))
}

/// The layers of the jail of `role`, whose account is `account`.
fn layers_of(plan: &RunPlan, own: &OwnAddresses, role: Role, account: Option<Account>) -> LayerSettings {
    LayerSettings {
        account,
        required: plan.config.sandbox.require.clone(),
        connect_ports: match role {
            Role::MixEgress => own_addresses::ports_to_enforce(&plan.config.egress, own),
            Role::MixIngress | Role::ClientEdge | Role::Store | Role::HttpApi => Vec::new(),
        },
    }
}
