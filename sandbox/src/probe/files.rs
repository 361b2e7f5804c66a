//! Attempts on the file system: by path, and by every descriptor the process has.
#![allow(unsafe_code)]

use std::{
    ffi::CString,
    io,
    os::fd::{FromRawFd, OwnedFd, RawFd},
};

use ipc::probe::{Finding, Inode};
use libc::{AT_FDCWD, O_CLOEXEC, O_DIRECTORY, O_NONBLOCK, O_RDONLY, O_TMPFILE, O_WRONLY};

use super::syscall::answer;

/// The descriptors that are tried: all that a worker can have when its jail closes, except control link, output and log.
const DESCRIPTORS: std::ops::Range<RawFd> = 3..64;
/// The file of a sled database.
const DATABASE: &[u8] = b"db";

fn open_at(directory: RawFd, path: &[u8], flags: i32) -> io::Result<OwnedFd> {
    const MODE: libc::c_uint = 0o600;
    let path = CString::new(path)?;
    // Without O_NONBLOCK, opening a named pipe would wait for its other end.
    let flags = flags | O_CLOEXEC | O_NONBLOCK;
    // SAFETY: the path is a string that ends in zero and outlives the call.
    let opened = answer(unsafe { libc::syscall(libc::SYS_openat, directory, path.as_ptr(), flags, MODE) })?;
    // SAFETY: the kernel has just made this descriptor for us, and its numbers fit.
    Ok(unsafe { OwnedFd::from_raw_fd(opened as RawFd) })
}

pub(super) fn open(path: &[u8]) -> io::Result<()> {
    open_at(AT_FDCWD, path, O_RDONLY).map(drop)
}

pub(super) fn create(directory: &[u8]) -> io::Result<()> {
    open_at(AT_FDCWD, directory, O_TMPFILE | O_WRONLY).map(drop)
}

/// Succeeds if any descriptor does; otherwise returns the first error.
fn by_any_descriptor(mut attempt: impl FnMut(RawFd) -> io::Result<()>) -> io::Result<()> {
    let mut refusal = None;
    for descriptor in DESCRIPTORS {
        match attempt(descriptor) {
            Ok(()) => return Ok(()),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EBADF | libc::ENOTDIR)) => {}
            Err(error) => refusal = refusal.or(Some(error)),
        }
    }
    Err(refusal.unwrap_or_else(|| io::Error::from_raw_os_error(libc::EBADF)))
}

pub(super) fn open_beneath(path: &[u8], report: &mut dyn FnMut(Finding)) -> io::Result<()> {
    by_any_descriptor(|descriptor| open_at(descriptor, path, O_RDONLY).map(|_| report(Finding::Opened)))
}

pub(super) fn read_database(wanted: Inode, report: &mut dyn FnMut(Finding)) -> io::Result<()> {
    in_directory(wanted, report, |directory| match open_at(directory, DATABASE, O_RDONLY) {
        // Nothing was written yet; listing the directory is reading it.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => open_at(directory, b".", O_RDONLY | O_DIRECTORY),
        opened => opened,
    })
}

pub(super) fn write_database(wanted: Inode, report: &mut dyn FnMut(Finding)) -> io::Result<()> {
    in_directory(wanted, report, |directory| match open_at(directory, DATABASE, O_WRONLY) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => open_at(directory, b".", O_TMPFILE | O_WRONLY),
        opened => opened,
    })
}

/// Opens first, and asks only then which directory that was: a process that opens and is killed for asking was allowed to open.
fn in_directory(
    wanted: Inode,
    report: &mut dyn FnMut(Finding),
    open: impl Fn(RawFd) -> io::Result<OwnedFd>,
) -> io::Result<()> {
    by_any_descriptor(|descriptor| {
        let _opened = open(descriptor)?;
        report(Finding::Opened);
        if inode(descriptor)? == wanted { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EBADF)) }
    })
}

fn inode(descriptor: RawFd) -> io::Result<Inode> {
    let mut stat = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the buffer is large enough for what the kernel writes there.
    answer(unsafe { libc::fstat(descriptor, stat.as_mut_ptr()) }.into())?;
    // SAFETY: written in full, since the call succeeded.
    let stat = unsafe { stat.assume_init() };
    Ok(Inode { device: stat.st_dev, number: stat.st_ino })
}

pub(super) fn find_by_position(begin: &[u8]) -> io::Result<()> {
    let mut found = vec![0_u8; begin.len()];
    by_any_descriptor(|descriptor| {
        // SAFETY: the buffer is ours, and of this length.
        let read = unsafe { libc::syscall(libc::SYS_pread64, descriptor, found.as_mut_ptr(), found.len(), 0_i64) };
        is_it(answer(read)?, &found, begin)
    })
}

pub(super) fn find_by_rewinding(begin: &[u8]) -> io::Result<()> {
    let mut found = vec![0_u8; begin.len()];
    by_any_descriptor(|descriptor| {
        // A socket cannot be rewound, so no socket is read from; such a read might wait for ever.
        // SAFETY: changes a position and no memory.
        answer(unsafe { libc::syscall(libc::SYS_lseek, descriptor, 0_i64, libc::SEEK_SET) })?;
        // SAFETY: the buffer is ours, and of this length.
        let read = unsafe { libc::syscall(libc::SYS_read, descriptor, found.as_mut_ptr(), found.len()) };
        is_it(answer(read)?, &found, begin)
    })
}

pub(super) fn find_by_reading(begin: &[u8]) -> io::Result<()> {
    const LOOK: i32 = libc::MSG_DONTWAIT | libc::MSG_PEEK;
    let mut found = vec![0_u8; begin.len()];
    by_any_descriptor(|descriptor| {
        let (place, len) = (found.as_mut_ptr(), found.len());
        let (nobody, nothing) = (std::ptr::null::<u8>(), std::ptr::null::<u8>());
        // Skips sockets, because a read from a socket might wait.
        // SAFETY: the buffer is ours, and of this length.
        match answer(unsafe { libc::syscall(libc::SYS_recvfrom, descriptor, place, len, LOOK, nobody, nothing) }) {
            Err(error) if error.raw_os_error() == Some(libc::ENOTSOCK) => {}
            Err(error) if error.raw_os_error() == Some(libc::EBADF) => return Err(error),
            _ => return Err(io::Error::from_raw_os_error(libc::EBADF)),
        }
        // SAFETY: the buffer is ours, and of this length.
        let read = unsafe { libc::syscall(libc::SYS_read, descriptor, place, len) };
        is_it(answer(read)?, &found, begin)
    })
}

fn is_it(read: libc::c_long, found: &[u8], begin: &[u8]) -> io::Result<()> {
    let whole = usize::try_from(read).is_ok_and(|read| read == begin.len());
    if whole && found == begin { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EBADF)) }
}
