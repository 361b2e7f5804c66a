//! Runs a child that closes the jail of a role and then does one thing, and tells how the child ends.

use std::{
    fs::File,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

use ipc::jail::{Account, JailSpec, Layer, LayerSettings};
use link::descriptor::control_pair;
use nix::{
    sys::{
        signal::Signal,
        wait::{WaitStatus, waitpid},
    },
    unistd::{ForkResult, Gid, Uid, fork, geteuid, getpid, setgroups, setresgid, setresuid},
};
use sandbox::{
    Closed, Jail, close,
    policy::{CLIENT_EDGE, MIX_EGRESS, MIX_INGRESS, Policy, STORE},
};

use crate::last_words::refused_call;

pub(crate) const ROLES: [&Policy; 4] = [&MIX_INGRESS, &MIX_EGRESS, &CLIENT_EDGE, &STORE];
/// An account that no machine has.
const NOBODY: u32 = 1_879_048_200;

/// How a child ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The child did the thing, and found what it looked for, or did not.
    Found(bool),
    /// A filter killed the child, which reported this call before.
    Refused(i64),
    /// In another way.
    Other(WaitStatus),
}

/// The account that starts the jail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Starter {
    Root,
    User,
}

/// Both accounts, if the test runs as root.
pub(crate) fn starters() -> Vec<Starter> {
    if need::root(45) { vec![Starter::Root, Starter::User] } else { vec![Starter::User] }
}

/// Runs a child in the jail of `policy`, with `directory` if the role may have one.
pub(crate) fn inmate(
    policy: &'static Policy,
    starter: Starter,
    directory: &File,
    act: impl FnOnce(&Closed) -> bool,
) -> End {
    inmate_with_ports(policy, starter, directory, &[], act)
}

/// As [`inmate`], and only `connect_ports` may be connected to.
pub(crate) fn inmate_with_ports(
    policy: &'static Policy,
    starter: Starter,
    directory: &File,
    connect_ports: &[u16],
    act: impl FnOnce(&Closed) -> bool,
) -> End {
    let (ours, theirs) = control_pair().unwrap();
    let parent = getpid();
    // SAFETY: the child has this thread alone; the C library's memory is usable in it, and it leaves through `_exit`.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            // SAFETY: both descriptors are open.
            unsafe { libc::dup2(theirs.as_raw_fd(), 0) };
            drop(ours);
            for name in ["RUST_BACKTRACE", "RUST_LIB_BACKTRACE"] {
                // SAFETY: the child has one thread, so nothing else reads the environment. A worker's environment is empty.
                unsafe { std::env::remove_var(name) };
            }
            let layers = LayerSettings {
                account: (starter == Starter::Root).then_some(Account { uid: NOBODY, gid: NOBODY }),
                required: vec![Layer::Seccomp],
                connect_ports: connect_ports.to_vec(),
            };
            if starter == Starter::User && geteuid().is_root() {
                let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
                setgroups(&[]).unwrap();
                setresgid(gid, gid, gid).unwrap();
                setresuid(uid, uid, uid).unwrap();
            }
            let spec = JailSpec { supervisor: parent.as_raw().cast_unsigned(), open_files: 64, layers: Some(layers) };
            let directories: &[BorrowedFd<'_>] = if policy.name == STORE.name { &[directory.as_fd()] } else { &[] };
            let code = match close(Jail { policy, spec: &spec, directories }) {
                Ok(closed) => i32::from(!act(&closed)),
                Err(_) => 2,
            };
            // SAFETY: ends the child without the parent's clean-up.
            unsafe { libc::_exit(code) }
        }
        ForkResult::Parent { child } => {
            drop(theirs);
            let status = waitpid(child, None).unwrap();
            match status {
                WaitStatus::Exited(_, 0) => End::Found(true),
                WaitStatus::Exited(_, 1) => End::Found(false),
                WaitStatus::Signaled(_, Signal::SIGSYS, _) => {
                    refused_call(&ours).map_or(End::Other(status), End::Refused)
                }
                other => End::Other(other),
            }
        }
    }
}

/// Makes a bare system call. Returns its result, or the error as a negative number.
pub(crate) fn call(number: i64, arguments: [i64; 6]) -> i64 {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: every caller below passes numbers, null pointers, or pointers to what lives longer than the call.
    let returned = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if returned == -1 { -i64::from(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)) } else { returned }
}

pub(crate) fn folder() -> (tempfile::TempDir, File) {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(folder.path(), Some(NOBODY), Some(NOBODY)).ok();
    let opened = File::open(folder.path()).unwrap();
    (folder, opened)
}
