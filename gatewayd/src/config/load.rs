//! Reads a configuration file.

use std::path::Path;

use super::{
    error::{LoadError, ParseError, UnknownKey},
    file,
    settings::{Config, DEFAULT_CONTRACT},
};
use crate::{
    path_guard::PathGuard,
    paths::{GatewayId, GatewayPaths},
    version::{self, Incompatible},
};

/// A configuration file that was read.
#[derive(Debug)]
pub struct Loaded {
    /// The text, for [`update`].
    pub text: String,
    /// The configuration.
    pub config: Config,
    /// Keys that are ignored.
    pub unknown: Vec<UnknownKey>,
    /// Keys that every file should have and this one does not, as `[section] key`.
    pub absent: Vec<String>,
}

impl Loaded {
    /// Logs a warning for each ignored key.
    pub fn warn_unknown(&self) {
        for unknown in &self.unknown {
            tracing::warn!(id = "GWD-G002", "config.toml {unknown}");
        }
    }
}

impl Config {
    /// Reads the file at `path`. Missing paths come from `paths`.
    pub fn load(path: &Path, paths: &GatewayPaths, guard: &PathGuard) -> Result<Loaded, LoadError> {
        let text = guard
            .open_file(path)
            .and_then(file::read)
            .map_err(|error| LoadError::Read { path: path.to_owned(), error })?;
        if let Some(version) = file::version_of(&text).filter(version::is_later) {
            return Err(LoadError::Later(Incompatible::Later(version, paths.id())));
        }
        match Self::parse(&text, paths) {
            Ok((config, unknown)) => {
                let absent = file::absent(&text);
                Ok(Loaded { text, config, unknown, absent })
            }
            Err(errors) => Err(LoadError::Parse { path: path.to_owned(), errors }),
        }
    }

    /// Parses the text of a file. Missing paths come from `paths`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(text: &str, paths: &GatewayPaths) -> Result<(Self, Vec<UnknownKey>), Vec<ParseError>> {
        let (file, unknown) = file::parse(text)?;
        let mut errors = file.too_short(text);
        errors.extend(file.contradictions(text));
        if errors.is_empty() { Ok((file.resolve(paths), unknown)) } else { Err(errors) }
    }

    /// The configuration of a new gateway, before any flag.
    pub fn new(id: &GatewayId, paths: &GatewayPaths) -> Self {
        let mut config = file::ConfigFile::default().resolve(paths);
        config.version = Some(version::NETWORK);
        config.id = id.to_string();
        config.contract = Some(DEFAULT_CONTRACT.to_owned());
        config.egress.allow_private = Some(false);
        config
    }
}
