//! `validator-query`: no worker, but a program that asks validators one question and ends.
//!
//! The program looks up their addresses by name, which opens files and asks the name services of this machine, and connects. It writes
//! no file, accepts nobody, and starts nothing. The C library loads the other name services of `/etc/nsswitch.conf` into the program,
//! with their libraries. Nobody can list the calls of those libraries, so unlisted calls fail, and the libraries or the C library go
//! on without. Landlock, and not this filter, decides which files the program can read and to which ports it can connect.

use libc::{
    AF_INET, AF_INET6, AF_NETLINK, AF_UNIX, FIONREAD, IP_RECVERR, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, IPV6_RECVERR,
    MAP_DENYWRITE, MAP_FIXED, MAP_PRIVATE, O_CLOEXEC, O_RDONLY, PROT_EXEC, PROT_READ, SO_ERROR, SO_RCVTIMEO,
    SO_SNDTIMEO, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK, SOCK_STREAM, SOL_SOCKET, TCP_NODELAY,
};

use super::{
    common::NOT_CONNECTING,
    rule::{Argument, Network, Policy, Rule, Unlisted, is, is_but_for},
};

/// The policy of `validator-query`.
pub const VALIDATOR_QUERY: Policy =
    Policy { name: "validator-query", network: Network::Connects, unlisted: Unlisted::Fails, own: OWN };

const STREAM: Argument = is_but_for(1, SOCK_STREAM, SOCK_CLOEXEC | SOCK_NONBLOCK);
const DATAGRAM: Argument = is_but_for(1, SOCK_DGRAM, SOCK_CLOEXEC | SOCK_NONBLOCK);
/// The default protocol of a socket of that kind, TCP or UDP.
const DEFAULT: Argument = is(2, IPPROTO_IP);

/// The policy of `node-check`, which connects to the gateway's own public address as `validator-query` does to validators, over the same
/// library, and speaks a websocket too.
pub const NODE_CHECK: Policy =
    Policy { name: "node-check", network: Network::Connects, unlisted: Unlisted::Fails, own: OWN };

const OWN: &[Rule] = &[
    // Connections.
    allow!(SYS_socket, "validators, and name servers that answer at length, IPv4").when(&[
        is(0, AF_INET),
        STREAM,
        DEFAULT,
    ]),
    allow!(SYS_socket, "the same, IPv6").when(&[is(0, AF_INET6), STREAM, DEFAULT]),
    allow!(SYS_socket, "name servers, IPv4").when(&[is(0, AF_INET), DATAGRAM, DEFAULT]),
    allow!(SYS_socket, "name servers, IPv6").when(&[is(0, AF_INET6), DATAGRAM, DEFAULT]),
    allow!(SYS_socket, "a name service of this machine, such as nscd").when(&[is(0, AF_UNIX), STREAM]),
    absent!(SYS_socket, "glibc asks the kernel which addresses the machine has; it can do without")
        .when(&[is(0, AF_NETLINK)]),
    allow!(SYS_connect, "validators and name servers"),
    allow!(SYS_getsockname, "of several addresses, glibc prefers the one to which its own is closest").unseen(),
    allow!(SYS_getpeername, "name services of this machine").unseen(),
    #[cfg(target_arch = "x86_64")]
    allow!(SYS_poll, "a connection or an answer comes"),
    allow!(SYS_ppoll, "the same, on architectures without poll, and name services of this machine").unseen(),
    allow!(SYS_sendmmsg, "questions to name servers, two at once").when(&[NOT_CONNECTING]),
    allow!(SYS_ioctl, "how long is the answer?").when(&[is(1, FIONREAD as i32)]),
    allow!(SYS_getsockopt, "did it connect?").when(&[is(1, SOL_SOCKET), is(2, SO_ERROR)]),
    allow!(SYS_setsockopt, "requests are not held back").when(&[is(1, IPPROTO_TCP), is(2, TCP_NODELAY)]),
    allow!(SYS_setsockopt, "patience is limited").when(&[is(1, SOL_SOCKET), is(2, SO_RCVTIMEO)]),
    allow!(SYS_setsockopt, "the same").when(&[is(1, SOL_SOCKET), is(2, SO_SNDTIMEO)]),
    allow!(SYS_setsockopt, "name servers that are not there, IPv4").when(&[is(1, IPPROTO_IP), is(2, IP_RECVERR)]),
    allow!(SYS_setsockopt, "name servers that are not there, IPv6").when(&[is(1, IPPROTO_IPV6), is(2, IPV6_RECVERR)]),
    // Finding an address by its name.
    allow!(SYS_openat, "how names are found; only to read").when(&[is(2, O_RDONLY | O_CLOEXEC)]),
    allow!(SYS_newfstatat, "has the configuration changed?"),
    allow!(SYS_fstat, "the same, on architectures and in C libraries that have it").unseen(),
    allow!(SYS_lseek, "/etc/hosts from its beginning"),
    allow!(SYS_pread64, "a library of a name service").unseen(),
    allow!(SYS_uname, "the machine's own name may say in which domain it is"),
    allow!(SYS_mmap, "the code of a name service's library: from a file, never writable")
        .when(&[is(2, PROT_READ | PROT_EXEC), is_but_for(3, MAP_PRIVATE, MAP_FIXED | MAP_DENYWRITE)])
        .unseen(),
    // No name service makes these calls.
    deadly!(SYS_execve, "another program"),
    deadly!(SYS_execveat, "the same"),
    deadly!(SYS_ptrace, "another process"),
    deadly!(SYS_process_vm_readv, "another process"),
    deadly!(SYS_process_vm_writev, "another process"),
];
