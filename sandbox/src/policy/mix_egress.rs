//! `mix-egress`: connects to mix nodes. The only role that makes sockets, and those only for TCP. Opens no file.

use libc::{
    AF_INET, AF_INET6, IPPROTO_IP, IPPROTO_TCP, SO_ERROR, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM, SOL_SOCKET,
    TCP_NODELAY, TCP_USER_TIMEOUT,
};

use super::rule::{Argument, Network, Policy, Rule, Unlisted, is, is_but_for};

/// The policy of `mix-egress`.
pub const MIX_EGRESS: Policy =
    Policy { name: "mix-egress", network: Network::Connects, unlisted: Unlisted::Kills, own: OWN };

const STREAM: Argument = is_but_for(1, SOCK_STREAM, SOCK_CLOEXEC | SOCK_NONBLOCK);
/// The default protocol of a stream of that family, TCP.
const TCP: Argument = is(2, IPPROTO_IP);

const OWN: &[Rule] = &[
    allow!(SYS_socket, "connections to next hops, IPv4").when(&[is(0, AF_INET), STREAM, TCP]),
    allow!(SYS_socket, "connections to next hops, IPv6").when(&[is(0, AF_INET6), STREAM, TCP]),
    allow!(SYS_connect, "connections to next hops"),
    allow!(SYS_getsockopt, "did it connect?").when(&[is(1, SOL_SOCKET), is(2, SO_ERROR)]),
    allow!(SYS_setsockopt, "packets are not held back").when(&[is(1, IPPROTO_TCP), is(2, TCP_NODELAY)]),
    allow!(SYS_setsockopt, "next hops that are gone are noticed").when(&[is(1, IPPROTO_TCP), is(2, TCP_USER_TIMEOUT)]),
    allow!(SYS_writev, "packets leave, several at once"),
];
