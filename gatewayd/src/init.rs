//! `init`: creates a gateway's keys and configuration, or changes the configuration of an existing gateway.
//!
//! *Promises*: existing keys are kept, and so is every setting that no flag changes. The configuration is written last, so that a gateway
//! with a configuration is complete.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{
    atomic::{self, WriteError},
    config::{self, Config, EditError, LoadError, Loaded},
    console::Console,
    keys::{self, KeyFileError, Presence, PublicKeys},
    launch,
    node::{InvalidNode, check_announced},
    overrides::{InvalidFlag, Overrides},
    own_command::command_for,
    path_guard::{PathError, PathGuard},
    paths::{GatewayId, GatewayPaths, KeyPaths, Root},
    version::{self, Incompatible},
};

mod changes;
mod endpoints;

pub use endpoints::InvalidEndpoints;

/// Why a gateway could not be initialised.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// A folder is not safe to use with the privileges of this process.
    #[error(transparent)]
    Unsafe(#[from] PathError),
    /// A flag.
    #[error(transparent)]
    Flag(#[from] InvalidFlag),
    /// Addresses that cannot be used together, or not be announced.
    #[error(transparent)]
    Endpoints(#[from] InvalidEndpoints),
    /// What would be announced to today's network.
    #[error(transparent)]
    Node(#[from] InvalidNode),
    /// The existing configuration.
    #[error("cannot read the existing configuration: {0}")]
    Load(#[from] LoadError),
    /// The existing configuration is of another version.
    #[error(transparent)]
    Version(#[from] Incompatible),
    /// A folder.
    #[error("cannot create the folder {}: {error}; check its owner, or choose another place with --home", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the operating system answered.
        error: io::Error,
    },
    /// Some of the four key files do not exist.
    #[error(
        "the gateway was initialised before, but these key files are missing: {}. Restore them from a backup. To give the \
         gateway a new identity instead, move its keys and {} away and run `init` again",
        list(missing), config.display()
    )]
    MissingKeys {
        /// The files.
        missing: Vec<PathBuf>,
        /// The configuration file.
        config: PathBuf,
    },
    /// Keys.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The new text of the configuration.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// The configuration could not be saved.
    #[error("{0}; the configuration has not changed: check the folder's owner and free space")]
    Save(#[from] WriteError),
}

fn list(paths: &[PathBuf]) -> String {
    let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    paths.join(", ")
}

/// Initialises gateway `id` below `root`.
pub fn execute(id: &GatewayId, root: &Root, overrides: &Overrides, console: &mut Console<'_>) -> Result<(), InitError> {
    console.line(format_args!("Initialising gateway {id}..."));
    let paths = GatewayPaths::new(root, id);
    let guard = PathGuard::new(paths.home());
    guard.check()?;
    let existing = load_existing(id, &paths, &guard)?;
    let mut config = match &existing {
        Some(loaded) => loaded.config.clone(),
        None => Config::new(id, &paths),
    };
    if let Some(user) = existing.as_ref().and_then(|loaded| launch::user_of_data(&loaded.config, paths.home())) {
        console.line(format_args!("The gateway is running ({user}): changes take effect at its next start."));
    }
    overrides.apply(&mut config)?;
    endpoints::check(&config)?;
    settle(existing.as_ref().map(|loaded| &loaded.config), &mut config);
    check_announced(&config)?;
    let text = match &existing {
        Some(loaded) => config::update(&loaded.text, &loaded.config, &config)?,
        None => config::fresh(&config)?,
    };

    let public = keep_or_create_keys(id, &paths, &guard, &config.keys, existing.is_some(), console)?;
    create_folder(&guard, &paths.config_dir(), 0o755)?;
    let file = paths.config_file();
    atomic::write(&file, config::FILE_MODE, text.as_bytes())?;
    console.line(format_args!("Saved configuration file to {file:?}"));
    if let Some(loaded) = &existing {
        changes::print(&loaded.text, &text, console);
    }
    console.line("Gateway configuration completed.\n\n\n");
    print_bonding(&config, &public, console);
    Ok(())
}

fn load_existing(id: &GatewayId, paths: &GatewayPaths, guard: &PathGuard) -> Result<Option<Loaded>, InitError> {
    match Config::load(&paths.config_file(), paths, guard) {
        Ok(loaded) => {
            loaded.warn_unknown();
            version::check(loaded.config.version.as_ref(), id.as_str())?;
            Ok(Some(loaded))
        }
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Sets what follows from the flags.
fn settle(before: Option<&Config>, config: &mut Config) {
    config.version = Some(version::NETWORK);
    // Only a move into or out of a private network changes this setting. Otherwise the operator's choice stays.
    let private = config.is_in_private_network();
    let moved = before.is_none_or(|before| before.is_in_private_network() != private);
    if moved && config.egress.allow_private.is_some() {
        config.egress.allow_private = Some(private);
    }
}

fn keep_or_create_keys(
    id: &GatewayId,
    paths: &GatewayPaths,
    guard: &PathGuard,
    keys: &KeyPaths,
    configured: bool,
    console: &mut Console<'_>,
) -> Result<PublicKeys, InitError> {
    let missing = match keys.presence() {
        Presence::All => {
            let public = keys::load_public(keys, guard)?;
            keys::check_private(keys, guard)?;
            keys::check_pairs(keys, guard, &public)?;
            console.line(format_args!(
                "Gateway \"{id}\" was already initialised before! Config information will be overwritten (but keys will be kept)!"
            ));
            return Ok(public);
        }
        Presence::None if !configured => {
            create_folder(guard, paths.home(), 0o755)?;
            create_folder(guard, &paths.data_dir(), 0o700)?;
            let public = keys::create(keys)?;
            console.line("Saved identity and mixnet sphinx keypairs");
            return Ok(public);
        }
        Presence::None => keys.all().map(Path::to_owned).to_vec(),
        Presence::Missing(missing) => missing,
    };
    Err(InitError::MissingKeys { missing, config: paths.config_file() })
}

fn create_folder(guard: &PathGuard, path: &Path, mode: u32) -> Result<(), InitError> {
    if let Err(error) = guard.make_directory(path, mode, None) {
        return Err(InitError::Folder { path: path.to_owned(), error });
    }
    Ok(atomic::sync_folder_of(path)?)
}

fn print_bonding(config: &Config, public: &PublicKeys, console: &mut Console<'_>) {
    if config.node.enabled {
        let (identity, id) = (public.identity_base58(), &config.id);
        console.line(format_args!(
            "Public identity key: {identity}\n\n\nTo join today's network, start the gateway, and then:\n    {}           \
             shows what would keep clients or the directory away\n    {}  shows what the wallet asks for\n    \
             {} --contract-msg  signs the text that the wallet shows",
            command_for("node-check", id),
            command_for("bonding-information", id),
            command_for("sign", id)
        ));
        return;
    }
    let identity = public.identity_base58();
    let sphinx = public.sphinx_base58();
    console.line(format_args!("Public identity key: {identity}\n"));
    console.line(format_args!("Public sphinx key: {sphinx}\n"));
    console.line(format_args!(
        "
To bond your gateway you will [most likely] need to provide the following:
    Identity key: {identity}
    Sphinx key: {sphinx}
    Mix Host: {}
    Clients Host: {}
    Location: [physical location of your node's server]
    Version: {}
    ",
        config.mix_announce(),
        config.clients_announce(),
        version::NETWORK,
    ));
}

#[cfg(test)]
mod tests;
