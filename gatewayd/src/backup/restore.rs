//! `gatewayd restore`: makes a gateway's folder from a backup.
//!
//! *Promises*: nothing is written before all of the backup was read and found whole. The folder gets its name when its keys belong together and all
//! of it is on the medium; a folder that exists is never touched. Files and folders have the owners and modes that `init` gives them. What a restored
//! gateway must refuse is written in the backup itself, so `store` learns it from there.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use super::archive::{self, ArchiveError, CONFIG, INBOXES, KEYS, LEDGER, REPLAY};
use crate::{
    atomic::{WriteError, sync_folder_of},
    config::{self, Config, EditError, LoadError},
    console::Console,
    keys::{self, KeyFileError},
    own_command::command_for,
    path_guard::{PathError, PathGuard, hand_on},
    paths::{GatewayId, GatewayPaths, KeyPaths, Root},
};

/// Why a backup was not restored. No folder of the gateway is there then.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// There is such a gateway.
    #[error(
        "{} exists already, and is not replaced: move it away, or restore under another name with --id", .0.display()
    )]
    Exists(PathBuf),
    /// The backup cannot be opened.
    #[error("cannot open {}: {source}", path.display())]
    Open {
        /// The backup.
        path: PathBuf,
        /// What the operating system answered.
        source: io::Error,
    },
    /// The backup is not whole.
    #[error("{} cannot be restored: {source}; nothing was written: use another backup", path.display())]
    Archive {
        /// The backup.
        path: PathBuf,
        /// What is wrong.
        source: ArchiveError,
    },
    /// A folder is not safe to use with the privileges of this process.
    #[error(transparent)]
    Unsafe(#[from] PathError),
    /// A file or folder cannot be written.
    #[error("cannot write {}: {source}; nothing is left of it: check owner and free space of the folder, or choose another with --home", path.display())]
    Write {
        /// Its path.
        path: PathBuf,
        /// What the operating system answered.
        source: io::Error,
    },
    /// The folder's own folder cannot be synced.
    #[error(transparent)]
    Sync(#[from] WriteError),
    /// The configuration in the backup cannot be used.
    #[error("the configuration in the backup cannot be used: {0}")]
    Load(#[from] LoadError),
    /// The keys in the backup are damaged, or do not belong together.
    #[error("the keys in the backup cannot be used: {0}; nothing is left of it: use another backup")]
    Keys(#[from] KeyFileError),
    /// Its paths cannot be changed.
    #[error(transparent)]
    Edit(#[from] EditError),
}

impl RestoreError {
    /// Whether the folder that would be written is the reason.
    pub const fn is_of_output(&self) -> bool {
        matches!(self, Self::Exists(_) | Self::Write { .. } | Self::Sync(_))
    }
}

/// Makes gateway `id` below `root` from `file`.
///
/// # Errors
/// With what failed. Nothing is left of the folder then.
pub fn execute(id: &GatewayId, root: &Root, file: &Path, console: &mut Console<'_>) -> Result<(), RestoreError> {
    let paths = GatewayPaths::new(root, id);
    if paths.home().symlink_metadata().is_ok() {
        return Err(RestoreError::Exists(paths.home().to_owned()));
    }
    let opened = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(file);
    let mut backup = opened.map_err(|source| RestoreError::Open { path: file.to_owned(), source })?;
    let refused = |source| RestoreError::Archive { path: file.to_owned(), source };
    let manifest = archive::verify(&mut backup).map_err(refused)?;

    let folder = Unfinished::begin(&paths)?;
    archive::extract(&mut backup, &manifest, |name| folder.create(name).map_err(Failure::Here)).map_err(|failure| {
        match failure {
            Failure::Here(error) => error,
            Failure::Archive(source) => refused(source),
        }
    })?;
    folder.check_keys()?;
    folder.adapt_config(id, &paths)?;
    folder.finish(paths.home())?;
    let made = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(manifest.made.min(253_402_300_799)));
    console.line(format_args!(
        "Restored gateway {id} to {} from the backup of gateway {}, {made}.

What it means:
- Logins from before its first start are refused. Clients that log in without a
  signature register again, which they do by themselves; their mail is kept.
- Clients that registered after the backup have to register again.
- Mail that came after the backup is lost; mail that was fetched after it comes again.
- Packets that were delivered after the backup could be delivered once more, if
  somebody has recorded them and sends them again.
- Never run it beside the gateway that it was made from.

Start it with `{}`. If its address has changed, run `{}` with the new one first.",
        paths.home().display(),
        manifest.id,
        command_for("run", id),
        command_for("init", id),
    ));
    Ok(())
}

/// What may end an extraction.
enum Failure {
    Here(RestoreError),
    Archive(ArchiveError),
}

impl From<ArchiveError> for Failure {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(error)
    }
}

/// A folder beside its destination. If it is dropped before it is put in place, it is removed.
struct Unfinished {
    path: PathBuf,
}

impl Unfinished {
    fn begin(paths: &GatewayPaths) -> Result<Self, RestoreError> {
        let mut name = OsString::from(".");
        name.push(paths.home().file_name().unwrap_or_default());
        name.push(format!(".{:016x}.new", rand::random::<u64>()));
        let path = paths.home().with_file_name(name);
        let guard = PathGuard::new(&path);
        guard.check()?;
        let folder = Self { path };
        for (name, mode) in
            [("", 0o755), ("config", 0o755), ("data", 0o700), (LEDGER, 0o700), (INBOXES, 0o700), (REPLAY, 0o700)]
        {
            let path = folder.path.join(name);
            guard.make_directory(&path, mode, None).map_err(|source| RestoreError::Write { path, source })?;
        }
        Ok(folder)
    }

    /// An empty file of this name, which belongs to whom `init` would give it.
    fn create(&self, name: &str) -> Result<File, RestoreError> {
        let path = self.path.join(name);
        let mode = if name == CONFIG { config::FILE_MODE } else { 0o600 };
        let create = || {
            let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path)?;
            hand_on(&file, File::open(path.parent().unwrap_or(Path::new("/")))?)?;
            Ok(file)
        };
        create().map_err(|source| RestoreError::Write { path: path.clone(), source })
    }

    /// Checks that each public key belongs to its private key. The gateway would not start with them.
    fn check_keys(&self) -> Result<(), RestoreError> {
        let [private_identity, public_identity, private_sphinx, public_sphinx] = KEYS.map(|name| self.path.join(name));
        let paths = KeyPaths { private_identity, public_identity, private_sphinx, public_sphinx };
        let guard = PathGuard::new(&self.path);
        Ok(keys::check_pairs(&paths, &guard, &keys::load_public(&paths, &guard)?)?)
    }

    /// Has the configuration name the restored files. Everything else in it stays.
    fn adapt_config(&self, id: &GatewayId, paths: &GatewayPaths) -> Result<(), RestoreError> {
        let path = self.path.join(CONFIG);
        let loaded = Config::load(&path, paths, &PathGuard::new(&self.path))?;
        let mut config = loaded.config.clone();
        config.id = id.to_string();
        config.root = paths.root().to_owned();
        config.keys = paths.keys();
        config.clients.inboxes = paths.inboxes_dir();
        config.clients.ledger = paths.ledger();
        let text = config::update(&loaded.text, &loaded.config, &config)?;
        crate::atomic::write(&path, config::FILE_MODE, text.as_bytes())?;
        Ok(())
    }

    /// Puts the folder in place, unless there is one by now.
    fn finish(self, home: &Path) -> Result<(), RestoreError> {
        let failed = |source| RestoreError::Write { path: home.to_owned(), source };
        for name in [LEDGER, INBOXES, REPLAY, "data", "config", ""] {
            File::open(self.path.join(name)).and_then(|folder| folder.sync_all()).map_err(failed)?;
        }
        match renameat2(AT_FDCWD, &self.path, AT_FDCWD, home, RenameFlags::RENAME_NOREPLACE) {
            Ok(()) => {}
            Err(nix::Error::EEXIST) => return Err(RestoreError::Exists(home.to_owned())),
            Err(error) => return Err(failed(error.into())),
        }
        Ok(sync_folder_of(home)?)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After the rename it is gone already. After an error nothing better can be done.
        let _ = fs::remove_dir_all(&self.path);
    }
}

// The names in the archive are those of a folder that `init` makes.
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_archive_are_those_of_the_folder() {
        let root = Root::new(Some("/r".into()), None).unwrap();
        let paths = GatewayPaths::new(&root, &"demo".parse().unwrap());
        let below = |path: PathBuf| path.strip_prefix("/r/demo").unwrap().to_str().unwrap().to_owned();
        let keys = paths.keys();
        assert_eq!(keys.all().map(|path| below(path.to_owned())), KEYS.map(str::to_owned));
        let others = [paths.config_file(), paths.ledger(), paths.inboxes_dir(), paths.replay_dir()].map(below);
        assert_eq!(others, [CONFIG, LEDGER, INBOXES, REPLAY].map(str::to_owned));
    }

    #[test]
    fn keys_of_two_gateways_are_not_restored() {
        let root = tempfile::tempdir().unwrap();
        let paths =
            GatewayPaths::new(&Root::new(Some(root.path().to_owned()), None).unwrap(), &"demo".parse().unwrap());
        let folder = Unfinished::begin(&paths).unwrap();
        let [private_identity, public_identity, private_sphinx, public_sphinx] =
            KEYS.map(|name| folder.path.join(name));
        let of_one = KeyPaths { private_identity, public_identity, private_sphinx, public_sphinx };
        keys::create(&of_one).unwrap();
        folder.check_keys().unwrap();
        let other = tempfile::tempdir().unwrap();
        let in_other = |name: &str| other.path().join(name);
        let of_other = KeyPaths {
            private_identity: in_other("a"),
            public_identity: in_other("b"),
            private_sphinx: in_other("c"),
            public_sphinx: in_other("d"),
        };
        keys::create(&of_other).unwrap();
        fs::copy(&of_other.public_sphinx, &of_one.public_sphinx).unwrap();
        let refused = folder.check_keys().unwrap_err().to_string();
        assert!(refused.contains("of another gateway") && refused.contains("use another backup"), "{refused}");
        drop(folder);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0, "something is left");
    }
}
