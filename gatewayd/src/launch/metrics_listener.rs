//! The listener for programs of the operator that read metrics: a port, or a Unix socket.
//!
//! *Promises*: at a path nothing is replaced but a socket at which nobody listens any more. The socket is removed at the end. Its mode
//! lets in the gateway's account and the group of that account; the folder that it is in can keep out more.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::net::UnixListener,
    },
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use ipc::control::Grant;
use nix::{
    errno::Errno,
    fcntl::AtFlags,
    sys::stat::{FchmodatFlags, Mode, SFlag, fchmodat, fstatat},
    unistd::{UnlinkatFlags, unlinkat},
};
use socket2::{Domain, SockAddr, Socket, Type};

use super::{
    listener_settings::METRICS,
    listeners::{self, ListenError},
    passed::PassedListeners,
    predecessor::PREDECESSOR,
};
use crate::{config::MetricsAddress, path_guard::PathGuard};

/// Who may connect: the account and its group.
const MODE: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR).union(Mode::S_IRGRP).union(Mode::S_IWGRP);
/// The pause between two looks whether a predecessor still listens.
const PAUSE: Duration = Duration::from_millis(50);

/// The listener.
#[derive(Debug)]
pub(super) enum MetricsListener {
    /// At a port.
    Port(TcpListener),
    /// At a path.
    Socket(MetricsSocket),
}

/// A Unix socket, which is removed when dropped.
#[derive(Debug)]
pub(super) struct MetricsSocket {
    listener: UnixListener,
    folder: OwnedFd,
    name: PathBuf,
}

/// Why metrics cannot be served at a path.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot make the socket {} (metrics.listen in config.toml): {source}; the folder has to exist and to belong to root or to the account \
     that runs gatewayd, which has to be able to write there", path.display()
)]
pub struct MetricsSocketError {
    path: PathBuf,
    source: io::Error,
}

/// Why metrics cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// At a port.
    #[error(transparent)]
    Port(#[from] ListenError),
    /// At a path.
    #[error(transparent)]
    Socket(#[from] MetricsSocketError),
}

impl MetricsListener {
    /// Listens there. A port may be among those that a service manager has passed; a Unix socket is always made here.
    ///
    /// # Errors
    /// With the setting and what to do.
    pub(super) fn open(
        address: &MetricsAddress,
        guard: &PathGuard,
        passed: &mut PassedListeners,
    ) -> Result<Self, MetricsError> {
        Ok(match address {
            MetricsAddress::Port(address) => Self::Port(listeners::open(*address, METRICS, passed)?),
            MetricsAddress::Path(path) => {
                let failed = |source| MetricsSocketError { path: path.clone(), source };
                Self::Socket(MetricsSocket::make(path, guard).map_err(failed)?)
            }
        })
    }

    /// A further descriptor of it, for the worker that serves it.
    ///
    /// # Errors
    /// If the kernel gives none.
    pub(super) fn grant(&self) -> io::Result<(Grant, OwnedFd)> {
        Ok(match self {
            Self::Port(listener) => (Grant::MetricsPort, listener.try_clone()?.into()),
            Self::Socket(socket) => (Grant::MetricsSocket, socket.listener.try_clone()?.into()),
        })
    }

    /// The socket of a port.
    pub(super) const fn port(&self) -> Option<&TcpListener> {
        match self {
            Self::Port(listener) => Some(listener),
            Self::Socket(_) => None,
        }
    }

    /// The address of a port, with the real port.
    ///
    /// # Errors
    /// If the kernel does not tell it.
    pub(super) fn address(&self) -> io::Result<Option<SocketAddr>> {
        match self {
            Self::Port(listener) => listener.local_addr().map(Some),
            Self::Socket(_) => Ok(None),
        }
    }
}

/// Whether a socket could be made at this path. Makes none, and replaces none.
///
/// # Errors
/// With what is wrong.
pub(crate) fn look_at_metrics_socket(path: &Path, guard: &PathGuard) -> Result<(), MetricsSocketError> {
    let place = Place::of(path, guard).and_then(|place| {
        place.is_free()?;
        // Whether this account may write there.
        Ok(nix::unistd::access(&place.full(""), nix::unistd::AccessFlags::W_OK)?)
    });
    place.map_err(|source| MetricsSocketError { path: path.to_owned(), source })
}

/// Where the socket is to be: a folder that is safe, and a name in it.
struct Place {
    folder: OwnedFd,
    name: PathBuf,
}

impl Place {
    fn of(path: &Path, guard: &PathGuard) -> io::Result<Self> {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::other("this is the path of a folder"));
        };
        Ok(Self { folder: guard.open_directory(folder, None)?, name: name.into() })
    }

    /// A path to a name in the folder, which leads there even if the folder is moved.
    fn full(&self, name: impl AsRef<Path>) -> PathBuf {
        Path::new("/proc/self/fd").join(self.folder.as_raw_fd().to_string()).join(name)
    }

    /// Whether nothing is there. False for a socket at which nobody listens.
    fn is_free(&self) -> io::Result<bool> {
        let found = match fstatat(&self.folder, &self.name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => return Ok(true),
            found => found?,
        };
        if found.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFSOCK.bits() {
            return Err(io::Error::other("something else than a socket is there"));
        }
        let knocking = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // A listener whose queue is full must not hold up the start.
        knocking.set_nonblocking(true)?;
        match knocking.connect(&SockAddr::unix(self.full(&self.name))?) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Ok(()) | Err(_) => Err(io::ErrorKind::AddrInUse.into()),
        }
    }
}

impl MetricsSocket {
    fn make(path: &Path, guard: &PathGuard) -> io::Result<Self> {
        let place = Place::of(path, guard)?;
        let give_up_at = Instant::now() + PREDECESSOR;
        let is_free = loop {
            match place.is_free() {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < give_up_at => {
                    thread::sleep(PAUSE);
                }
                looked => break looked?,
            }
        };
        if !is_free {
            unlinkat(&place.folder, &place.name, UnlinkatFlags::NoRemoveDir)?;
        }
        let listener = UnixListener::bind(place.full(&place.name))?;
        listener.set_nonblocking(true)?;
        fchmodat(&place.folder, &place.name, MODE, FchmodatFlags::FollowSymlink)?;
        let Place { folder, name } = place;
        Ok(Self { listener, folder, name })
    }
}

impl Drop for MetricsSocket {
    fn drop(&mut self) {
        // A socket that stays is replaced at the next start.
        let _ = unlinkat(&self.folder, &self.name, UnlinkatFlags::NoRemoveDir);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::{fs::PermissionsExt as _, net::UnixStream},
    };

    use super::*;

    fn open(path: &Path, guard: &PathGuard) -> Result<MetricsListener, MetricsError> {
        MetricsListener::open(&MetricsAddress::Path(path.to_owned()), guard, &mut PassedListeners::none())
    }

    #[test]
    fn only_a_socket_at_which_nobody_listens_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let guard = PathGuard::new(folder.path());
        let path = folder.path().join("metrics.sock");
        drop(UnixListener::bind(&path).unwrap());
        look_at_metrics_socket(&path, &guard).unwrap();
        let listener = open(&path, &guard).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        let _client = UnixStream::connect(&path).unwrap();
        let used = look_at_metrics_socket(&path, &guard).unwrap_err().to_string();
        assert!(used.contains("in use") && used.contains("metrics.listen"), "{used}");
        assert!(listener.address().unwrap().is_none() && listener.grant().unwrap().0 == Grant::MetricsSocket);
        drop(listener);
        assert!(!path.exists());
        fs::write(&path, "precious").unwrap();
        let refused = open(&path, &guard).unwrap_err().to_string();
        assert!(refused.contains("something else than a socket"), "{refused}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn a_folder_that_is_missing_is_named_with_its_setting() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("no/metrics.sock");
        let refused = look_at_metrics_socket(&path, &PathGuard::new(folder.path())).unwrap_err().to_string();
        for part in ["no/metrics.sock", "metrics.listen in config.toml", "has to exist"] {
            assert!(refused.contains(part), "{refused}");
        }
    }
}
