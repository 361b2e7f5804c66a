//! `http-api`: accepts readers on the listener it was given. Makes no socket, opens no file.

use libc::{IPPROTO_TCP, SHUT_WR, SO_KEEPALIVE, SOL_SOCKET, TCP_KEEPCNT, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_NODELAY};

use super::rule::{Network, Policy, Rule, Unlisted, is};

/// The policy of `http-api`.
pub const HTTP_API: Policy =
    Policy { name: "http-api", network: Network::Accepts, unlisted: Unlisted::Kills, own: OWN };

const OWN: &[Rule] = &[
    allow!(SYS_accept4, "readers connect"),
    allow!(SYS_setsockopt, "answers are not held back").when(&[is(1, IPPROTO_TCP), is(2, TCP_NODELAY)]),
    allow!(SYS_setsockopt, "readers that are gone are noticed").when(&[is(1, SOL_SOCKET), is(2, SO_KEEPALIVE)]),
    allow!(SYS_setsockopt, "after a minute of silence").when(&[is(1, IPPROTO_TCP), is(2, TCP_KEEPIDLE)]),
    allow!(SYS_setsockopt, "by questions a quarter of a minute apart")
        .when(&[is(1, IPPROTO_TCP), is(2, TCP_KEEPINTVL)]),
    allow!(SYS_setsockopt, "of which four have no answer").when(&[is(1, IPPROTO_TCP), is(2, TCP_KEEPCNT)]),
    allow!(SYS_shutdown, "a connection is closed in order").when(&[is(1, SHUT_WR)]),
];
