//! The descriptors that workers are given: listening sockets, key files that the supervisor never reads, and three directories.
//!
//! *Holds*: these descriptors, as long as the gateway runs. A worker that is started again serves the same ports with the same keys, even
//! if the files have changed meanwhile. *Promises*: a worker gets of these exactly what
//! [`WorkerResources::grants_for`] lists.

use std::{
    fs::File,
    io,
    net::SocketAddr,
    os::fd::{AsFd as _, AsRawFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use ipc::{Role, control::Grant, jail::Account};
use nix::{fcntl::openat, sys::stat::Mode};

use super::{
    data_content::Place,
    data_folders::{DataFolders, FolderError},
    listener_settings,
    listeners::{self, ListenError},
    metrics_listener::{MetricsError, MetricsListener},
    ownership,
    passed::PassedListeners,
};
use crate::{
    config::Config,
    path_guard::{DIRECTORY, PathGuard},
    plan::RunPlan,
};

/// The descriptors of all roles.
#[derive(Debug)]
pub(crate) struct WorkerResources {
    mix_listener: std::net::TcpListener,
    client_listener: std::net::TcpListener,
    /// Only if the gateway is described to today's network.
    http_listener: Option<std::net::TcpListener>,
    /// Only if metrics are served.
    metrics_listener: Option<MetricsListener>,
    sphinx_key: File,
    identity_key: File,
    data: DataFolders,
}

/// Why a descriptor cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ResourceError {
    /// A listener.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The listener for metrics.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// A key file does not exist.
    #[error(
        "the {what} file {} does not exist ({key} in config.toml); restore the file from your backup, or correct the setting; a new \
         gateway gets its keys from `gatewayd init`", path.display()
    )]
    KeyMissing {
        /// The key.
        what: &'static str,
        /// Where the file should be.
        path: PathBuf,
        /// The setting that names it.
        key: &'static str,
    },
    /// A key file exists and cannot be opened.
    #[error(
        "cannot open the {what} file {} ({key} in config.toml): {source}; make it readable for the account that runs \
         gatewayd (chown it, then chmod 600)", path.display()
    )]
    KeyUnreadable {
        /// The key.
        what: &'static str,
        /// Where the file is.
        path: PathBuf,
        /// The setting that names it.
        key: &'static str,
        /// What the operating system answered.
        source: io::Error,
    },
    /// The path leads to something other than a file.
    #[error("the {what} file {} ({key} in config.toml) is not a file; correct the setting", path.display())]
    KeyNotAFile {
        /// Which key.
        what: &'static str,
        /// Where it is.
        path: PathBuf,
        /// The setting that names it.
        key: &'static str,
    },
    /// A directory of the store.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The owner of a directory cannot be changed to the account of the store.
    #[error(
        "cannot change the owner of {} ({key}) and its content to {uid}, the account of the store: {source}; all of it must belong to \
         root or to the gateway's accounts, and the file system must let root change owners", path.display()
    )]
    NotGiven {
        /// The directory.
        path: PathBuf,
        /// The setting that names it.
        key: &'static str,
        /// The account.
        uid: u32,
        /// What the operating system answered.
        source: io::Error,
    },
}

impl WorkerResources {
    /// Opens the key files and the listeners of `config`. `data` are its directories, which are open already, and `passed` the listeners that
    /// a service manager has opened.
    ///
    /// # Errors
    /// With the path, the setting and what to do.
    pub(super) fn open(
        config: &Config,
        guard: &PathGuard,
        data: DataFolders,
        mut passed: PassedListeners,
    ) -> Result<Self, ResourceError> {
        let sphinx = (&config.keys.private_sphinx, "gateway.private_sphinx_key_file");
        let resources = Self {
            sphinx_key: open_key(guard, "private Sphinx key", sphinx.0, sphinx.1)?,
            identity_key: open_identity_key(config, guard)?,
            data,
            mix_listener: listeners::open(config.mix.listen, listener_settings::MIX, &mut passed)?,
            client_listener: listeners::open(config.clients.listen, listener_settings::CLIENTS, &mut passed)?,
            http_listener: config
                .node
                .enabled
                .then(|| listeners::open(config.node.http_bind_address, listener_settings::HTTP, &mut passed))
                .transpose()?,
            metrics_listener: config
                .metrics
                .listen
                .as_ref()
                .map(|address| MetricsListener::open(address, guard, &mut passed))
                .transpose()?,
        };
        passed.finish().map_err(ListenError::from)?;
        Ok(resources)
    }

    /// Gives the directories to the account of the store.
    ///
    /// # Errors
    /// If the kernel refuses, or a directory contains something that is not the gateway's.
    pub(super) fn give_to_store(&self, plan: &RunPlan, account: Account) -> Result<(), ResourceError> {
        let clients = &plan.config.clients;
        let home = plan.guard.open_directory(&plan.config.home, None);
        const LEDGER: &str = "clients_endpoint.ledger_path in config.toml";
        const INBOXES: &str = "clients_endpoint.inboxes_directory in config.toml";
        const REPLAY: &str = "the marks of packets seen; no setting names it";
        for (folder, place, path, key) in [
            (&self.data.ledger, Place::Ledger, &clients.ledger, LEDGER),
            (&self.data.inboxes, Place::Inboxes, &clients.inboxes, INBOXES),
            (&self.data.replay, Place::Replay, &plan.config.replay_directory, REPLAY),
        ] {
            let refused = |source| ResourceError::NotGiven { path: path.clone(), key, uid: account.uid, source };
            let home = home.as_ref().map_err(|error| refused(io::Error::new(error.kind(), error.to_string())))?;
            ownership::give(folder.directory(), place, account, home, plan.guard.trusted()).map_err(refused)?;
        }
        Ok(())
    }

    /// The address at which mix nodes connect, with the real port.
    ///
    /// # Errors
    /// If the kernel does not tell it.
    pub(crate) fn mix_address(&self) -> io::Result<SocketAddr> {
        self.mix_listener.local_addr()
    }

    /// The address at which clients connect, with the real port.
    ///
    /// # Errors
    /// If the kernel does not tell it.
    pub(crate) fn client_address(&self) -> io::Result<SocketAddr> {
        self.client_listener.local_addr()
    }

    /// The address at which the gateway's description is served, with the real port.
    ///
    /// # Errors
    /// If the kernel does not tell it.
    pub(crate) fn http_address(&self) -> io::Result<Option<SocketAddr>> {
        self.http_listener.as_ref().map(std::net::TcpListener::local_addr).transpose()
    }

    /// The port at which metrics are served, if it is one.
    ///
    /// # Errors
    /// If the kernel does not tell it.
    pub(crate) fn metrics_address(&self) -> io::Result<Option<SocketAddr>> {
        self.metrics_listener.as_ref().map_or(Ok(None), MetricsListener::address)
    }

    /// The listening sockets at ports, by their names. A Unix socket is made again instead.
    pub(crate) fn listeners(&self) -> Vec<(String, BorrowedFd<'_>)> {
        let mix = Some((listener_settings::MIX, &self.mix_listener));
        let clients = Some((listener_settings::CLIENTS, &self.client_listener));
        let http = self.http_listener.as_ref().map(|listener| (listener_settings::HTTP, listener));
        let metrics = self.metrics_listener.as_ref().and_then(MetricsListener::port);
        let metrics = metrics.map(|listener| (listener_settings::METRICS, listener));
        let all = [mix, clients, http, metrics].into_iter().flatten();
        all.map(|(setting, socket)| (setting.name.to_owned(), socket.as_fd())).collect()
    }

    /// The descriptors of `role`, beside its links and its page of figures. No worker gets access to anything else.
    ///
    /// # Errors
    /// If the kernel gives no further descriptor.
    pub(crate) fn grants_for(&self, role: Role) -> io::Result<Vec<(Grant, OwnedFd)>> {
        Ok(match role {
            Role::MixIngress => vec![
                (Grant::MixListener, self.mix_listener.try_clone()?.into()),
                (Grant::SphinxKey, reopen_key(&self.sphinx_key)?),
            ],
            Role::MixEgress => vec![],
            Role::ClientEdge => vec![(Grant::ClientListener, self.client_listener.try_clone()?.into())],
            Role::Store => vec![
                (Grant::IdentityKey, reopen_key(&self.identity_key)?),
                (Grant::LedgerDirectory, reopen_directory(self.data.ledger.directory())?),
                (Grant::InboxDirectory, reopen_directory(self.data.inboxes.directory())?),
                (Grant::ReplayDirectory, reopen_directory(self.data.replay.directory())?),
            ],
            Role::HttpApi => {
                let http = self.http_listener.as_ref();
                let http = http.map(|listener| Ok((Grant::HttpListener, listener.try_clone()?.into())));
                let metrics = self.metrics_listener.as_ref().map(MetricsListener::grant);
                http.into_iter().chain(metrics).collect::<io::Result<_>>()?
            }
        })
    }
}

/// Opens the file of the private identity key, unread.
///
/// # Errors
/// With the path, the setting and what to do.
pub(crate) fn open_identity_key(config: &Config, guard: &PathGuard) -> Result<File, ResourceError> {
    open_key(guard, "private identity key", &config.keys.private_identity, "gateway.private_identity_key_file")
}

fn open_key(guard: &PathGuard, what: &'static str, path: &Path, key: &'static str) -> Result<File, ResourceError> {
    let path_owned = || path.to_owned();
    let checked = guard.open_file(path).and_then(|file| file.metadata().map(|metadata| (file, metadata)));
    let (file, metadata) = checked.map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => ResourceError::KeyMissing { what, path: path_owned(), key },
        _ => ResourceError::KeyUnreadable { what, path: path_owned(), key, source },
    })?;
    if !metadata.is_file() {
        return Err(ResourceError::KeyNotAFile { what, path: path_owned(), key });
    }
    Ok(file)
}

/// Opens the key file again, even if no path leads to it any more. Workers must not share a file position.
fn reopen_key(key: &File) -> io::Result<OwnedFd> {
    Ok(File::open(format!("/proc/self/fd/{}", key.as_raw_fd()))?.into())
}

/// Opens the directory again, because workers must not share a file position.
fn reopen_directory(directory: &OwnedFd) -> io::Result<OwnedFd> {
    Ok(openat(directory, ".", DIRECTORY, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use super::{
        super::fixtures::{config, resources},
        *,
    };
    use std::{io::Read, os::unix::fs::MetadataExt};

    #[test]
    fn each_role_gets_its_own_and_no_more() {
        let home = tempfile::tempdir().unwrap();
        let resources = resources(&config(home.path())).unwrap();
        let granted =
            |role| -> Vec<Grant> { resources.grants_for(role).unwrap().into_iter().map(|(grant, _)| grant).collect() };
        assert_eq!(granted(Role::MixIngress), [Grant::MixListener, Grant::SphinxKey]);
        assert_eq!(granted(Role::MixEgress), []);
        assert_eq!(granted(Role::ClientEdge), [Grant::ClientListener]);
        assert_eq!(
            granted(Role::Store),
            [Grant::IdentityKey, Grant::LedgerDirectory, Grant::InboxDirectory, Grant::ReplayDirectory]
        );
        assert_eq!(granted(Role::HttpApi), []);
    }

    #[test]
    fn metrics_open_no_port_but_their_own() {
        let home = tempfile::tempdir().unwrap();
        let mut config = config(home.path());
        let granted = |config: &Config| -> Vec<Grant> {
            let resources = resources(config).unwrap();
            resources.grants_for(Role::HttpApi).unwrap().into_iter().map(|(grant, _)| grant).collect()
        };
        config.metrics.listen = "127.0.0.1:0".parse().ok();
        assert_eq!(granted(&config), [Grant::MetricsPort]);
        config.metrics.listen = home.path().join("metrics.sock").to_str().unwrap().parse().ok();
        assert_eq!(granted(&config), [Grant::MetricsSocket]);
        config.node.enabled = true;
        config.node.http_bind_address = "127.0.0.1:0".parse().unwrap();
        assert_eq!(granted(&config), [Grant::HttpListener, Grant::MetricsSocket]);
    }

    #[test]
    fn each_worker_reads_a_key_from_its_beginning() {
        let home = tempfile::tempdir().unwrap();
        let config = config(home.path());
        let resources = resources(&config).unwrap();
        std::fs::remove_file(&config.keys.private_sphinx).unwrap();
        for _ in 0..2 {
            let (_, key) = resources.grants_for(Role::MixIngress).unwrap().remove(1);
            let mut text = String::new();
            File::from(key).read_to_string(&mut text).unwrap();
            assert_eq!(text, "sphinx");
        }
        for (grant, path) in [(1, &config.clients.ledger), (2, &config.clients.inboxes), (3, &config.replay_directory)]
        {
            let (_, directory) = resources.grants_for(Role::Store).unwrap().remove(grant);
            assert_eq!(File::from(directory).metadata().unwrap().ino(), std::fs::metadata(path).unwrap().ino());
            assert_eq!(std::fs::metadata(path).unwrap().mode() & 0o7777, 0o700);
        }
    }

    #[test]
    fn errors_name_the_path_the_setting_and_what_to_do() {
        let home = tempfile::tempdir().unwrap();
        let good = config(home.path());
        let error = |config: &Config| resources(config).unwrap_err().to_string();

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
        assert!(matches!(resources(&config), Err(ResourceError::KeyNotAFile { .. })));
    }
}
