//! A shelf in a directory that was opened for us.

use std::{
    fs::{File, TryLockError},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::FileExt,
    },
    time::{Duration, Instant},
};

use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::{FallocateFlags, OFlag, fallocate, openat, renameat},
    sys::stat::Mode,
    unistd::{UnlinkatFlags, unlinkat},
};

use super::{SegmentFile, Shelf};
use crate::{disk, plain_file};

/// A killed process holds its files until its last write has returned.
const LAST_BREATH: Duration = Duration::from_secs(5);
/// Name of the file that is locked.
const LOCK: &str = "lock";

/// A directory of segments, which no other process uses while this lives.
#[derive(Debug)]
pub(crate) struct Directory {
    directory: OwnedFd,
    /// Locked until it is closed.
    _lock: File,
}

impl Directory {
    /// Locks the directory. Waits some seconds for an earlier process to let go of it.
    pub(crate) fn take(directory: OwnedFd) -> io::Result<Self> {
        const LOOK: Duration = Duration::from_millis(10);
        let lock = plain_file::open(&directory, LOCK, OFlag::O_CREAT | OFlag::O_RDWR)?;
        let end = Instant::now() + LAST_BREATH;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(Self { directory, _lock: lock }),
                Err(TryLockError::WouldBlock) if Instant::now() < end => std::thread::sleep(LOOK),
                Err(TryLockError::WouldBlock) => {
                    return Err(io::Error::new(io::ErrorKind::ResourceBusy, "another gateway is using it"));
                }
                // Some network file systems have no locks; the lock of the data folder protects the directory there.
                Err(TryLockError::Error(error)) if error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32) => {
                    return Ok(Self { directory, _lock: lock });
                }
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
    }
}

impl Shelf for Directory {
    type File = File;

    fn list(&self) -> io::Result<Vec<String>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut listing = Dir::openat(&self.directory, ".", flags, Mode::empty())?;
        let mut names = Vec::new();
        for entry in listing.iter() {
            // No file of the gateway has a name that is no text.
            if let Ok(name) = entry?.file_name().to_str() {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    fn make(&self, name: &str, len: u64) -> io::Result<File> {
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = File::from(openat(&self.directory, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?);
        let allocated = match fallocate(&file, FallocateFlags::empty(), 0, len.cast_signed()) {
            // On such a file system files grow as they are written, so a full disk shows only then.
            Err(Errno::EOPNOTSUPP) => file.set_len(len),
            outcome => outcome.map_err(io::Error::from),
        };
        allocated.and_then(|()| file.sync_all()).inspect_err(|_| {
            let _ = self.remove(name);
        })?;
        Ok(file)
    }

    fn open(&self, name: &str) -> io::Result<File> {
        plain_file::open(&self.directory, name, OFlag::O_RDWR)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(renameat(&self.directory, from, &self.directory, to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        Ok(unlinkat(self.directory.as_fd(), name, UnlinkatFlags::NoRemoveDir)?)
    }

    fn sync_names(&self) -> io::Result<()> {
        Ok(nix::unistd::fsync(&self.directory)?)
    }

    fn free(&self) -> io::Result<u64> {
        disk::free(&self.directory)
    }

    fn leave(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        plain_file::open(&self.directory, name, OFlag::O_CREAT | OFlag::O_WRONLY)?.write_all_at(bytes, 0)
    }
}

impl SegmentFile for File {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}
