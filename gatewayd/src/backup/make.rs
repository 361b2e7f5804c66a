//! `gatewayd backup`: the configuration file and the keys that the gateway runs with, and ledger, mail and marks as the running `store` writes
//! them.
//!
//! *Promises*: FILE gets its name when all of it is on the medium; until then, and after any failure, there is none. It is for its
//! owner only. An existing FILE is never replaced.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use ipc::backup::{self, PartFolder, Piece};

use super::{
    archive::{ArchiveWriter, CONFIG, INBOXES, KEYS, LEDGER, REPLAY},
    output::Output,
};
use crate::{
    admin::client::{AdminError, borrow_backup},
    atomic::{WriteError, sync_folder_of},
    audit,
    config::Origin,
    console::Console,
    keys::{self, KeyFileError},
    path_guard::PathGuard,
    paths::{GatewayId, GatewayPaths, Root},
    plan::{self, Environment, PlanError, RunPlan},
    steer::config::{Compared, ConfigError, compare_with_file},
};

/// `store` writes something more often than this, unless its disk hangs.
const SILENCE: Duration = Duration::from_secs(120);

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The gateway's configuration or keys cannot be used.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The running gateway cannot be asked.
    #[error(
        "{0}; a gateway that does not run can be copied as a folder, see \"Back up, move and restore\" in the manual"
    )]
    Ask(#[from] AdminError),
    /// The key files do not belong together, so that no gateway would start with them.
    #[error("{0}; no backup was made")]
    Keys(#[from] KeyFileError),
    /// The file of the configuration cannot be compared with what is in force.
    #[error("{0}; no backup was made")]
    Compare(#[source] ConfigError),
    /// The file of the configuration is not what the gateway runs with.
    #[error("{file} has been changed since the gateway read it, in {keys}; no backup was made: {remedy}")]
    Edited {
        /// The file.
        file: String,
        /// What is not as in force.
        keys: String,
        /// What to do.
        remedy: String,
    },
    /// There is such a file.
    #[error("{} exists already, and is not replaced: name another file", .0.display())]
    Exists(PathBuf),
    /// The file cannot be created.
    #[error("{0}; no backup was made: check the folder's owner and free space, or name another file")]
    Create(#[from] WriteError),
    /// The file cannot be written.
    #[error("cannot write {}: {source}; no backup was made: check the free space there, or name another file", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system answered.
        source: io::Error,
    },
    /// The configuration or a key cannot be read.
    #[error("cannot read {}: {source}; no backup was made: run the command as root, or as the account that runs the gateway", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system answered.
        source: io::Error,
    },
    /// `store` has ended the stream.
    #[error("the gateway's store wrote no whole backup: {0}; no backup was made: see the gateway's log, and try again")]
    Store(String),
}

impl BackupError {
    /// Whether the output file is the reason.
    pub const fn is_of_output(&self) -> bool {
        matches!(self, Self::Exists(_) | Self::Create(_) | Self::Write { .. })
    }
}

/// Backs gateway `id` below `root` up to `file`.
///
/// # Errors
/// With what failed. There is no file then.
pub fn execute(
    id: &GatewayId,
    root: &Root,
    file: &Path,
    environment: Environment,
    console: &mut Console<'_>,
) -> Result<(), BackupError> {
    if file.symlink_metadata().is_ok() {
        return Err(BackupError::Exists(file.to_owned()));
    }
    let compared = compare_with_file(id, root).map_err(|error| match error {
        ConfigError::Running(error) => BackupError::Ask(error),
        other => BackupError::Compare(other),
    })?;
    let flags = flags_in_force(id, &compared)?;
    let guard = PathGuard::for_reading(GatewayPaths::new(root, id).home());
    let config = Some(PathBuf::from(&compared.file));
    let plan = plan::read(id, root, guard, config, audit::with_credentials_of_unit(id, root, environment))?;
    keys::check_pairs(&plan.config.keys, &plan.guard, &plan.public_keys)?;
    // Asked first: without a gateway no file is begun. It waits for us to read.
    let socket = borrow_backup(id, root)?;
    let (named, output) = Output::begin(file)?;
    let bytes = write(&plan, socket, output, file)?;
    named.create()?;
    sync_folder_of(file)?;
    console.line(format_args!(
        "Backed gateway {id} up to {} ({bytes} bytes). It has the private keys: keep it where nobody else can read it.",
        file.display()
    ));
    if !flags.is_empty() {
        console
            .line(format_args!("Not in it, because flags of `run` or the environment say so: {}.", flags.join(", ")));
    }
    Ok(())
}

/// The settings that are in force for this run only.
///
/// # Errors
/// If the file has been edited and not taken over: then nobody has shown yet that a gateway starts with it.
fn flags_in_force(id: &GatewayId, compared: &Compared) -> Result<Vec<String>, BackupError> {
    let is_of_run = |origin| matches!(origin, Origin::Flag | Origin::Environment);
    let (of_run, edited): (Vec<_>, Vec<_>) = compared.differences.iter().partition(|one| is_of_run(one.origin));
    let Some(taken_over) = edited.iter().map(|one| one.taken_over).max() else {
        return Ok(of_run.into_iter().map(|one| one.name()).collect());
    };
    let keys: Vec<_> = edited.into_iter().map(|one| one.name()).collect();
    Err(BackupError::Edited { file: compared.file.clone(), keys: keys.join(", "), remedy: taken_over.remedy(id) })
}

fn write(plan: &RunPlan, mut socket: UnixStream, output: File, path: &Path) -> Result<u64, BackupError> {
    let failed = |source| BackupError::Write { path: path.to_owned(), source };
    let made = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut archive = ArchiveWriter::begin(output, plan.id.as_str(), made);
    let keys = plan.config.keys.all();
    let files = [(CONFIG, plan.config_file.as_path())].into_iter().chain(KEYS.into_iter().zip(keys));
    for (name, path) in files {
        let content = read(&plan.guard, path).map_err(|source| BackupError::Read { path: path.to_owned(), source })?;
        archive.add(name, |out| out.write_all(&content)).map_err(failed)?;
    }
    socket.set_read_timeout(Some(SILENCE)).map_err(|error| BackupError::Store(error.to_string()))?;
    let mut next = next_piece(&mut socket)?;
    while let Piece::Part { folder, name } = next {
        let folder = match folder {
            PartFolder::Ledger => LEDGER,
            PartFolder::Inboxes => INBOXES,
            PartFolder::Replay => REPLAY,
        };
        // An error of the file is told apart from one of the socket by where it happens.
        let copied = archive.add(&format!("{folder}/{name}"), |out| -> Result<_, io::Error> {
            loop {
                match next_piece(&mut socket) {
                    Ok(Piece::Bytes(bytes)) => out.write_all(&bytes)?,
                    other => return Ok(other),
                }
            }
        });
        next = copied.map_err(failed)??;
    }
    match next {
        Piece::Whole => archive.finish().map_err(failed),
        Piece::Failed(why) => Err(BackupError::Store(why)),
        Piece::Part { .. } | Piece::Bytes(_) => Err(BackupError::Store("it sent bytes of no file".to_owned())),
    }
}

fn next_piece(socket: &mut UnixStream) -> Result<Piece, BackupError> {
    backup::read(socket).map_err(|error| {
        BackupError::Store(match error.kind() {
            io::ErrorKind::UnexpectedEof => "it has ended, or makes another backup just now".to_owned(),
            io::ErrorKind::WouldBlock => format!("it sent nothing for {} s", SILENCE.as_secs()),
            _ => error.to_string(),
        })
    })
}

/// A file of the gateway, which is small.
fn read(guard: &PathGuard, path: &Path) -> io::Result<zeroize::Zeroizing<Vec<u8>>> {
    const MOST: u64 = 1024 * 1024;
    let mut content = zeroize::Zeroizing::new(Vec::new());
    guard.open_file(path)?.take(MOST + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MOST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than any such file"));
    }
    Ok(content)
}
