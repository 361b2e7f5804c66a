//! Brings the names in a folder to the medium.

use std::{io, os::fd::AsFd};

use nix::{
    errno::Errno,
    fcntl::{OFlag, openat},
    sys::stat::Mode,
};

/// Syncs the folder. The sync of a file is worth nothing if the name of its folder is lost.
pub(super) fn sync_names(folder: impl AsFd) -> io::Result<()> {
    match openat(folder, ".", OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
        .and_then(nix::unistd::fsync)
    {
        // This account may not read the folder, or the file system cannot sync folders.
        Ok(()) | Err(Errno::EACCES | Errno::EINVAL) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
