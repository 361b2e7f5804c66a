//! What the supervisor owns and lends to workers: listening sockets, key files it never reads, and three directories.
//!
//! *Holds*: open descriptors for its whole life, so that a worker started anew serves the same ports with the same keys,
//! whatever has happened to the files meanwhile. *Promises*: a worker gets exactly what [`Holdings::for_role`] says.

use std::{
    fs::File,
    io,
    net::SocketAddr,
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use ipc::{Role, control::Grant, jail::Account};
use nix::{fcntl::openat, sys::stat::Mode};

use super::{
    data_folders::{DataFolders, FolderError},
    listeners::{self, ListenError},
    ownership,
};
use crate::{
    config::Config,
    path_guard::{DIRECTORY, PathGuard},
    run::RunPlan,
};

/// Everything there is to lend.
#[derive(Debug)]
pub(super) struct Holdings {
    mix_listener: std::net::TcpListener,
    client_listener: std::net::TcpListener,
    sphinx_key: File,
    identity_key: File,
    data: DataFolders,
}

/// Why something cannot be lent.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No listener.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A key file is not there.
    #[error(
        "the {what} file {} does not exist ({key} in config.toml); put the file back from your backup or correct the \
         setting; a new gateway gets its keys from `gatewayd init`", path.display()
    )]
    KeyMissing {
        /// Which key.
        what: &'static str,
        /// Where it should be.
        path: PathBuf,
        /// The setting that says so.
        key: &'static str,
    },
    /// A key file is there and cannot be opened.
    #[error(
        "cannot open the {what} file {} ({key} in config.toml): {source}; make it readable for the account that runs \
         gatewayd (chown it, then chmod 600)", path.display()
    )]
    KeyUnreadable {
        /// Which key.
        what: &'static str,
        /// Where it is.
        path: PathBuf,
        /// The setting that says so.
        key: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// The path is that of something else.
    #[error("the {what} file {} ({key} in config.toml) is not a file; correct the setting", path.display())]
    KeyNotAFile {
        /// Which key.
        what: &'static str,
        /// Where it is.
        path: PathBuf,
        /// The setting that says so.
        key: &'static str,
    },
    /// A directory of the store.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A directory cannot be given to the account that is to work there.
    #[error(
        "cannot give {} ({key}) and what is in it to the account {uid}, which the store changes to: \
         {source}; all of it must belong to root or to the gateway's accounts, on a file system where root may give it away",
        path.display()
    )]
    NotGiven {
        /// Which.
        path: PathBuf,
        /// The setting that says so.
        key: &'static str,
        /// The account.
        uid: u32,
        /// What the operating system said.
        source: io::Error,
    },
}

impl Holdings {
    /// Opens everything that `config` names, beside the directories, which are open already.
    ///
    /// # Errors
    /// With the path, the setting and what to do.
    pub(super) fn open(config: &Config, guard: &PathGuard, data: DataFolders) -> Result<Self, OpenError> {
        let sphinx = (&config.keys.private_sphinx, "gateway.private_sphinx_key_file");
        let identity = (&config.keys.private_identity, "gateway.private_identity_key_file");
        Ok(Self {
            sphinx_key: open_key(guard, "private Sphinx key", sphinx.0, sphinx.1)?,
            identity_key: open_key(guard, "private identity key", identity.0, identity.1)?,
            data,
            mix_listener: listeners::bind(config.mix.listen, listeners::MIX)?,
            client_listener: listeners::bind(config.clients.listen, listeners::CLIENTS)?,
        })
    }

    /// Gives the directories to the account that the store changes to. `home` is the gateway's folder.
    ///
    /// # Errors
    /// If the kernel refuses, or there is something in them that is not the gateway's.
    pub(super) fn give_to_store(&self, plan: &RunPlan, account: Account) -> Result<(), OpenError> {
        let clients = &plan.config.clients;
        let home = plan.guard.open_directory(&plan.home, None);
        for (folder, path, key) in [
            (&self.data.ledger, &clients.ledger, "clients_endpoint.ledger_path in config.toml"),
            (&self.data.inboxes, &clients.inboxes, "clients_endpoint.inboxes_directory in config.toml"),
            (&self.data.replay, &plan.config.replay_directory, "of the marks of packets seen, which no setting names"),
        ] {
            let refused = |source| OpenError::NotGiven { path: path.clone(), key, uid: account.uid, source };
            let home = home.as_ref().map_err(|error| refused(io::Error::new(error.kind(), error.to_string())))?;
            ownership::give(folder.directory(), account, home, plan.guard.trusted()).map_err(refused)?;
        }
        Ok(())
    }

    /// Where mix nodes connect, with the real port.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub(super) fn mix_address(&self) -> io::Result<SocketAddr> {
        self.mix_listener.local_addr()
    }

    /// Where clients connect, with the real port.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub(super) fn client_address(&self) -> io::Result<SocketAddr> {
        self.client_listener.local_addr()
    }

    /// What `role` is lent, beside its links. This table is who may touch what.
    ///
    /// # Errors
    /// If the kernel gives no further descriptor.
    pub(super) fn for_role(&self, role: Role) -> io::Result<Vec<(Grant, OwnedFd)>> {
        Ok(match role {
            Role::MixIngress => vec![
                (Grant::MixListener, self.mix_listener.try_clone()?.into()),
                (Grant::SphinxKey, lend_key(&self.sphinx_key)?),
            ],
            Role::MixEgress => vec![],
            Role::ClientEdge => vec![(Grant::ClientListener, self.client_listener.try_clone()?.into())],
            Role::Store => vec![
                (Grant::IdentityKey, lend_key(&self.identity_key)?),
                (Grant::LedgerDirectory, lend_directory(self.data.ledger.directory())?),
                (Grant::InboxDirectory, lend_directory(self.data.inboxes.directory())?),
                (Grant::ReplayDirectory, lend_directory(self.data.replay.directory())?),
            ],
        })
    }
}

fn open_key(guard: &PathGuard, what: &'static str, path: &Path, key: &'static str) -> Result<File, OpenError> {
    let path_owned = || path.to_owned();
    let checked = guard.open_file(path).and_then(|file| file.metadata().map(|metadata| (file, metadata)));
    let (file, metadata) = checked.map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => OpenError::KeyMissing { what, path: path_owned(), key },
        _ => OpenError::KeyUnreadable { what, path: path_owned(), key, source },
    })?;
    if !metadata.is_file() {
        return Err(OpenError::KeyNotAFile { what, path: path_owned(), key });
    }
    Ok(file)
}

/// Opened anew, even where no path leads to it any more: borrowers share no position.
fn lend_key(key: &File) -> io::Result<OwnedFd> {
    Ok(File::open(format!("/proc/self/fd/{}", key.as_raw_fd()))?.into())
}

/// Opened anew, so that borrowers share no position.
fn lend_directory(directory: &OwnedFd) -> io::Result<OwnedFd> {
    Ok(openat(directory, ".", DIRECTORY, Mode::empty())?)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::paths::{GatewayId, GatewayPaths, Root};
    use std::{
        io::Read,
        os::unix::fs::{MetadataExt, PermissionsExt},
    };

    /// A configuration with keys, whose files are all below `home`.
    pub(in super::super) fn config(home: &Path) -> Config {
        let root = Root::new(Some(home.into()), None).unwrap();
        let id: GatewayId = "demo".parse().unwrap();
        let paths = GatewayPaths::new(&root, &id);
        let mut config = Config::new(&id, &paths);
        config.mix.listen = "127.0.0.1:0".parse().unwrap();
        config.clients.listen = "127.0.0.1:0".parse().unwrap();
        std::fs::create_dir_all(paths.data_dir()).unwrap();
        for (path, text) in [(&config.keys.private_sphinx, "sphinx"), (&config.keys.private_identity, "identity")] {
            std::fs::write(path, text).unwrap();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        config
    }

    /// What a gateway of this configuration lends.
    pub(in super::super) fn holdings(config: &Config) -> Result<Holdings, OpenError> {
        let guard = PathGuard::new(&config.root.join(&config.id));
        Holdings::open(config, &guard, DataFolders::open(config, &guard, None)?)
    }

    #[test]
    fn each_role_is_lent_its_own_and_no_more() {
        let home = tempfile::tempdir().unwrap();
        let holdings = holdings(&config(home.path())).unwrap();
        let lent =
            |role| -> Vec<Grant> { holdings.for_role(role).unwrap().into_iter().map(|(grant, _)| grant).collect() };
        assert_eq!(lent(Role::MixIngress), [Grant::MixListener, Grant::SphinxKey]);
        assert_eq!(lent(Role::MixEgress), []);
        assert_eq!(lent(Role::ClientEdge), [Grant::ClientListener]);
        assert_eq!(
            lent(Role::Store),
            [Grant::IdentityKey, Grant::LedgerDirectory, Grant::InboxDirectory, Grant::ReplayDirectory]
        );
    }

    #[test]
    fn a_key_is_read_from_the_beginning_by_each_borrower_and_survives_its_file() {
        let home = tempfile::tempdir().unwrap();
        let config = config(home.path());
        let holdings = holdings(&config).unwrap();
        std::fs::remove_file(&config.keys.private_sphinx).unwrap();
        for _ in 0..2 {
            let (_, key) = holdings.for_role(Role::MixIngress).unwrap().remove(1);
            let mut text = String::new();
            File::from(key).read_to_string(&mut text).unwrap();
            assert_eq!(text, "sphinx");
        }
        for (grant, path) in [(1, &config.clients.ledger), (2, &config.clients.inboxes), (3, &config.replay_directory)]
        {
            let (_, directory) = holdings.for_role(Role::Store).unwrap().remove(grant);
            assert_eq!(File::from(directory).metadata().unwrap().ino(), std::fs::metadata(path).unwrap().ino());
            assert_eq!(std::fs::metadata(path).unwrap().mode() & 0o7777, 0o700);
        }
    }

    #[test]
    fn errors_name_the_path_the_setting_and_what_to_do() {
        let home = tempfile::tempdir().unwrap();
        let good = config(home.path());
        let error = |config: &Config| holdings(config).unwrap_err().to_string();

        let mut bad = good.clone();
        bad.keys.private_identity = home.path().join("nothing");
        let text = error(&bad);
        for part in ["/nothing", "private_identity_key_file", "backup", "gatewayd init"] {
            assert!(text.contains(part), "{text}");
        }
        let not_a_directory = home.path().join("demo/data/private_sphinx.pem/x");
        bad.keys.private_identity = not_a_directory.clone();
        let text = error(&bad);
        assert!(text.contains("chmod 600") && text.contains("private_identity_key_file"), "{text}");
        bad.keys.private_identity = home.path().to_owned();
        assert!(error(&bad).contains("is not a file"), "{}", error(&bad));

        let mut bad = good.clone();
        bad.clients.ledger = not_a_directory.clone();
        assert!(error(&bad).contains("--clients-ledger") && error(&bad).contains("ledger_path"));
        let mut bad = good.clone();
        bad.clients.inboxes = not_a_directory;
        assert!(error(&bad).contains("--inboxes") && error(&bad).contains("inboxes_directory"));
    }

    #[test]
    fn a_named_pipe_in_the_place_of_a_key_does_not_hold_the_start() {
        let home = tempfile::tempdir().unwrap();
        let mut config = config(home.path());
        config.keys.private_sphinx = home.path().join("pipe");
        nix::unistd::mkfifo(&config.keys.private_sphinx, Mode::S_IRUSR).unwrap();
        assert!(matches!(holdings(&config), Err(OpenError::KeyNotAFile { .. })));
    }
}
