//! The jail of `renounce`, from inside. Children of this program close it, and then try one thing.
#![allow(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::panic)]

mod last_words;

use std::{
    fs::{self, File},
    io::{self, ErrorKind::PermissionDenied, Read as _},
    net::{TcpListener, TcpStream, ToSocketAddrs as _, UdpSocket},
    os::{
        fd::AsRawFd as _,
        unix::net::{UnixDatagram, UnixStream},
    },
};

use ipc::jail::{Account, Layer};
use link::descriptor::control_pair;
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::{
        signal::Signal,
        wait::{WaitStatus, waitpid},
    },
    unistd::{ForkResult, fork, geteuid},
};

use self::last_words::refused_call;

/// An account that no machine has.
const NOBODY: u32 = 1_879_048_200;

/// How a child ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Done,
    Denied,
    /// A filter answered as a kernel without the call does.
    Absent,
    Failed,
    /// A filter killed the child, which reported this call before.
    Refused(i64),
    Other(WaitStatus),
}

/// Runs `act` in a child that has renounced everything but connections to `port`.
fn renounced(port: u16, act: impl FnOnce() -> io::Result<()>) -> End {
    let (ours, theirs) = control_pair().unwrap();
    // SAFETY: the child has this thread alone, uses the C library's memory and its own, and leaves through `_exit`.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            // SAFETY: both descriptors are open.
            unsafe { libc::dup2(theirs.as_raw_fd(), 0) };
            drop(ours);
            let account = geteuid().is_root().then_some(Account { uid: NOBODY, gid: NOBODY });
            let code = match sandbox::renounce(&sandbox::policy::VALIDATOR_QUERY, account, &[port]).map(|_closed| act())
            {
                Ok(Ok(())) => 0,
                Ok(Err(error)) if error.kind() == PermissionDenied => 1,
                Ok(Err(error)) if error.raw_os_error() == Some(libc::ENOSYS) => 4,
                Ok(Err(_)) => 2,
                Err(_) => 3,
            };
            // SAFETY: ends the child without the parent's clean-up.
            unsafe { libc::_exit(code) }
        }
        ForkResult::Parent { child } => {
            drop(theirs);
            match waitpid(child, None).unwrap() {
                WaitStatus::Exited(_, 0) => End::Done,
                WaitStatus::Exited(_, 1) => End::Denied,
                WaitStatus::Exited(_, 2) => End::Failed,
                WaitStatus::Exited(_, 4) => End::Absent,
                status @ WaitStatus::Signaled(_, Signal::SIGSYS, _) => {
                    refused_call(&ours).map_or(End::Other(status), End::Refused)
                }
                other => End::Other(other),
            }
        }
    }
}

fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// Makes a bare system call with one argument.
fn bare(call: i64, argument: i64) -> io::Result<()> {
    // SAFETY: callers pass calls that take numbers and null pointers.
    match unsafe { libc::syscall(call, argument, 0, 0, 0, 0, 0) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

#[test]
fn it_connects_to_the_port_it_was_told_and_to_no_other() {
    let ((_here, here), (_there, there)) = (listener(), listener());
    assert_eq!(renounced(here, || TcpStream::connect(("127.0.0.1", here)).map(drop)), End::Done);
    assert_eq!(renounced(here, || TcpStream::connect(("127.0.0.1", there)).map(drop)), End::Denied);
}

#[test]
fn it_finds_addresses_by_name() {
    assert_eq!(renounced(1, || ("localhost", 1).to_socket_addrs().map(drop)), End::Done);
    // Asks a name server, if there is one. A failed lookup is fine too.
    let end = renounced(1, || match ("no-such-name.invalid", 1).to_socket_addrs() {
        Ok(_) | Err(_) => Ok(()),
    });
    assert_eq!(end, End::Done);
    assert_eq!(renounced(1, || UdpSocket::bind("127.0.0.1:0").map(drop)), End::Absent);
}

#[test]
fn it_reads_the_name_service_files_alone_and_writes_nothing() {
    assert_eq!(renounced(1, || File::open("/etc/hosts")?.read_exact(&mut [0])), End::Done);
    for path in ["/etc/passwd", "/proc/self/environ", "/", "/tmp", "/proc/version"] {
        assert_eq!(renounced(1, || File::open(path).map(drop)), End::Denied, "{path}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new");
    assert_eq!(renounced(1, || File::create(&path).map(drop)), End::Absent);
    assert_eq!(renounced(1, || fs::remove_dir(folder.path())), End::Absent);
    assert!(folder.path().exists() && !path.exists());
}

#[test]
fn it_starts_traces_and_becomes_nothing() {
    for (call, argument) in [
        (libc::SYS_execve, 0),
        (libc::SYS_execveat, 0),
        (libc::SYS_ptrace, 0),
        (libc::SYS_process_vm_readv, 1),
        (libc::SYS_process_vm_writev, 1),
    ] {
        assert_eq!(renounced(1, || bare(call, argument)), End::Refused(call), "{call}");
    }
    let calls = [
        (libc::SYS_clone, 0),
        (libc::SYS_kill, 1),
        (libc::SYS_setresuid, 0),
        (libc::SYS_unshare, libc::CLONE_NEWUSER.into()),
        (libc::SYS_bind, 0),
        (libc::SYS_listen, 0),
        (libc::SYS_memfd_create, 0),
    ];
    for (call, argument) in calls {
        assert_eq!(renounced(1, || bare(call, argument)), End::Absent, "{call}");
    }
}

/// Calls that libraries of name services make, such as those of systemd, which need `libcap`.
#[test]
fn what_a_name_service_tries_fails_and_ends_nobody() {
    for (call, argument) in [
        (libc::SYS_prctl, libc::PR_CAPBSET_READ.into()),
        (libc::SYS_capget, 0),
        (libc::SYS_geteuid, 0),
        (libc::SYS_socket, libc::AF_NETLINK.into()),
        (libc::SYS_getdents64, 0),
        (libc::SYS_statx, 0),
        (libc::SYS_faccessat2, 0),
    ] {
        assert_eq!(renounced(1, || bare(call, argument)), End::Absent, "{call}");
    }
    assert_eq!(renounced(1, || UnixDatagram::unbound().map(drop)), End::Absent);
    assert_ne!(renounced(1, || UnixStream::connect("/run/dbus/system_bus_socket").map(drop)), End::Absent);
}

/// `libnss_systemd`, where it is installed, is one of them, although it has no addresses.
#[test]
fn a_name_service_with_libraries_of_its_own_is_passed_over() {
    // To mount another nsswitch.conf.
    if !need::root(83) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let services = folder.path().join("nsswitch.conf");
    fs::write(&services, "hosts: systemd files\n").unwrap();
    // Mounted for this thread and its child only.
    let own = || -> nix::Result<()> {
        unshare(CloneFlags::CLONE_NEWNS)?;
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
        mount(Some(&services), "/etc/nsswitch.conf", None::<&str>, MsFlags::MS_BIND, None::<&str>)
    };
    own().unwrap();
    assert_eq!(renounced(1, || ("localhost", 1).to_socket_addrs().map(drop)), End::Done);
}

#[test]
fn no_memory_of_its_own_becomes_executable() {
    let end = renounced(1, || {
        let (protection, flags) = (libc::PROT_READ | libc::PROT_EXEC, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: new memory, which nobody uses.
        match unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0) } {
            libc::MAP_FAILED => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    });
    assert_eq!(end, End::Absent);
}

#[test]
fn it_knows_which_layers_hold() {
    // SAFETY: as in `renounced`.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            let all = [Layer::LandlockFiles, Layer::LandlockPorts, Layer::LandlockScopes, Layer::Seccomp];
            let good = sandbox::renounce(&sandbox::policy::VALIDATOR_QUERY, None, &[1])
                .is_ok_and(|closed| closed.layers().active == all && closed.layers().missing.is_empty());
            // SAFETY: ends the child without the parent's clean-up.
            unsafe { libc::_exit(i32::from(!good)) }
        }
        ForkResult::Parent { child } => {
            assert!(matches!(waitpid(child, None).unwrap(), WaitStatus::Exited(_, 0)));
        }
    }
}
