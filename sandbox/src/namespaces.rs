//! Which network the process sees: none, unless its role is to connect to others.
//!
//! Sockets that were made elsewhere keep their network: a role that accepts connections goes on doing so. One that it
//! made itself would lead nowhere.
//!
//! Root simply leaves. Anybody else has to enter a user namespace first, in which no account of the machine has a number, so
//! that there is nobody to become; the capabilities that come with it are given up in the steps that follow.

use nix::sched::{CloneFlags, unshare};

use crate::step::Why;

const REMEDY: &str = "start gatewayd as root, or allow user and network namespaces (sysctl user.max_user_namespaces and \
                      user.max_net_namespaces; kernel.apparmor_restrict_unprivileged_userns on Ubuntu)";

/// Into a network with no interface. Whoever is to change to another account stays where that account has a number.
pub(crate) fn leave_network(changes_account: bool) -> Result<(), Why> {
    let mut flags = CloneFlags::CLONE_NEWNET;
    if !changes_account && !nix::unistd::geteuid().is_root() {
        flags |= CloneFlags::CLONE_NEWUSER;
    }
    unshare(flags).map_err(|error| Why::new(error, REMEDY))
}

/// For a role that keeps its network: what it takes to empty the bounding set. Whether it worked is seen there.
pub(crate) fn gain_capabilities(changes_account: bool) {
    if !changes_account && !nix::unistd::geteuid().is_root() {
        let _ = unshare(CloneFlags::CLONE_NEWUSER);
    }
}
