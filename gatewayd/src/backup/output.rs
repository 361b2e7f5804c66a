//! The file of a backup while it is being written.
//!
//! *Promises*: it has no name before it is whole, so that a command that is killed leaves nothing behind. Only on a file system that has no
//! files without a name it is called `.<name>.<random>.new` meanwhile.

use std::{
    fs::{File, OpenOptions},
    io,
    os::{fd::AsRawFd as _, unix::fs::OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use nix::{
    fcntl::{AT_FDCWD, AtFlags},
    unistd::linkat,
};

use crate::atomic::{Staged, WriteError, folder_of};

/// The mode of the file: it has the private keys.
const MODE: u32 = 0o600;

/// A file that is to get its name.
pub(super) enum Output {
    /// It has no name.
    Unnamed {
        /// The file.
        file: File,
        /// The name that it is to get.
        destination: PathBuf,
    },
    /// It has another name.
    Staged(Staged),
}

impl Output {
    /// Begins an empty file, which the caller fills and syncs.
    ///
    /// # Errors
    /// If the folder takes no new file.
    pub(super) fn begin(destination: &Path) -> Result<(Self, File), WriteError> {
        let folder = folder_of(destination);
        let unnamed = OpenOptions::new().write(true).mode(MODE).custom_flags(nix::libc::O_TMPFILE).open(folder);
        match unnamed.and_then(|file| Ok((file.try_clone()?, file))) {
            Ok((kept, file)) => Ok((Self::Unnamed { file: kept, destination: destination.to_owned() }, file)),
            Err(error) if matches!(error.raw_os_error(), Some(nix::libc::EOPNOTSUPP | nix::libc::EISDIR)) => {
                let (staged, file) = Staged::begin(destination, MODE)?;
                Ok((Self::Staged(staged), file))
            }
            Err(error) => Err(WriteError::at("create a file in", folder)(error)),
        }
    }

    /// Gives it its name. If a file has that name, it stays, and this is an error.
    ///
    /// # Errors
    /// If the file cannot get the name.
    pub(super) fn create(self) -> Result<(), WriteError> {
        match self {
            Self::Unnamed { file, destination } => {
                let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
                let named = linkat(AT_FDCWD, unnamed.as_str(), AT_FDCWD, &destination, AtFlags::AT_SYMLINK_FOLLOW);
                named.map_err(io::Error::from).map_err(WriteError::at("create", &destination))
            }
            Self::Staged(staged) => staged.create(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn a_file_has_no_name_before_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("backup.tar");
        let names = || fs::read_dir(&folder).unwrap().count();
        let (output, mut file) = Output::begin(&path).unwrap();
        file.write_all(b"whole").unwrap();
        assert_eq!(names(), 0, "the file system of the tests has files without a name");
        drop(file);
        output.create().unwrap();
        assert_eq!((fs::read(&path).unwrap(), names()), (b"whole".to_vec(), 1));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        let (second, _) = Output::begin(&path).unwrap();
        assert_eq!(second.create().unwrap_err().error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"whole");
    }
}
