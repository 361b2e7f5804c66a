//! `gatewayd support-bundle`: what a maintainer needs to know of a gateway, and nothing that betrays anybody.
//!
//! *Trusts* the operator, who reads the bundle before it is sent: it is one text. *Promises*: no key, no address of a client, no address of a
//! peer or of this machine, no host name, no name of a user. Each part is made of what is known to be harmless; then the whole text is
//! searched once more for what is not, and that is masked. A gateway whose configuration or keys are broken has a bundle too: the part says
//! what cannot be read.
//!
//! | file | idea |
//! |---|---|
//! | [`parts`] | what the bundle holds |
//! | [`settings`] | the configuration, with the values masked of all keys that are not numbers, sizes or times |
//! | [`mask`] | the last search |

mod mask;
mod parts;
mod settings;

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use self::mask::Mask;
use crate::{
    atomic::{Staged, WriteError, sync_folder_of},
    config::{Config, LoadError},
    console::Console,
    path_guard::PathGuard,
    paths::{GatewayId, GatewayPaths, NoGateway, Root},
};

/// The mode of the file.
const MODE: u32 = 0o600;

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum SupportError {
    /// There is no such gateway.
    #[error(transparent)]
    NoGateway(#[from] NoGateway),
    /// There is such a file.
    #[error("{} exists already, and is not replaced: name another file", .0.display())]
    Exists(PathBuf),
    /// The file cannot be written.
    #[error("{0}; no bundle was written: check the folder's owner and free space, or name another file")]
    Write(#[from] WriteError),
    /// The file cannot be filled.
    #[error("cannot write {}: {source}; no bundle was written: check the free space there", path.display())]
    Fill {
        /// The file.
        path: PathBuf,
        /// What the operating system answered.
        source: io::Error,
    },
}

impl SupportError {
    /// Whether the output file is the reason.
    pub const fn is_of_output(&self) -> bool {
        !matches!(self, Self::NoGateway(_))
    }
}

/// The gateway that a bundle is about.
struct Subject<'a> {
    id: &'a GatewayId,
    root: &'a Root,
    guard: &'a PathGuard,
    config_file: PathBuf,
    /// The configuration, or why there is none.
    loaded: Result<Config, LoadError>,
    /// That of a new gateway.
    usual: Config,
}

impl<'a> Subject<'a> {
    fn look(id: &'a GatewayId, root: &'a Root, paths: &GatewayPaths, guard: &'a PathGuard) -> Self {
        let config_file = paths.config_file();
        let loaded = Config::load(&config_file, paths, guard).map(|loaded| loaded.config);
        Self { id, root, guard, config_file, loaded, usual: Config::new(id, paths) }
    }

    /// The configuration. If it cannot be used, the usual one: its files are at the usual places.
    fn config(&self) -> &Config {
        self.loaded.as_ref().unwrap_or(&self.usual)
    }
}

/// Writes the bundle of gateway `id` below `root` to `file`, or prints it.
///
/// # Errors
/// If there is no such gateway, or the file cannot be written.
pub fn execute(
    id: &GatewayId,
    root: &Root,
    file: Option<&Path>,
    console: &mut Console<'_>,
) -> Result<(), SupportError> {
    if let Some(file) = file.filter(|file| file.symlink_metadata().is_ok()) {
        return Err(SupportError::Exists(file.to_owned()));
    }
    let paths = GatewayPaths::new(root, id);
    let home = paths.home();
    if let Some(no_gateway) = NoGateway::is_so(root, id) {
        return Err(no_gateway.into());
    }
    let guard = PathGuard::for_reading(home);
    let gateway = Subject::look(id, root, &paths, &guard);
    let parts = parts::collect(&gateway);
    let list: String = parts.iter().map(|part| format!("  {}\n", part.title)).collect();
    let mut text = String::from("gatewayd support bundle\n");
    for part in &parts {
        text.push_str(&format!("\n== {}\n{}\n", part.title, part.text.trim_end()));
    }
    let text = Mask::of(&gateway).apply(&text);
    let Some(path) = file else {
        console.line(format_args!("{text}\nThe bundle above holds:\n{list}"));
        return Ok(());
    };
    let (staged, mut output) = Staged::begin(path, MODE)?;
    let filled = output.write_all(text.as_bytes()).and_then(|()| output.sync_all());
    filled.map_err(|source| SupportError::Fill { path: path.to_owned(), source })?;
    staged.create()?;
    sync_folder_of(path)?;
    console.line(format_args!("Wrote {}. Read it before you send it to anybody. It holds:\n{list}", path.display()));
    Ok(())
}
