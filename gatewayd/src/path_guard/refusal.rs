//! Why a path is refused, and what the operator can do about it.

use std::{
    io,
    path::{Path, PathBuf},
};

use nix::unistd::{Uid, User};

/// A path that a privileged process refuses.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    /// Its owner could put something else in its place.
    #[error(
        "{} belongs to {}, which could use a gateway that is started with root's privileges to attack this machine; start the gateway as \
         that account ({}), or give the gateway's folder to root (chown -R root:root {})",
        path.display(), name_of(*owner), start_as(*owner), home.display()
    )]
    Owner {
        /// The folder or file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// The gateway's folder.
        home: PathBuf,
    },
    /// Others could put something else into it, or write something else there.
    #[error(
        "other accounts may write to {} (mode {mode:o}), and could use a gateway that is started with root's privileges to attack this \
         machine; remove that right (chmod go-w {})", path.display(), path.display()
    )]
    Writable {
        /// The folder or file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is a link.
    #[error(
        "{} is a symbolic link, which is not followed with root's privileges; write the real path into config.toml, or replace the link by \
         its target", path.display()
    )]
    Link {
        /// The link.
        path: PathBuf,
    },
    /// The file has another name, which may be outside of the gateway's folder.
    #[error(
        "{} has a second name (a hard link), so that it may be a file of another account; copy it, and move the copy into its place",
        path.display()
    )]
    SecondName {
        /// The file.
        path: PathBuf,
    },
    /// It is no regular file.
    #[error("{} is not a regular file; move it away", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot open {}: {source}", path.display())]
    System {
        /// The path.
        path: PathBuf,
        /// What the operating system answered.
        source: io::Error,
    },
}

impl PathError {
    pub(super) fn system(path: &Path) -> impl FnOnce(nix::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::System { path, source: error.into() }
    }

    /// Whether nothing of this name exists.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::System { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

impl From<PathError> for io::Error {
    fn from(error: PathError) -> Self {
        match error {
            PathError::System { source, .. } => source,
            refused => Self::new(io::ErrorKind::PermissionDenied, refused),
        }
    }
}

pub(super) fn name_of(owner: u32) -> String {
    user_name(owner).map_or_else(|| format!("the account {owner}"), |name| format!("the account {name}"))
}

fn start_as(owner: u32) -> String {
    match user_name(owner) {
        Some(name) => format!("sudo -u {name} gatewayd ..."),
        None => format!("setpriv --reuid={owner} --regid={owner} --clear-groups gatewayd ..."),
    }
}

fn user_name(user: u32) -> Option<String> {
    User::from_uid(Uid::from_raw(user)).ok().flatten().map(|user| user.name)
}
