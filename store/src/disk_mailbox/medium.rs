//! Which part of a database's file is on the medium, and what is done when that is in doubt.
//!
//! A sync reports a failure once. The pages that could not be written stay in the kernel's memory and count as clean: the next sync
//! succeeds without them, and readers of the file find them, until they are dropped or the power fails. A log that went on behind
//! such pages would then end before them, and lose what was committed since.
//!
//! So a sync that fails is the last one: every further sync fails, too. It leaves a mark beside the file, and the next open of the
//! database, in this process or another, first writes the whole file once more. A mark that is lost with the kernel's memory is not
//! needed any more.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::FileExt,
    },
    sync::{Mutex, PoisonError},
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, openat},
    sys::stat::Mode,
    unistd::{UnlinkatFlags, Whence, lseek, unlinkat},
};

/// Name of the mark in the database's directory.
const MARK: &str = "unsynced";
/// Bytes rewritten at once, and synced before the next: a disk that still fails shows soon.
const PIECE: usize = 8 * 1024 * 1024;

/// The file of an open database, beside the database's own handle of it.
#[derive(Debug)]
pub(super) struct Medium {
    file: File,
    directory: OwnedFd,
    /// A sync has failed. The lock serialises syncs: of two concurrent callers only one gets a write-back error.
    failed: Mutex<bool>,
}

impl Medium {
    /// Takes charge of the file in this directory, which must not be open elsewhere. If a sync of it has failed before, the whole file is
    /// rewritten; returns how many bytes that were.
    pub(super) fn take_up(file: File, directory: OwnedFd) -> io::Result<(Self, Option<u64>)> {
        let in_doubt =
            match openat(&directory, MARK, OFlag::O_WRONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW, Mode::empty()) {
                Ok(_) => true,
                Err(Errno::ENOENT) => false,
                Err(error) => return Err(error.into()),
            };
        let written = in_doubt.then(|| write_anew(&file)).transpose()?;
        if in_doubt {
            unlinkat(directory.as_fd(), MARK, UnlinkatFlags::NoRemoveDir)?;
        }
        Ok((Self { file, directory, failed: Mutex::new(false) }, written))
    }

    /// The directory of the file.
    pub(super) const fn directory(&self) -> &OwnedFd {
        &self.directory
    }

    /// Returns when everything written so far is on the medium.
    pub(super) fn sync(&self) -> io::Result<()> {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if *failed {
            return Err(io::Error::other("a sync has failed before"));
        }
        self.file.sync_data().inspect_err(|_| {
            *failed = true;
            leave_mark(&self.directory);
        })
    }

    /// Bytes of the file.
    pub(super) fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}

impl Drop for Medium {
    /// The database's own write may have failed before any sync. The kernel has then reported the error to the database's handle, and does
    /// not report it to a later one.
    fn drop(&mut self) {
        // If it fails, there is the mark.
        let _ = self.sync();
    }
}

fn leave_mark(directory: &OwnedFd) {
    let flags = OFlag::O_CREAT | OFlag::O_WRONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    if let Err(error) = openat(directory, MARK, flags, Mode::S_IRUSR | Mode::S_IWUSR) {
        tracing::error!(
            id = "GWD-S027", %error,
            "a sync of a database has failed, and the mark for that cannot be written; reboot the machine"
        );
    }
}

/// Writes what is in a file where it is; holes stay holes, since there may be no room to fill them.
fn write_anew(file: &File) -> io::Result<u64> {
    let mut piece = vec![0; PIECE];
    let (mut at, mut written) = (0, 0);
    while let Some((from, to)) = next_data(file, at)? {
        at = from;
        while at < to {
            let len = usize::try_from(to - at).unwrap_or(PIECE).min(PIECE);
            let Some(bytes) = piece.get_mut(..len) else { break };
            file.read_exact_at(bytes, at)?;
            file.write_all_at(bytes, at)?;
            file.sync_data()?;
            at += len as u64;
            written += len as u64;
        }
    }
    Ok(written)
}

/// The first part of a file, at this place or behind it, that is no hole.
fn next_data(file: &File, at: u64) -> io::Result<Option<(u64, u64)>> {
    let seek = |at: u64, whence| lseek(file, at.cast_signed(), whence).map(i64::cast_unsigned);
    match seek(at, Whence::SeekData) {
        Ok(from) => Ok(Some((from, seek(from, Whence::SeekHole)?))),
        Err(Errno::ENXIO) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_file_in_doubt_is_written_anew_once_and_holes_stay_holes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let take_up = || {
            let file = File::options().read(true).write(true).open(&path).unwrap();
            Medium::take_up(file, File::open(folder.path()).unwrap().into()).unwrap()
        };
        let db = File::create(&path).unwrap();
        let (data, far) = (vec![7; PIECE + 5], 4 * PIECE as u64);
        db.write_all_at(&data, 0).unwrap();
        db.write_all_at(&data, far).unwrap();
        let (before, blocks) = (std::fs::read(&path).unwrap(), db.metadata().unwrap().blocks());
        let (medium, written) = take_up();
        assert_eq!(written, None, "nothing was in doubt");

        leave_mark(medium.directory());
        assert_eq!(std::fs::metadata(folder.path().join(MARK)).unwrap().mode() & 0o777, 0o600);
        let written = take_up().1.unwrap();
        assert!((2 * data.len() as u64..far).contains(&written), "{written} bytes were written");
        assert!(std::fs::read(&path).unwrap() == before && db.metadata().unwrap().blocks() == blocks);
        assert_eq!(take_up().1, None, "it is still in doubt");
    }

    #[test]
    fn a_file_that_fails_only_when_it_is_closed_is_in_doubt() {
        let folder = tempfile::tempdir().unwrap();
        let directory = File::open(folder.path()).unwrap().into();
        let unsyncable = File::from(OwnedFd::from(io::pipe().unwrap().1));
        drop(Medium::take_up(unsyncable, directory).unwrap());
        assert!(folder.path().join(MARK).exists());
    }

    #[test]
    fn a_link_in_place_of_the_mark_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let directory = || OwnedFd::from(File::open(folder.path()).unwrap());
        std::os::unix::fs::symlink("elsewhere", folder.path().join(MARK)).unwrap();
        leave_mark(&directory());
        assert!(!folder.path().join("elsewhere").exists());
        let db = File::create(folder.path().join("db")).unwrap();
        assert_eq!(Medium::take_up(db, directory()).unwrap_err().raw_os_error(), Some(Errno::ELOOP as i32));
    }

    #[test]
    fn a_failed_sync_is_the_last_and_leaves_the_file_in_doubt() {
        let folder = tempfile::tempdir().unwrap();
        let directory = || OwnedFd::from(File::open(folder.path()).unwrap());
        // A pipe is something that cannot be synced.
        let unsyncable = File::from(OwnedFd::from(io::pipe().unwrap().1));
        let (medium, _) = Medium::take_up(unsyncable, directory()).unwrap();
        assert_eq!(medium.sync().unwrap_err().raw_os_error(), Some(Errno::EINVAL as i32));
        assert_eq!(medium.sync().unwrap_err().kind(), io::ErrorKind::Other);
        let db = File::options().create(true).truncate(true).read(true).write(true).open(folder.path().join("db"));
        let (medium, written) = Medium::take_up(db.unwrap(), directory()).unwrap();
        assert_eq!(written, Some(0));
        medium.sync().unwrap();
    }
}
