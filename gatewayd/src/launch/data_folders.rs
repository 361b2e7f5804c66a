//! The three directories that `store` works in, opened and locked before anything in them is touched.
//!
//! *Holds*: a kernel lock (`flock`) on each directory, as long as the gateway runs. *Promises*: only one gateway uses the data, wherever
//! its configuration and its runtime directory are. A second gateway changes no owner, no mode and no file, and its error names the
//! process of the first. A file system without such locks is a warning.

use std::{
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use ipc::jail::Account;
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    sys::statvfs::{FsFlags, fstatvfs},
};

use super::{
    data_content::{self, Place},
    lock_holder::{self, LockHolder},
    predecessor::{PREDECESSOR, process_exists},
};
use crate::{config::Config, path_guard::PathGuard};

/// The pause between two attempts to take a lock that a predecessor may still hold.
const PAUSE: Duration = Duration::from_millis(20);

/// The three directories.
#[derive(Debug)]
pub(crate) struct DataFolders {
    pub(super) ledger: LockedFolder,
    pub(super) inboxes: LockedFolder,
    pub(super) replay: LockedFolder,
}

/// A directory that no other gateway uses.
#[derive(Debug)]
pub(crate) enum LockedFolder {
    Locked(Flock<OwnedFd>),
    /// On a file system without locks.
    Unlocked(OwnedFd),
}

impl LockedFolder {
    /// The directory.
    pub(super) fn directory(&self) -> &OwnedFd {
        match self {
            Self::Locked(lock) => lock,
            Self::Unlocked(directory) => directory,
        }
    }
}

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It cannot be created or opened.
    #[error(
        "cannot use {} as the directory of the {what} ({setting}): {source}; {}", path.display(), remedy(source)
    )]
    Directory {
        /// What it is for.
        what: &'static str,
        /// Its path.
        path: PathBuf,
        /// The setting that names it.
        setting: &'static str,
        /// What the operating system answered.
        source: io::Error,
    },
    /// It contains something that no gateway has made.
    #[error(
        "{} ({setting}) contains {entry:?}, which is nothing of the {what} of a gateway; nothing was changed: correct the setting, or, if \
         this is the gateway's own directory, move {entry:?} out of it", path.display()
    )]
    Foreign {
        /// What it is for.
        what: &'static str,
        /// Its path.
        path: PathBuf,
        /// The setting that names it.
        setting: &'static str,
        /// The first such entry, as a path in the directory.
        entry: PathBuf,
    },
    /// Another gateway uses it.
    #[error(
        "{} is the directory of the {what} of a gateway that is already running: {holder}; stop that process first, or give \
         this gateway a directory of its own ({setting})", path.display()
    )]
    InUse {
        /// What it is for.
        what: &'static str,
        /// Its path.
        path: PathBuf,
        /// The setting that names it.
        setting: &'static str,
        /// The process of the other gateway.
        holder: LockHolder,
    },
}

fn remedy(refused: &io::Error) -> &'static str {
    if refused.kind() == io::ErrorKind::ReadOnlyFilesystem {
        "if other programs can write there, the systemd unit makes it read-only for gatewayd: add it (or, if it does not exist yet, the \
         folder above it) to ReadWritePaths= (`systemctl edit`, section [Service])"
    } else {
        "it must be a directory in which the account that runs gatewayd may write"
    }
}

/// One of the three directories, as the configuration names it.
#[derive(Clone, Copy)]
struct Folder<'a> {
    what: &'static str,
    path: &'a Path,
    setting: &'static str,
    place: Place,
}

fn folders(config: &Config) -> [Folder<'_>; 3] {
    const LEDGER: &str = "--clients-ledger, or clients_endpoint.ledger_path in config.toml";
    const INBOXES: &str = "--inboxes, or clients_endpoint.inboxes_directory in config.toml";
    let folder = |what, path, setting, place| Folder { what, path, setting, place };
    [
        folder("client ledger", &config.clients.ledger, LEDGER, Place::Ledger),
        folder("inboxes", &config.clients.inboxes, INBOXES, Place::Inboxes),
        folder("marks of packets seen", &config.replay_directory, "--home", Place::Replay),
    ]
}

impl DataFolders {
    /// Opens and locks the directories. Missing ones are created (0700) after the others are locked.
    ///
    /// # Errors
    /// With the path, the setting, and the process that uses the directory.
    pub(super) fn open(config: &Config, guard: &PathGuard, store: Option<Account>) -> Result<Self, FolderError> {
        let owner = store.map(|account| account.uid);
        let [ledger, inboxes, replay] = lock_existing(config, guard, store)?;
        let [of_ledger, of_inboxes, of_replay] = folders(config);
        let or_make = |folder: Folder<'_>, found: Option<LockedFolder>| match found {
            Some(found) => Ok(found),
            None => folder.lock(guard.make_directory(folder.path, 0o700, owner)),
        };
        Ok(Self {
            ledger: or_make(of_ledger, ledger)?,
            inboxes: or_make(of_inboxes, inboxes)?,
            replay: or_make(of_replay, replay)?,
        })
    }
}

/// Opens and locks the directories that exist: ledger, inboxes, marks.
pub(super) fn lock_existing(
    config: &Config,
    guard: &PathGuard,
    store: Option<Account>,
) -> Result<[Option<LockedFolder>; 3], FolderError> {
    let owner = store.map(|account| account.uid);
    let [ledger, inboxes, replay] = folders(config).map(|folder| match guard.open_directory(folder.path, owner) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => folder.lock(opened).map(Some),
    });
    Ok([ledger?, inboxes?, replay?])
}

impl Folder<'_> {
    /// Locks the directory. Waits for what is left of a gateway that was killed.
    fn lock(self, opened: io::Result<OwnedFd>) -> Result<LockedFolder, FolderError> {
        let Self { what, path, setting, .. } = self;
        let mut directory = opened.and_then(writable).map_err(|source| FolderError::Directory {
            what,
            path: path.to_owned(),
            setting,
            source,
        })?;
        let give_up_at = Instant::now() + PREDECESSOR;
        loop {
            match Flock::lock(directory, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(LockedFolder::Locked(lock)),
                Err((held, Errno::EWOULDBLOCK)) => {
                    directory = held;
                    let holder = lock_holder::find(&directory);
                    if holder.pid().is_some_and(process_exists) || Instant::now() >= give_up_at {
                        return Err(FolderError::InUse { what, path: path.to_owned(), setting, holder });
                    }
                    thread::sleep(PAUSE);
                }
                Err((directory, error)) => {
                    tracing::warn!(
                        id = "GWD-G004",
                        path = %path.display(), %error,
                        "the directory cannot be locked: make sure that no other gateway uses it"
                    );
                    return Ok(LockedFolder::Unlocked(directory));
                }
            }
        }
    }
}

/// Fails if the directory is on a read-only mount. Without this check a later step would fail, with an error that names no remedy.
fn writable(directory: OwnedFd) -> io::Result<OwnedFd> {
    if fstatvfs(&directory)?.flags().contains(FsFlags::ST_RDONLY) {
        return Err(Errno::EROFS.into());
    }
    Ok(directory)
}

/// Whether each directory of `config` that is `looked_at` can be used: true if it is there, false if it would be made. Nothing is locked and
/// nothing made. A directory with something that no gateway has made cannot be used.
pub(crate) fn look_at_folders(
    config: &Config,
    guard: &PathGuard,
    store: Option<Account>,
    looked_at: impl Fn(&Path) -> bool,
) -> Vec<Result<bool, FolderError>> {
    let owner = store.map(|account| account.uid);
    let look = |Folder { what, path, setting, place }| {
        let opened = guard.open_directory(path, owner).and_then(writable);
        match opened.and_then(|directory| data_content::foreign(&directory, place, store)) {
            Ok(None) => Ok(true),
            Ok(Some(entry)) => Err(FolderError::Foreign { what, path: path.to_owned(), setting, entry }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(FolderError::Directory { what, path: path.to_owned(), setting, source }),
        }
    };
    folders(config).into_iter().filter(|folder| looked_at(folder.path)).map(look).collect()
}

/// Refuses a directory with something that no gateway has made. What else is wrong with a directory is left to those who open it.
///
/// # Errors
/// [`FolderError::Foreign`], with the first such entry.
pub(crate) fn refuse_foreign_data(
    config: &Config,
    guard: &PathGuard,
    store: Option<Account>,
) -> Result<(), FolderError> {
    let mut errors = look_at_folders(config, guard, store, |_| true).into_iter().filter_map(Result::err);
    errors.find(|error| matches!(error, FolderError::Foreign { .. })).map_or(Ok(()), Err)
}

/// The process of the gateway that uses the data of `config`, if there is one and the kernel shows it. Takes no lock.
pub(crate) fn user_of_data(config: &Config, home: &Path) -> Option<LockHolder> {
    let [ledger, ..] = folders(config);
    let directory = PathGuard::for_reading(home).open_directory(ledger.path, None).ok()?;
    Some(lock_holder::find(&directory)).filter(|holder| holder.pid().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::fixtures::config;
    use std::{fs, process::Command};

    fn open(config: &Config, home: &tempfile::TempDir) -> Result<DataFolders, FolderError> {
        DataFolders::open(config, &PathGuard::new(home.path()), None)
    }

    /// Another configuration that shares one directory with the first.
    #[test]
    fn data_in_use_when_shared_names_who_has_it() {
        let (home, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = config(home.path());
        let mut second = config(copy.path());
        second.clients.inboxes = first.clients.inboxes.clone();
        let held = open(&first, &home).unwrap();
        let error = open(&second, &home).unwrap_err().to_string();
        let own = format!("process {}", std::process::id());
        for part in [&own, "already running", "account", first.clients.inboxes.to_str().unwrap(), "inboxes_directory"] {
            assert!(error.contains(part), "{error}");
        }
        assert!(!second.clients.ledger.exists() && !second.replay_directory.exists(), "something was made");
        drop(held);
        open(&second, &home).unwrap();
    }

    #[test]
    fn a_read_only_place_names_what_the_unit_lacks() {
        let error = |errno: Errno| FolderError::Directory {
            what: "inboxes",
            path: "/srv/big/inboxes".into(),
            setting: "--inboxes",
            source: io::Error::from_raw_os_error(errno as i32),
        };
        let text = error(Errno::EROFS).to_string();
        assert!(text.contains("ReadWritePaths=") && text.contains("/srv/big/inboxes"), "{text}");
        assert!(!error(Errno::EACCES).to_string().contains("ReadWritePaths="));
    }

    #[test]
    fn a_lock_when_its_holder_is_killed_is_free() {
        let home = tempfile::tempdir().unwrap();
        let config = config(home.path());
        fs::create_dir_all(&config.clients.ledger).unwrap();
        let mut holder = Command::new("flock");
        let mut holder = holder.arg("--no-fork").arg(&config.clients.ledger).args(["sleep", "600"]).spawn().unwrap();
        let until = Instant::now() + Duration::from_secs(20);
        while lock_holder::find(&fs::File::open(&config.clients.ledger).unwrap().into()).pid().is_none() {
            assert!(Instant::now() < until, "the other process takes no lock");
            thread::yield_now();
        }
        assert!(matches!(open(&config, &home), Err(FolderError::InUse { .. })));
        holder.kill().unwrap();
        holder.wait().unwrap();
        open(&config, &home).unwrap();
    }
}
