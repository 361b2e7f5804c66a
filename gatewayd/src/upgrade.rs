//! `upgrade`: brings the configuration of an older gateway up to [`version::NETWORK`], step by step as 0.10.1 did.
//!
//! *Promises*: before a step is written, the former file is kept as `config.toml.bak-<its version>`. A backup is never replaced. Unlike
//! 0.10.1, this writes no validators, because those of 2021 are gone.

use std::{io, path::Path};

use semver::Version;

use crate::{
    atomic::{self, Staged, WriteError},
    config::{self, Config, DEFAULT_CONTRACT, EditError, LoadError, Loaded},
    console::Console,
    launch,
    path_guard::{PathError, PathGuard},
    paths::{GatewayId, GatewayPaths, Root},
    version,
};

/// The first version that wrote its version into the file.
const FIRST_WRITTEN: Version = Version::new(0, 9, 0);

/// The words of 0.10.1, if there is no file.
fn unloaded(error: &LoadError) -> String {
    if error.is_not_found() { format!("failed to load existing config file! - {error}") } else { error.to_string() }
}

/// Why a configuration could not be upgraded.
#[derive(Debug, thiserror::Error)]
pub enum UpgradeError {
    /// A folder is not safe to use with the privileges of this process.
    #[error(transparent)]
    Unsafe(#[from] PathError),
    /// There is no configuration, or it cannot be read.
    #[error("{}", unloaded(.0))]
    Load(#[from] LoadError),
    /// The file is of before 0.9.0, and `--current-version` is missing.
    #[error(
        "trying to upgrade from pre v0.9.0 without providing current system version! Give it with --current-version, \
         such as --current-version 0.8.1"
    )]
    NoVersion,
    /// `--current-version` names a version that writes its version into the file.
    #[error(
        "--current-version {0} is wrong: a configuration of 0.9.0 or later names its version, and this one does not. Give the version \
         that made the file, such as 0.8.1"
    )]
    NotBeforeFirstWritten(Version),
    /// The version is newer than ours, or so old that nothing is known about it.
    #[error(
        "Cannot perform upgrade from {0} to {ours}. Please let the developers know about this issue if you expected it to work!",
        ours = version::NETWORK
    )]
    NoPath(Version),
    /// A file of 0.9.x with a key of 0.10.0.
    #[error(
        "existing config seems to have specified mixnet contract address which was only introduced in 0.10.0! Can't perform \
         upgrade. If it was added by hand, remove the line `mixnet_contract_address` and upgrade again"
    )]
    ContractBeforeItsTime,
    /// The new text could not be made.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// The backup or the file could not be written.
    #[error("{0}; the configuration has not changed: check the folder's owner and free space")]
    Save(#[from] WriteError),
    /// There are a hundred backups of one version.
    #[error("there are too many backups of version {0} beside config.toml: move them away")]
    TooManyBackups(Version),
}

/// A version after `--current-version`: `0.8.1`, `v0.8.1` or `V0.8.1`.
pub fn parse_version(text: &str) -> Result<Version, &'static str> {
    text.strip_prefix(['v', 'V'])
        .unwrap_or(text)
        .parse()
        .map_err(|_| "not a version: valid formats include '0.8.1', 'v0.8.1' or 'V0.8.1'")
}

/// Upgrades the configuration of gateway `id` below `root`.
pub fn execute(
    id: &GatewayId,
    root: &Root,
    current: Option<Version>,
    console: &mut Console<'_>,
) -> Result<(), UpgradeError> {
    let paths = GatewayPaths::new(root, id);
    let file = paths.config_file();
    let guard = PathGuard::new(paths.home());
    guard.check()?;
    let mut loaded = Config::load(&file, &paths, &guard)?;
    loaded.warn_unknown();
    if let Some(user) = launch::user_of_data(&loaded.config, paths.home()) {
        console.line(format_args!("The gateway is running ({user}): changes take effect at its next start."));
    }
    loop {
        let from = known_version(&loaded.config, current.as_ref())?;
        if from == version::NETWORK {
            console.line("You're using the most recent version!");
            return Ok(());
        }
        let step = UpgradeStep::from(from)?;
        step.take(&mut loaded, &file, console)?;
    }
}

fn known_version(config: &Config, current: Option<&Version>) -> Result<Version, UpgradeError> {
    match (&config.version, current) {
        (Some(version), _) => Ok(version.clone()),
        (None, None) => Err(UpgradeError::NoVersion),
        (None, Some(current)) if *current >= FIRST_WRITTEN => Err(UpgradeError::NotBeforeFirstWritten(current.clone())),
        (None, Some(current)) => Ok(current.clone()),
    }
}

/// One step of an upgrade.
struct UpgradeStep {
    from: Version,
    to: Version,
}

impl UpgradeStep {
    fn from(from: Version) -> Result<Self, UpgradeError> {
        let to = match (from.major, from.minor) {
            (0, 8) => FIRST_WRITTEN,
            (0, 9) => version::NETWORK,
            (0, 10) if from < version::NETWORK => version::NETWORK,
            _ => return Err(UpgradeError::NoPath(from)),
        };
        Ok(Self { from, to })
    }

    fn take(&self, loaded: &mut Loaded, file: &Path, console: &mut Console<'_>) -> Result<(), UpgradeError> {
        let Self { from, to } = self;
        console.line(format_args!("\n==================\nTrying to upgrade gateway from {from} to {to} ..."));
        let result = self.save(loaded, file, console);
        let outcome = if result.is_ok() { "was successful!" } else { "failed!" };
        console.line(format_args!("Upgrade from {from} to {to} {outcome}\n==================\n"));
        result
    }

    fn save(&self, loaded: &mut Loaded, file: &Path, console: &mut Console<'_>) -> Result<(), UpgradeError> {
        let mut config = loaded.config.clone();
        config.version = Some(self.to.clone());
        if (self.from.major, self.from.minor) == (0, 9) {
            if config.contract.is_some() {
                return Err(UpgradeError::ContractBeforeItsTime);
            }
            console.line(format_args!("Setting mixnet contract address to {DEFAULT_CONTRACT}"));
            config.contract = Some(DEFAULT_CONTRACT.to_owned());
        }
        let text = config::update(&loaded.text, &loaded.config, &config)?;
        back_up(file, &self.from, loaded.text.as_bytes())?;
        atomic::write(file, config::FILE_MODE, text.as_bytes())?;
        loaded.text = text;
        loaded.config = config;
        Ok(())
    }
}

/// Keeps `text` as `config.toml.bak-<version>`. If that file exists, a number is added to the name.
fn back_up(file: &Path, version: &Version, text: &[u8]) -> Result<(), UpgradeError> {
    let name = |number: u32| match number {
        1 => format!("config.toml.bak-{version}"),
        more => format!("config.toml.bak-{version}-{more}"),
    };
    for number in 1..=100 {
        let backup = file.with_file_name(name(number));
        match Staged::new(&backup, config::FILE_MODE, text)?.create() {
            Ok(()) => return Ok(atomic::sync_folder_of(&backup)?),
            Err(taken) if taken.error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(UpgradeError::TooManyBackups(version.clone()))
}

#[cfg(test)]
mod tests;
