//! Which network the process sees: none, unless its role is to connect to others.
//!
//! A socket keeps the network in which it was made. So a role goes on accepting on the listener that it was given, and a socket
//! that the role makes itself leads nowhere.
//!
//! Root leaves the network directly. Any other account must enter a user namespace first. No account of the machine has a number
//! in that namespace, so there is no account to change to. The capabilities that come with the namespace are given up in the steps
//! that follow.

use nix::sched::{CloneFlags, unshare};

use crate::step::Why;

const REMEDY: &str = "start gatewayd as root, or allow user and network namespaces (sysctl user.max_user_namespaces and \
                      user.max_net_namespaces; kernel.apparmor_restrict_unprivileged_userns on Ubuntu)";

/// Enters a network with no interface. A process that is to change its account enters no user namespace: there the account would have
/// no number.
pub(crate) fn leave_network(changes_account: bool) -> Result<(), Why> {
    let mut flags = CloneFlags::CLONE_NEWNET;
    if !changes_account && !nix::unistd::geteuid().is_root() {
        flags |= CloneFlags::CLONE_NEWUSER;
    }
    unshare(flags).map_err(|error| Why::new(error, REMEDY))
}

/// For a role that keeps its network: gains the capability that emptying the bounding set takes. A failure shows in that step.
pub(crate) fn gain_capabilities(changes_account: bool) {
    if !changes_account && !nix::unistd::geteuid().is_root() {
        let _ = unshare(CloneFlags::CLONE_NEWUSER);
    }
}
