//! `client-edge`: accepts clients on the listener it was given. Makes no socket, opens no file.

use libc::{IPPROTO_TCP, SHUT_WR, SO_KEEPALIVE, SOL_SOCKET, TCP_KEEPCNT, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_NODELAY};

use super::rule::{Network, Policy, Rule, Unlisted, is};

/// The policy of `client-edge`.
pub const CLIENT_EDGE: Policy =
    Policy { name: "client-edge", network: Network::Accepts, unlisted: Unlisted::Kills, own: OWN };

const OWN: &[Rule] = &[
    allow!(SYS_accept4, "clients connect"),
    allow!(SYS_setsockopt, "messages are not held back").when(&[is(1, IPPROTO_TCP), is(2, TCP_NODELAY)]),
    allow!(SYS_setsockopt, "clients that are gone are noticed").when(&[is(1, SOL_SOCKET), is(2, SO_KEEPALIVE)]),
    allow!(SYS_setsockopt, "after a minute of silence").when(&[is(1, IPPROTO_TCP), is(2, TCP_KEEPIDLE)]),
    allow!(SYS_setsockopt, "by questions a quarter of a minute apart")
        .when(&[is(1, IPPROTO_TCP), is(2, TCP_KEEPINTVL)]),
    allow!(SYS_setsockopt, "of which four have no answer").when(&[is(1, IPPROTO_TCP), is(2, TCP_KEEPCNT)]),
    // SHUT_WR only: SHUT_RD would stop the shared listener for all who share it, and make it a socket that can connect.
    allow!(SYS_shutdown, "a websocket is closed in order").when(&[is(1, SHUT_WR)]),
];
