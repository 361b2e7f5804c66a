//! What a gateway is to run with: the configuration after the flags, checked as far as it can be checked before any process starts.

mod machine_memory;
mod other_id;
mod own_places;

use std::{
    ffi::OsString,
    net::IpAddr,
    path::{Path, PathBuf},
};

use ipc::{
    jail::Layer,
    log::{DEFAULT_FILTER, LogSettings},
};

use crate::{
    config::{self, Config, LoadError, SettingInForce, Stages},
    console::Console,
    keys::{self, KeyFileError, PublicKeys},
    node::{Announced, InvalidNode},
    overrides::{InvalidFlag, Overrides},
    own_command::command_for,
    path_guard::{PathError, PathGuard},
    paths::{GatewayId, GatewayPaths, Root},
    version::{self, Fit, Incompatible},
};

pub use self::own_places::{SameFolder, SamePlace};
pub(crate) use self::{
    machine_memory::{LESS_MEMORY, allowed_memory, check_memory, check_more_memory, total_memory},
    other_id::{OWN_ID, check_id},
    own_places::{check_own_folders, check_own_places, would_clash},
};

/// The variable in which a unit names the layers of the jail that it leaves out on purpose, separated by spaces.
pub const LEFT_OUT: &str = "GATEWAYD_LAYERS_LEFT_OUT";

/// What of the environment matters to a run.
#[derive(Debug, Clone)]
pub struct Environment {
    /// systemd's `RUNTIME_DIRECTORY`.
    pub runtime_directory: Option<OsString>,
    /// systemd's `CREDENTIALS_DIRECTORY`, where private keys may be.
    pub credentials_directory: Option<PathBuf>,
    /// The value of [`LEFT_OUT`].
    pub layers_left_out: Option<OsString>,
    /// What to log, and the format of its lines.
    pub log: LogSettings,
    /// Whether the workers are to run without their jail.
    pub insecure: bool,
    /// Whether private keys will be used. If not, they need not be there.
    pub uses_private_keys: bool,
}

#[cfg(test)]
impl Environment {
    /// Of a process without any variable.
    pub(crate) fn for_tests() -> Self {
        Self {
            runtime_directory: None,
            credentials_directory: None,
            layers_left_out: None,
            log: LogSettings::default(),
            insecure: false,
            uses_private_keys: true,
        }
    }
}

/// What a plan is made from, beside the files.
#[derive(Debug, Clone)]
pub struct PlanSource {
    /// The folder of all gateways.
    pub root: Root,
    /// The configuration file, if it is not the usual one.
    pub config_file: Option<PathBuf>,
    /// The flags.
    pub overrides: Overrides,
    /// The environment.
    pub environment: Environment,
}

/// What a gateway is to run with. Paths are absolute. No private key is inside.
#[derive(Debug, Clone)]
pub struct RunPlan {
    /// The gateway's name.
    pub id: GatewayId,
    /// Opens the paths below.
    pub guard: PathGuard,
    /// The configuration file that was read.
    pub config_file: PathBuf,
    /// What the plan was made from.
    pub source: PlanSource,
    /// Every setting as it is in force, with its origin.
    pub settings: Vec<SettingInForce>,
    /// The configuration after the flags. Its private key files can be opened; they were not read.
    pub config: Config,
    /// The folder of the pid lock and the admin socket. May not exist yet.
    pub run_dir: PathBuf,
    /// The gateway's public keys.
    pub public_keys: PublicKeys,
    /// What is announced to today's network.
    pub announced: Announced,
    /// Layers of the jail that the operator leaves out on purpose. They only change how a missing layer is reported.
    pub layers_left_out: Vec<Layer>,
    /// What to log, and the format of its lines.
    pub log: LogSettings,
    /// Whether the workers are to run without their jail.
    pub insecure: bool,
}

/// Mentions `init` only if there is no file.
fn unloaded(id: &GatewayId, error: &LoadError) -> String {
    if error.is_not_found() {
        format!("Failed to load config for {id}. Are you sure you have run `init` before? (Error was: {error})")
    } else {
        error.to_string()
    }
}

/// Why there is no plan. Every further attempt fails too until the operator has changed the configuration or what it names.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// There is no configuration, or it is not one.
    #[error("{}", unloaded(id, error))]
    Load {
        /// The gateway.
        id: GatewayId,
        /// What is wrong.
        error: LoadError,
    },
    /// A folder is not safe to use with the privileges of this process.
    #[error(transparent)]
    Unsafe(#[from] PathError),
    /// A flag.
    #[error(transparent)]
    Flag(#[from] InvalidFlag),
    /// The configuration is of another version.
    #[error(transparent)]
    Version(#[from] Incompatible),
    /// The address to listen on is missing. The default is every address, which the operator has not chosen.
    #[error(
        "{}: {} is missing, so that the address to listen on is not known; the file may have been cut off: restore it from a backup or \
         from config.toml.bak-*, run `init` again, or give the address with --mix-host and --clients-host", file.display(),
        missing.join(", ")
    )]
    NoAddress {
        /// The configuration.
        file: PathBuf,
        /// What it does not have.
        missing: Vec<String>,
    },
    /// A flag of `run` names a folder that is not there.
    #[error("--{flag} {}: there is no such folder; without its data the gateway would start empty", path.display())]
    NoFolder {
        /// The flag.
        flag: &'static str,
        /// The folder.
        path: PathBuf,
    },
    /// Two listeners at one place.
    #[error(transparent)]
    SamePlace(#[from] SamePlace),
    /// Two directories that are one.
    #[error(transparent)]
    SameFolder(#[from] SameFolder),
    /// Keys.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// What would be announced to today's network.
    #[error(transparent)]
    Node(#[from] InvalidNode),
}

/// Reads the configuration of gateway `id` below `root`, applies the flags in memory, and checks the result.
///
/// # Errors
/// With what is wrong and what to do.
pub fn prepare(
    id: &GatewayId,
    root: &Root,
    guard: PathGuard,
    config_file: Option<PathBuf>,
    overrides: &Overrides,
    environment: Environment,
    console: &mut Console<'_>,
) -> Result<RunPlan, PlanError> {
    console.line(format_args!("Starting gateway {id}..."));
    let source = PlanSource { root: root.clone(), config_file, overrides: overrides.clone(), environment };
    resolve(id, guard, source)
}

/// As [`prepare`], for a command that does not run the gateway: without flags, and nothing is printed.
///
/// # Errors
/// With what is wrong and what to do.
pub fn read(
    id: &GatewayId,
    root: &Root,
    guard: PathGuard,
    config_file: Option<PathBuf>,
    environment: Environment,
) -> Result<RunPlan, PlanError> {
    resolve(id, guard, PlanSource { root: root.clone(), config_file, overrides: Overrides::default(), environment })
}

/// Makes the plan that `run` would make of `source`, and prints nothing.
///
/// # Errors
/// With what is wrong and what to do.
pub fn from_source(id: &GatewayId, guard: PathGuard, source: PlanSource) -> Result<RunPlan, PlanError> {
    resolve(id, guard, source)
}

/// Makes the plan of a running gateway again from its files, with the same flags and the same environment.
///
/// # Errors
/// With what is wrong and what to do.
pub fn read_again(running: &RunPlan) -> Result<RunPlan, PlanError> {
    resolve(&running.id, running.guard.clone(), running.source.clone())
}

fn resolve(id: &GatewayId, guard: PathGuard, source: PlanSource) -> Result<RunPlan, PlanError> {
    let PlanSource { root, config_file, overrides, environment } = &source;
    guard.check()?;
    let paths = GatewayPaths::new(root, id);
    let file = config_file.clone().unwrap_or_else(|| paths.config_file());
    let loaded = Config::load(&file, &paths, &guard).map_err(|error| PlanError::Load { id: id.clone(), error })?;
    loaded.warn_unknown();
    check_addresses(&file, loaded.absent, overrides)?;
    check_folders(overrides)?;
    let of_file = loaded.config;
    let mut config = of_file.clone();
    overrides.apply(&mut config)?;
    let with_flags = config.clone();
    log_paths_outside_home(&config);
    if let Fit::Compatible(version) = version::check(config.version.as_ref(), id.as_str())? {
        tracing::warn!(
            id = "GWD-G014",
            "The gateway has a different version than what is specified in config file! {} and {version}; \
             run `{}` to bring the file up to date",
            version::NETWORK,
            command_for("upgrade", id)
        );
    }
    if let Err(other) = check_id(&config, id) {
        tracing::warn!(id = "GWD-G053", "{other}; {OWN_ID}");
    }
    if config.clients.announce.host.is_none() {
        tracing::warn!(
            id = "GWD-G015",
            "nym-gateway 0.10.1 lost the host of the address announced to clients: announcing {}; \
             set it with `gatewayd init ... --clients-announce-host`",
            config.clients_announce()
        );
    }
    if let Some(directory) = &environment.credentials_directory {
        config.keys.prefer_credentials(directory);
    }
    let stages = Stages { text: &loaded.text, of_file: &of_file, with_flags: &with_flags, in_force: &config };
    let run_dir = paths.run_dir(environment.runtime_directory.clone());
    check_own_places(&config, &run_dir)?;
    check_own_folders(&config)?;
    let settings = config::in_force(stages).into_iter().chain(environment.settings(&run_dir)).collect();
    let public_keys = keys::load_public(&config.keys, &guard)?;
    if environment.uses_private_keys {
        keys::check_private(&config.keys, &guard)?;
    }

    Ok(RunPlan {
        id: id.clone(),
        guard,
        config_file: file,
        run_dir,
        settings,
        announced: Announced::of(&config, &public_keys)?,
        public_keys,
        config,
        layers_left_out: layers_of(environment.layers_left_out.clone()),
        log: environment.log.clone(),
        insecure: environment.insecure,
        source,
    })
}

/// An unknown name is only a warning, because the names change nothing but how a missing layer is reported.
fn layers_of(names: Option<OsString>) -> Vec<Layer> {
    let names = names.unwrap_or_default();
    let names = names.to_string_lossy();
    let layer =
        |name: &str| name.parse().inspect_err(|error| tracing::warn!(id = "GWD-G016", "{LEFT_OUT}: {error}")).ok();
    names.split_whitespace().filter_map(layer).collect()
}

/// Refuses to listen on an address that the operator has not chosen. Other missing keys are a warning.
pub(crate) fn check_addresses(file: &Path, absent: Vec<String>, overrides: &Overrides) -> Result<(), PlanError> {
    let is_chosen = |name: &str| match name {
        "[mixnet_endpoint] listening_address" => overrides.mix_host.is_some(),
        "[clients_endpoint] listening_address" => overrides.clients_host.is_some(),
        _ => true,
    };
    let missing: Vec<String> = absent.iter().filter(|name| !is_chosen(name)).cloned().collect();
    if !missing.is_empty() {
        return Err(PlanError::NoAddress { file: file.to_owned(), missing });
    }
    if !absent.is_empty() {
        tracing::warn!(
            id = "GWD-G017",
            missing = absent.join(", "),
            "config.toml lacks keys that `init` writes: defaults are used for them"
        );
    }
    Ok(())
}

/// `init` may name folders that do not exist yet. For `run` such a folder is an error: the gateway would start without its data.
pub(crate) fn check_folders(overrides: &Overrides) -> Result<(), PlanError> {
    for (flag, path) in [("inboxes", &overrides.inboxes), ("clients-ledger", &overrides.clients_ledger)] {
        if let Some(path) = path.as_ref().filter(|path| !path.is_dir()) {
            return Err(PlanError::NoFolder { flag, path: path.clone() });
        }
    }
    Ok(())
}

/// A copied folder may have a configuration that still names the paths of the original.
fn log_paths_outside_home(config: &Config) {
    let [private_identity, public_identity, private_sphinx, public_sphinx] = config.keys.all();
    for (setting, path) in [
        ("private_identity_key_file", private_identity),
        ("public_identity_key_file", public_identity),
        ("private_sphinx_key_file", private_sphinx),
        ("public_sphinx_key_file", public_sphinx),
        ("inboxes_directory", &config.clients.inboxes),
        ("ledger_path", &config.clients.ledger),
    ] {
        if !path.starts_with(&config.home) {
            tracing::warn!(
                id = "GWD-G018", setting, path = %path.display(),
                "config.toml names a path outside the gateway's own folder"
            );
        }
    }
}

impl Environment {
    /// What it says, beside the configuration.
    fn settings(&self, run_dir: &Path) -> [SettingInForce; 3] {
        let left_out = self.layers_left_out.clone().unwrap_or_default();
        let variable = SettingInForce::of_environment;
        [
            variable("RUST_LOG", &self.log.filter, self.log.filter != DEFAULT_FILTER),
            variable("RUNTIME_DIRECTORY", &run_dir.to_string_lossy(), self.runtime_directory.is_some()),
            variable(LEFT_OUT, &left_out.to_string_lossy(), self.layers_left_out.is_some()),
        ]
    }
}

impl RunPlan {
    /// Prints what 0.10.1 prints. The operator bonds the gateway with these keys, so this is to be called only when they are known to
    /// be the gateway's own.
    pub fn print(&self, console: &mut Console<'_>) {
        let Config { mix, clients, validators, .. } = &self.config;
        console.line(format_args!("Public sphinx key: {}\n", self.public_keys.sphinx_base58()));
        console.line(format_args!("Public identity key: {}\n", self.public_keys.identity_base58()));
        note_special_address(mix.listen.ip(), console);
        note_special_address(clients.listen.ip(), console);
        if !validators.is_empty() {
            console.line(format_args!("Validator REST endpoint: {}", validators.join(", ")));
        }
        console.line(format_args!("Listening for incoming sphinx packets on {}", mix.listen));
        let announced = self.config.mix_announce();
        console.line(format_args!("Announcing the following socket address for sphinx packets: {announced}"));
        console.line(format_args!("Listening for incoming clients packets on {}", clients.listen));
        let announced = self.config.clients_announce();
        console.line(format_args!("Announcing the following socket address for clients packets: {announced}"));
        console.line(format_args!("Inboxes directory is: {:?}", clients.inboxes));
        console.line(format_args!("Clients ledger is stored at: {:?}", clients.ledger));
    }
}

/// 0.10.1's note about an address that others may not reach. The space at the end of its second line is theirs.
fn note_special_address(ip: IpAddr, console: &mut Console<'_>) {
    if ip.is_loopback() || ip.is_unspecified() {
        console.line(format_args!(
            "
##### NOTE #####

You are trying to bind to {ip} - you might not be accessible to other nodes
You can ignore this warning if you're running setup on a local network\u{20}
or have set a custom 'announce-host'


"
        ));
    }
}

#[cfg(test)]
mod tests;
