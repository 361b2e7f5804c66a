//! The jail from inside. Children of this program close the jail of each role, as root and as an ordinary user, and then do one thing.
#![allow(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::panic)]

mod inmate;
#[path = "../last_words/mod.rs"]
mod last_words;
mod others;

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd,
};

use ipc::jail::{JailSpec, Layer, LayerSettings};
use nix::{
    sys::{
        signal::Signal,
        wait::{WaitStatus, waitpid},
    },
    unistd::{ForkResult, fork},
};
use sandbox::{
    Jail, close,
    policy::{MIX_EGRESS, MIX_INGRESS, Network, STORE},
};

use self::inmate::{End, ROLES, Starter, call, folder, inmate, inmate_with_ports, starters};

const EXECUTABLE: i64 = (libc::PROT_READ | libc::PROT_EXEC) as i64;
const ANONYMOUS: i64 = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as i64;

/// System calls that no role may make, of each of which it dies.
fn forbidden() -> Vec<(i64, [i64; 6])> {
    let own = i64::from(std::process::id());
    let n = i64::from;
    vec![
        (libc::SYS_execve, [0; 6]),
        (libc::SYS_execveat, [0; 6]),
        (libc::SYS_ptrace, [n(libc::PTRACE_ATTACH as i32), own, 0, 0, 0, 0]),
        (libc::SYS_process_vm_readv, [own, 0, 0, 0, 0, 0]),
        (libc::SYS_process_vm_writev, [own, 0, 0, 0, 0, 0]),
        (libc::SYS_mmap, [0, 4096, EXECUTABLE, ANONYMOUS, -1, 0]),
        (libc::SYS_mprotect, [0, 4096, EXECUTABLE, 0, 0, 0]),
        (libc::SYS_pkey_mprotect, [0, 4096, EXECUTABLE, -1, 0, 0]),
        (libc::SYS_memfd_create, [0; 6]),
        (libc::SYS_clone, [n(libc::SIGCHLD), 0, 0, 0, 0, 0]),
        (libc::SYS_clone, [n(libc::CLONE_VM | libc::CLONE_THREAD | libc::CLONE_SIGHAND), 0, 0, 0, 0, 0]),
        (libc::SYS_socket, [n(libc::AF_UNIX), n(libc::SOCK_STREAM), 0, 0, 0, 0]),
        (libc::SYS_socket, [n(libc::AF_INET), n(libc::SOCK_DGRAM), 0, 0, 0, 0]),
        (libc::SYS_socket, [n(libc::AF_NETLINK), n(libc::SOCK_RAW), 0, 0, 0, 0]),
        (libc::SYS_socketpair, [n(libc::AF_UNIX), n(libc::SOCK_DGRAM), 0, 0, 0, 0]),
        (libc::SYS_bind, [0; 6]),
        (libc::SYS_listen, [0; 6]),
        // A way around Landlock: SHUT_RD makes a listener a socket that can connect, and MSG_FASTOPEN connects while it sends.
        (libc::SYS_shutdown, [0, n(libc::SHUT_RD), 0, 0, 0, 0]),
        (libc::SYS_shutdown, [0, n(libc::SHUT_RDWR), 0, 0, 0, 0]),
        (libc::SYS_sendto, [0, 0, 0, n(libc::MSG_FASTOPEN), 0, 0]),
        (libc::SYS_sendmsg, [0, 0, n(libc::MSG_FASTOPEN), 0, 0, 0]),
        (libc::SYS_sendmmsg, [0, 0, 0, n(libc::MSG_FASTOPEN), 0, 0]),
        // A pointer whose lower half is zero.
        (libc::SYS_prlimit64, [0, n(libc::RLIMIT_AS as i32), 1 << 32, 0, 0, 0]),
        (libc::SYS_rt_sigaction, [n(libc::SIGSYS), 0, 0, 8, 0, 0]),
        (libc::SYS_kill, [own, 0, 0, 0, 0, 0]),
        (libc::SYS_tgkill, [1, 1, n(libc::SIGABRT), 0, 0, 0]),
        (libc::SYS_prctl, [n(libc::PR_SET_DUMPABLE), 1, 0, 0, 0, 0]),
        (libc::SYS_ioctl, [2, libc::TIOCSTI as i64, 0, 0, 0, 0]),
        (libc::SYS_setresuid, [0; 6]),
        (libc::SYS_setgroups, [0; 6]),
        (libc::SYS_unshare, [n(libc::CLONE_NEWUSER), 0, 0, 0, 0, 0]),
        (libc::SYS_mount, [0; 6]),
        (libc::SYS_bpf, [0; 6]),
        (libc::SYS_io_uring_setup, [0; 6]),
        (libc::SYS_personality, [0x0040_0000, 0, 0, 0, 0, 0]),
        (libc::SYS_seccomp, [0; 6]),
    ]
}

#[test]
fn every_layer_holds_that_can() {
    let (_folder, directory) = folder();
    for starter in starters() {
        for policy in ROLES {
            let held = inmate(policy, starter, &directory, |closed| {
                let missing = |layer| match layer {
                    Layer::Account => starter == Starter::User,
                    Layer::NetworkNamespace => policy.network == Network::Connects,
                    _ => false,
                };
                Layer::ALL.into_iter().all(|layer| closed.layers().active.contains(&layer) != missing(layer))
            });
            assert_eq!(held, End::Found(true), "{} of {starter:?}", policy.name);
        }
    }
}

#[test]
fn what_no_role_may_do_kills_it_and_the_call_is_named() {
    let (_folder, directory) = folder();
    for starter in starters() {
        for policy in ROLES {
            for (number, arguments) in forbidden() {
                let end = inmate(policy, starter, &directory, |_| call(number, arguments) < 0);
                assert_eq!(end, End::Refused(number), "{} of {starter:?}: {arguments:?}", policy.name);
            }
        }
    }
}

#[test]
fn egress_connects_to_no_port_but_those_named() {
    let (_folder, directory) = folder();
    let listeners = [(); 2].map(|()| TcpListener::bind(("127.0.0.1", 0)).unwrap());
    let [named, other]: [SocketAddr; 2] = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
    let connects = |ports: &[u16], to: SocketAddr| {
        let end = inmate_with_ports(&MIX_EGRESS, Starter::User, &directory, ports, |closed| {
            assert!(closed.layers().active.contains(&Layer::LandlockPorts));
            match TcpStream::connect(to) {
                Ok(_) => true,
                Err(error) => {
                    assert_eq!(error.raw_os_error(), Some(libc::EACCES));
                    false
                }
            }
        });
        end == End::Found(true)
    };
    assert!(connects(&[named.port()], named));
    assert!(!connects(&[named.port()], other));
    assert!(connects(&[], named) && connects(&[], other));
}

#[test]
fn only_egress_makes_sockets_and_connects() {
    let (_folder, directory) = folder();
    let stream = |family| call(libc::SYS_socket, [i64::from(family), i64::from(libc::SOCK_STREAM), 0, 0, 0, 0]) >= 0;
    for policy in ROLES {
        for family in [libc::AF_INET, libc::AF_INET6] {
            let end = inmate(policy, Starter::User, &directory, |_| stream(family));
            let expected =
                if policy.network == Network::Connects { End::Found(true) } else { End::Refused(libc::SYS_socket) };
            assert_eq!(end, expected, "{}", policy.name);
        }
        let end = inmate(policy, Starter::User, &directory, |_| call(libc::SYS_connect, [-1, 0, 0, 0, 0, 0]) == -9);
        let expected =
            if policy.network == Network::Connects { End::Found(true) } else { End::Refused(libc::SYS_connect) };
        assert_eq!(end, expected, "{}", policy.name);
    }
}

#[test]
fn only_the_store_opens_files_and_only_below_its_directories() {
    let (folder, directory) = folder();
    let own = std::ffi::CString::new(format!("{}/file", folder.path().display())).unwrap();
    let (read, create) = (i64::from(libc::O_RDONLY | libc::O_CLOEXEC), i64::from(libc::O_RDWR | libc::O_CREAT));
    let open = |path: &std::ffi::CStr, flags| {
        call(libc::SYS_openat, [i64::from(libc::AT_FDCWD), path.as_ptr() as i64, flags, 0o600, 0, 0])
    };
    let is = |error: i32| move |returned: i64| returned == -i64::from(error);
    for starter in starters() {
        for policy in ROLES {
            let is_store = policy.name == STORE.name;
            // glibc reads files by itself; such a call fails and does not kill.
            let answer = if is_store { libc::EACCES } else { libc::ENOSYS };
            let end = inmate(policy, starter, &directory, |_| is(answer)(open(c"/etc/passwd", read)));
            assert_eq!(end, End::Found(true), "{} of {starter:?}", policy.name);
            let end = inmate(policy, starter, &directory, |_| is(libc::EACCES)(open(c"/tmp/jail-test", create)));
            let expected = if is_store { End::Found(true) } else { End::Refused(libc::SYS_openat) };
            assert_eq!(end, expected, "{} of {starter:?}", policy.name);
        }
    }
    // Below the folder of the store, which is of the same account, through the descriptor that the store was given.
    for starter in starters() {
        let relative = directory.as_raw_fd();
        let create = |name: &std::ffi::CStr| {
            call(libc::SYS_openat, [i64::from(relative), name.as_ptr() as i64, create, 0o600, 0, 0]) >= 0
        };
        assert_eq!(inmate(&STORE, starter, &directory, |_| create(c"file")), End::Found(true), "{own:?}");
    }
}

#[test]
fn clone3_is_not_there_and_threads_still_start() {
    let (_folder, directory) = folder();
    for starter in starters() {
        for policy in ROLES {
            let end =
                inmate(policy, starter, &directory, |_| call(libc::SYS_clone3, [0; 6]) == -i64::from(libc::ENOSYS));
            assert_eq!(end, End::Found(true), "{}", policy.name);
            let end = inmate(policy, starter, &directory, |_| {
                std::thread::spawn(|| vec![1_u8; 1 << 20].len()).join().is_ok_and(|len| len == 1 << 20)
            });
            assert_eq!(end, End::Found(true), "{}", policy.name);
        }
    }
}

#[test]
fn a_panic_and_an_abort_are_not_refused() {
    let (_folder, directory) = folder();
    for policy in ROLES {
        let end = inmate(policy, Starter::User, &directory, |_| {
            std::thread::spawn(|| panic!("on purpose, in a jail")).join().is_err()
        });
        assert_eq!(end, End::Found(true), "{}", policy.name);
        let end = inmate(policy, Starter::User, &directory, |_| std::process::abort());
        assert!(matches!(end, End::Other(WaitStatus::Signaled(_, Signal::SIGABRT, _))), "{}: {end:?}", policy.name);
    }
}

#[test]
fn a_layer_that_is_required_and_cannot_be_had_ends_the_process() {
    // An ordinary user has no account to change to.
    let spec = JailSpec {
        supervisor: nix::unistd::getppid().as_raw().cast_unsigned(),
        open_files: 64,
        layers: Some(LayerSettings { account: None, required: vec![Layer::Account], connect_ports: vec![] }),
    };
    // SAFETY: as in `inmate`.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            let error = close(Jail { policy: &MIX_INGRESS, spec: &spec, directories: &[] }).unwrap_err().to_string();
            let good = ["account", "root", "require", "config.toml"].iter().all(|word| error.contains(word));
            // SAFETY: ends the child without the parent's clean-up.
            unsafe { libc::_exit(i32::from(!good)) }
        }
        ForkResult::Parent { child } => {
            assert!(matches!(waitpid(child, None).unwrap(), WaitStatus::Exited(_, 0)));
        }
    }
}
