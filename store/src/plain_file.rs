//! Opens a file of the store's directories, and nothing that a name there could lead to instead.
//!
//! *Promises*: no symbolic link is followed, no pipe is waited for, and a file with a second name is refused unless it belongs to the
//! owner of the directory. An earlier owner of the directory may have left a link to a file of another user.

use std::{
    fs::File,
    io,
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
};

use nix::{
    fcntl::{OFlag, openat},
    sys::stat::{Mode, fstat},
};

/// Opens `name` in `directory`, with `flags` that do not truncate.
pub(crate) fn open(directory: &OwnedFd, name: &str, flags: OFlag) -> io::Result<File> {
    let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = File::from(openat(directory, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?);
    let metadata = file.metadata()?;
    let is_shared = metadata.nlink() != 1 && metadata.uid() != fstat(directory)?.st_uid;
    if !metadata.is_file() || is_shared {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "it is no plain file of this directory; move it away",
        ));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::symlink};

    #[test]
    fn a_link_of_either_kind_when_opened_is_refused() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let canary = other.path().join("canary");
        fs::write(&canary, "sings").unwrap();
        symlink(&canary, folder.path().join("soft")).unwrap();
        fs::hard_link(&canary, folder.path().join("hard")).unwrap();
        nix::unistd::mkfifo(&folder.path().join("pipe"), Mode::S_IRWXU).unwrap();
        // Only root can make a file somebody else's. The owner of the directory may link his own files.
        let hard_is_refused = std::os::unix::fs::chown(&canary, Some(70_009), None).is_ok();
        let directory = File::open(folder.path()).unwrap().into();
        assert_eq!(open(&directory, "hard", OFlag::O_RDWR).is_err(), hard_is_refused);
        for name in ["soft", "pipe"] {
            open(&directory, name, OFlag::O_CREAT | OFlag::O_RDWR).unwrap_err();
        }
        open(&directory, "new", OFlag::O_CREAT | OFlag::O_RDWR).unwrap();
        open(&directory, "new", OFlag::O_RDONLY).unwrap();
    }
}
