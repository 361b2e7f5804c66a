//! Becoming another program: the process stays, with its number and those descriptors that are handed over.
//!
//! *Promises*: signals that come meanwhile wait until the new program catches them. If the kernel refuses, everything is as before.

use std::{
    convert::Infallible,
    ffi::{CString, OsString},
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, AsRawFd as _, BorrowedFd, RawFd},
        unix::ffi::OsStringExt as _,
    },
};

use nix::{
    fcntl::{FcntlArg, FdFlag, fcntl},
    sys::signal::SigSet,
    unistd::execve,
};

use super::record::{Record, VARIABLE};

/// The descriptors that are handed over, by name.
pub(crate) type Descriptors<'a> = Vec<(String, BorrowedFd<'a>)>;

/// The arguments of this process, without its name.
pub(super) fn own_arguments() -> impl Iterator<Item = OsString> {
    std::env::args_os().skip(1)
}

/// The environment of this process, without what says which descriptors it was given.
pub(super) fn own_environment() -> impl Iterator<Item = (OsString, OsString)> {
    const OF_DESCRIPTORS: [&str; 4] = [VARIABLE, "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];
    std::env::vars_os().filter(|(name, _)| !OF_DESCRIPTORS.iter().any(|variable| name == *variable))
}

/// Becomes `program`, with the arguments and the environment of this process. It is handed `listeners` and `programs`, and what `record` makes of
/// their numbers. Returns only if that fails, and then changes nothing.
pub(crate) fn become_program(
    program: &File,
    listeners: &Descriptors<'_>,
    programs: &Descriptors<'_>,
    record: impl FnOnce(Vec<(String, RawFd)>, Vec<(String, RawFd)>) -> Record,
) -> io::Error {
    let numbered = |all: &Descriptors<'_>| all.iter().map(|(name, fd)| (name.clone(), fd.as_raw_fd())).collect();
    let record = record(numbered(listeners), numbered(programs));
    let all = || listeners.iter().chain(programs).map(|(_, fd)| *fd);
    let mask = SigSet::thread_get_mask();
    let outcome = all().try_for_each(|fd| set_inherited(fd, true)).and_then(|()| {
        SigSet::all().thread_block()?;
        execute(program, &record)
    });
    let error = match outcome {
        Ok(never) => match never {},
        Err(error) => error,
    };
    // On an error of these, a child could inherit a descriptor, or a signal wait until the end: nothing better can be done.
    if let Ok(mask) = mask {
        let _ = mask.thread_set_mask();
    }
    for fd in all() {
        let _ = set_inherited(fd, false);
    }
    error
}

fn set_inherited(fd: BorrowedFd<'_>, inherited: bool) -> io::Result<()> {
    let flags = if inherited { FdFlag::empty() } else { FdFlag::FD_CLOEXEC };
    fcntl(fd, FcntlArg::F_SETFD(flags)).map(drop).map_err(io::Error::from)
}

/// Runs the program from its descriptor, because its file may be gone.
fn execute(program: &File, record: &Record) -> io::Result<Infallible> {
    let path = format!("/proc/self/fd/{}", program.as_fd().as_raw_fd());
    let name = fs::read_link(&path)?.into_os_string();
    let text = |bytes: OsString| CString::new(bytes.into_vec()).map_err(io::Error::other);
    let arguments = [name].into_iter().chain(own_arguments()).map(text).collect::<io::Result<Vec<_>>>()?;
    let variable = |(name, value): (OsString, OsString)| {
        let mut line = name;
        line.push("=");
        line.push(value);
        text(line)
    };
    let handed_over = (VARIABLE.into(), serde_json::to_string(record)?.into());
    let environment = own_environment().chain([handed_over]).map(variable).collect::<io::Result<Vec<_>>>()?;
    logging::flush();
    execve(&CString::new(path)?, &arguments, &environment).map_err(io::Error::from)
}
