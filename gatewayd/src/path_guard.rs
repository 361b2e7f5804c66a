//! Opens the paths of a gateway so that no other account can make a privileged process open other files.
//!
//! *Trusts*: root, the account of this process, and `gatewayd`, the account of the unit. No other account may own a folder on the way to
//! the gateway's files, or be able to rename what is in it. *Promises*: a process that may give files away (root, or the unit's
//! supervisor) walks each path from `/` with a descriptor for each folder. It refuses folders and files of other accounts, folders and files
//! that others may write, symbolic links in the gateway's folder, and files with a second name. It returns the descriptor that it has checked,
//! even if the path leads elsewhere later. A process without privileges can harm only its own account, so that its paths are opened as
//! they are.
//!
//! The rule is the one of sshd's `StrictModes`, with one difference: a sticky folder of root, such as `/tmp`, may be above the
//! gateway's folder, because only the owner of an entry can rename it there.

mod program;
mod refusal;
mod sync;
mod trusted;
mod walk;

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io,
    os::{
        fd::OwnedFd,
        unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
};

use nix::{
    fcntl::{OFlag, openat},
    sys::stat::{FileStat, Mode},
    unistd::geteuid,
};

pub(crate) use self::program::{ProgramPathError, check_program};
pub use self::refusal::PathError;
pub(crate) use self::trusted::{Trusted, hand_on};
use self::{
    sync::sync_names,
    walk::{FollowLinks, OpenFolder, Walk},
};

/// A pipe in the place of a file must not block the process, and a terminal must not become its controlling terminal.
const SAFELY: OFlag = OFlag::O_NONBLOCK.union(OFlag::O_NOCTTY).union(OFlag::O_CLOEXEC);
/// The flags for a directory that is to be listed, or whose files are to be opened.
pub(crate) const DIRECTORY: OFlag = OFlag::O_DIRECTORY.union(OFlag::O_RDONLY).union(OFlag::O_CLOEXEC);

/// How strict the guard is.
#[derive(Debug, Clone)]
enum Strictness {
    /// An account without privileges.
    AsGiven,
    /// A privileged process that only reads. Owners do not matter, links do.
    NoLinks,
    /// A privileged process that creates files and gives them away.
    Strict(Trusted),
}

/// Opens the paths of one gateway.
#[derive(Debug, Clone)]
pub struct PathGuard {
    home: PathBuf,
    rule: Strictness,
}

impl PathGuard {
    /// For a command that changes something in the gateway's folder `home`, or runs the gateway.
    pub fn new(home: &Path) -> Self {
        let rule = if is_privileged() { Strictness::Strict(Trusted::of_this_process()) } else { Strictness::AsGiven };
        Self { home: home.to_owned(), rule }
    }

    /// For a command that only reads a few files.
    pub fn for_reading(home: &Path) -> Self {
        Self { home: home.to_owned(), rule: if is_privileged() { Strictness::NoLinks } else { Strictness::AsGiven } }
    }

    /// The accounts that may own what is used; none if owners do not matter.
    pub(crate) const fn trusted(&self) -> Option<&Trusted> {
        match &self.rule {
            Strictness::Strict(trusted) => Some(trusted),
            Strictness::AsGiven | Strictness::NoLinks => None,
        }
    }

    /// Checks the way to the gateway's folder, and the folders in it. A folder may be missing.
    ///
    /// # Errors
    /// Names the first path that another account could use for an attack, and the remedy.
    pub fn check(&self) -> Result<(), PathError> {
        let Some(walk) = self.walk(None) else { return Ok(()) };
        for folder in ["", "config", "data", "run"] {
            match self.place(&walk, &self.home.join(folder)) {
                Err(error) if !error.is_not_found() => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Opens a file to read. The caller checks that it is a regular file.
    ///
    /// # Errors
    /// If the kernel or the guard refuses.
    pub fn open_file(&self, path: &Path) -> io::Result<File> {
        let Some(walk) = self.walk(None) else {
            return OpenOptions::new().read(true).custom_flags(SAFELY.bits()).open(path);
        };
        let folder = self.place(&walk, path.parent().unwrap_or(Path::new("/")))?;
        Ok(walk.open_file(&folder, path, SAFELY)?)
    }

    /// Opens a directory that exists. Beside the trusted accounts, `owner` may own it.
    ///
    /// # Errors
    /// If the kernel or the guard refuses.
    pub(crate) fn open_directory(&self, path: &Path, owner: Option<u32>) -> io::Result<OwnedFd> {
        let Some(walk) = self.walk(owner) else { return Ok(nix::fcntl::open(path, DIRECTORY, Mode::empty())?) };
        Ok(openat(&self.place(&walk, path)?.folder, ".", DIRECTORY, Mode::empty())?)
    }

    /// As [`open_directory`](Self::open_directory), but creates the directory and missing ones above it. A directory that root creates gets
    /// the owner of the folder that it is in. What is created is still there after a loss of power.
    ///
    /// # Errors
    /// If the kernel or the guard refuses.
    pub(crate) fn make_directory(&self, path: &Path, mode: u32, owner: Option<u32>) -> io::Result<OwnedFd> {
        let Some(walk) = self.walk(owner).map(|walk| walk.making(mode)) else {
            let missing: Vec<&Path> = path.ancestors().take_while(|folder| !folder.exists()).collect();
            DirBuilder::new().recursive(true).mode(mode).create(path)?;
            for above in missing.into_iter().filter_map(Path::parent).filter(|above| above.is_absolute()) {
                sync_names(nix::fcntl::open(above, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?)?;
            }
            return Ok(nix::fcntl::open(path, DIRECTORY, Mode::empty())?);
        };
        Ok(openat(&self.place(&walk, path)?.folder, ".", DIRECTORY, Mode::empty())?)
    }

    /// Checks that an open file may be written: it must be a regular file with one name, of a trusted account.
    ///
    /// # Errors
    /// If it is not. `path` is for the message.
    pub(crate) fn check_writable(&self, path: &Path, stat: &FileStat) -> Result<(), PathError> {
        Walk::new(self.trusted(), None, &self.home).check_file(path, stat)
    }

    /// None if paths are opened as they are.
    fn walk(&self, owner: Option<u32>) -> Option<Walk<'_>> {
        match &self.rule {
            Strictness::AsGiven => None,
            Strictness::NoLinks => Some(Walk::new(None, owner, &self.home)),
            Strictness::Strict(trusted) => Some(Walk::new(Some(trusted), owner, &self.home)),
        }
    }

    /// Walks to a folder. Above the gateway's folder links of root are followed; in it no link is followed. The last component of a path
    /// elsewhere must not be a link.
    fn place(&self, walk: &Walk<'_>, path: &Path) -> Result<OpenFolder, PathError> {
        let (above, below) = match path.strip_prefix(&self.home) {
            Ok(below) => (self.home.as_path(), below),
            Err(_) => (path.parent().unwrap_or(path), Path::new(path.file_name().unwrap_or_default())),
        };
        let place = walk.go(OpenFolder::root()?, above, FollowLinks::OfRoot)?;
        walk.go_to_last(place, below)
    }
}

/// Whether this process could give away files of other accounts.
fn is_privileged() -> bool {
    geteuid().is_root() || sandbox::may_change_account()
}

#[cfg(test)]
mod tests;
