//! `run`: everything before the first process starts. Reads the configuration, applies the flags in memory, checks what
//! can be checked, prints what 0.10.1 prints, and hands a [`RunPlan`] to the supervisor.

use std::{
    ffi::OsString,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use ipc::{jail::Layer, log::LogSettings};

use crate::{
    config::{Config, LoadError},
    console::Console,
    keys::{self, KeyError, PublicKeys},
    overrides::{InvalidFlag, Overrides},
    path_guard::{PathError, PathGuard},
    paths::{GatewayId, GatewayPaths, KeyPaths, Root},
    supervisor::{self, CrewError, SupervisorError},
    version::{self, Fit, Incompatible},
};

/// The variable in which a unit names the layers of the jail that it leaves out on purpose, with spaces in between.
pub const LEFT_OUT: &str = "GATEWAYD_LAYERS_LEFT_OUT";

/// What of the environment matters to a run.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// systemd's `RUNTIME_DIRECTORY`.
    pub runtime_directory: Option<OsString>,
    /// systemd's `CREDENTIALS_DIRECTORY`, where private keys may be.
    pub credentials_directory: Option<PathBuf>,
    /// [`LEFT_OUT`].
    pub layers_left_out: Option<OsString>,
    /// What to log, and what lines look like.
    pub log: LogSettings,
    /// Whether the workers are to run without their jail.
    pub insecure: bool,
}

/// All a supervisor needs to know. Paths are absolute; no key is inside.
#[derive(Debug, Clone)]
pub struct RunPlan {
    /// The gateway's name.
    pub id: GatewayId,
    /// The gateway's folder.
    pub home: PathBuf,
    /// Opens the paths below.
    pub guard: PathGuard,
    /// The configuration file that was read.
    pub config_file: PathBuf,
    /// Where the pid lock and the admin socket go. May not exist yet.
    pub run_dir: PathBuf,
    /// Where to bind for Sphinx packets. `::` is meant for both families.
    pub mix_listen: SocketAddr,
    /// Where to bind for clients. `::` is meant for both families.
    pub clients_listen: SocketAddr,
    /// What mix nodes are told: `host:port`.
    pub mix_announce: String,
    /// What clients are told: a websocket URL.
    pub clients_announce: String,
    /// The key files. The private ones can be opened; they were not read.
    pub keys: KeyPaths,
    /// The gateway's public keys.
    pub public_keys: PublicKeys,
    /// The folder of the inboxes. May not exist yet.
    pub inboxes_dir: PathBuf,
    /// The client ledger. May not exist yet.
    pub ledger_path: PathBuf,
    /// Validators to ask before the start; none, nothing is asked.
    pub validators: Vec<String>,
    /// The contract to ask them about.
    pub contract: String,
    /// Whether packets may be sent to private addresses.
    pub allow_private: bool,
    /// The configuration after the flags, for its tuning sections.
    pub config: Config,
    /// Layers of the jail that whoever starts the gateway leaves out on purpose. Nothing is left out because of it.
    pub layers_left_out: Vec<Layer>,
    /// What to log, and what lines look like.
    pub log: LogSettings,
    /// Whether the workers are to run without their jail.
    pub insecure: bool,
}

/// Asks about `init` only where there is no file.
fn unloaded(id: &GatewayId, error: &LoadError) -> String {
    if error.is_not_found() {
        format!("Failed to load config for {id}. Are you sure you have run `init` before? (Error was: {error})")
    } else {
        error.to_string()
    }
}

/// Why a gateway did not run, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
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
    /// A port that nobody chose would be opened to the world.
    #[error(
        "{}: {} is missing, and so the address to listen on is not known; the file may have been cut off: restore it from a backup \
         or from config.toml.bak-*, run `init` again, or name the address with --mix-host and --clients-host", file.display(),
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
    /// Keys.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The supervisor.
    #[error(transparent)]
    Supervisor(#[from] SupervisorError),
}

impl RunError {
    /// Whether another attempt fails as well until somebody has changed the configuration or what it names.
    pub const fn is_of_configuration(&self) -> bool {
        match self {
            Self::Supervisor(SupervisorError::Crew(CrewError::OtherKey(_))) => true,
            Self::Supervisor(_) => false,
            _ => true,
        }
    }
}

/// Runs gateway `id` below `root` until it is told to stop.
pub fn execute(
    id: &GatewayId,
    root: &Root,
    config_file: Option<PathBuf>,
    overrides: &Overrides,
    surroundings: Surroundings,
    console: &mut Console<'_>,
) -> Result<(), RunError> {
    let guard = PathGuard::new(GatewayPaths::new(root, id).home());
    let plan = prepare(id, root, guard, config_file, overrides, surroundings, console)?;
    console.flush();
    Ok(supervisor::run(plan, |plan| {
        print(plan, console);
        console.flush();
    })?)
}

/// Everything up to the supervisor.
pub fn prepare(
    id: &GatewayId,
    root: &Root,
    guard: PathGuard,
    config_file: Option<PathBuf>,
    overrides: &Overrides,
    surroundings: Surroundings,
    console: &mut Console<'_>,
) -> Result<RunPlan, RunError> {
    console.line(format_args!("Starting gateway {id}..."));
    guard.check()?;
    let paths = GatewayPaths::new(root, id);
    let file = config_file.unwrap_or_else(|| paths.config_file());
    let loaded = Config::load(&file, &paths, &guard).map_err(|error| RunError::Load { id: id.clone(), error })?;
    loaded.warn_unknown();
    check_addresses(&file, loaded.absent, overrides)?;
    check_folders(overrides)?;
    let mut config = loaded.config;
    overrides.apply(&mut config)?;
    tell_of_places_elsewhere(&config);
    if let Fit::Compatible(version) = version::check(config.version.as_ref(), id.as_str())? {
        tracing::warn!(
            "The gateway has a different version than what is specified in config file! {} and {version}; \
             run `gatewayd upgrade --id {id}` to bring the file up to date",
            version::NETWORK
        );
    }
    if config.clients.announce.host.is_none() {
        tracing::warn!(
            "nym-gateway 0.10.1 lost the host of the address announced to clients: announcing {}; \
             set it with `gatewayd init ... --clients-announce-host`",
            config.clients_announce()
        );
    }
    if let Some(directory) = &surroundings.credentials_directory {
        config.keys.prefer_credentials(directory);
    }
    let public_keys = keys::load_public(&config.keys, &guard)?;
    keys::check_private(&config.keys, &guard)?;

    Ok(RunPlan {
        id: id.clone(),
        home: paths.home().to_owned(),
        guard,
        config_file: file,
        run_dir: paths.run_dir(surroundings.runtime_directory),
        mix_listen: config.mix.listen,
        clients_listen: config.clients.listen,
        mix_announce: config.mix_announce(),
        clients_announce: config.clients_announce(),
        keys: config.keys.clone(),
        public_keys,
        inboxes_dir: config.clients.inboxes.clone(),
        ledger_path: config.clients.ledger.clone(),
        validators: config.validators.clone(),
        contract: config.contract.clone().unwrap_or_default(),
        allow_private: config.allow_private(),
        config,
        layers_left_out: layers_of(surroundings.layers_left_out),
        log: surroundings.log,
        insecure: surroundings.insecure,
    })
}

/// A name that is no layer's is a warning: all it changes is what is said of a layer that is missing.
fn layers_of(names: Option<OsString>) -> Vec<Layer> {
    let names = names.unwrap_or_default();
    let names = names.to_string_lossy();
    let layer = |name: &str| name.parse().inspect_err(|error| tracing::warn!("{LEFT_OUT}: {error}")).ok();
    names.split_whitespace().filter_map(layer).collect()
}

/// What is missing is named; an address that nobody has chosen is not listened on.
fn check_addresses(file: &Path, absent: Vec<String>, overrides: &Overrides) -> Result<(), RunError> {
    let is_chosen = |name: &str| match name {
        "[mixnet_endpoint] listening_address" => overrides.mix_host.is_some(),
        "[clients_endpoint] listening_address" => overrides.clients_host.is_some(),
        _ => true,
    };
    let missing: Vec<String> = absent.iter().filter(|name| !is_chosen(name)).cloned().collect();
    if !missing.is_empty() {
        return Err(RunError::NoAddress { file: file.to_owned(), missing });
    }
    if !absent.is_empty() {
        tracing::warn!(
            missing = absent.join(", "),
            "config.toml lacks keys that `init` writes: defaults take their place"
        );
    }
    Ok(())
}

/// `init` may name folders that are still to be made; `run` goes on with what is there.
fn check_folders(overrides: &Overrides) -> Result<(), RunError> {
    for (flag, path) in [("inboxes", &overrides.inboxes), ("clients-ledger", &overrides.clients_ledger)] {
        if let Some(path) = path.as_ref().filter(|path| !path.is_dir()) {
            return Err(RunError::NoFolder { flag, path: path.clone() });
        }
    }
    Ok(())
}

/// A folder that was copied together with its configuration may still name the places of the old one.
fn tell_of_places_elsewhere(config: &Config) {
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
            tracing::warn!(setting, path = %path.display(), "config.toml names a place outside the gateway's own folder");
        }
    }
}

/// What 0.10.1 prints. The keys are for bonding, so this waits until it is known that they are the gateway's own.
fn print(plan: &RunPlan, console: &mut Console<'_>) {
    let RunPlan {
        public_keys,
        mix_listen,
        mix_announce,
        clients_listen,
        clients_announce,
        inboxes_dir,
        ledger_path,
        ..
    } = plan;
    console.line(format_args!("Public sphinx key: {}\n", public_keys.sphinx_base58()));
    console.line(format_args!("Public identity key: {}\n", public_keys.identity_base58()));
    note_special_address(mix_listen.ip(), console);
    note_special_address(clients_listen.ip(), console);
    if !plan.validators.is_empty() {
        console.line(format_args!("Validator REST endpoint: {}", plan.validators.join(", ")));
    }
    console.line(format_args!("Listening for incoming sphinx packets on {mix_listen}"));
    console.line(format_args!("Announcing the following socket address for sphinx packets: {mix_announce}"));
    console.line(format_args!("Listening for incoming clients packets on {clients_listen}"));
    console.line(format_args!("Announcing the following socket address for clients packets: {clients_announce}"));
    console.line(format_args!("Inboxes directory is: {inboxes_dir:?}"));
    console.line(format_args!("Clients ledger is stored at: {ledger_path:?}"));
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
