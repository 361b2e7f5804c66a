//! The accounts that may own what a privileged process uses, and what root makes for them.

use std::{fs, io, os::fd::AsFd};

use nix::{
    errno::Errno,
    fcntl::AtFlags,
    sys::stat::fstat,
    unistd::{Gid, Uid, User, fchownat, getegid, geteuid},
};

/// The account of `systemd/gatewayd@.service`. Its supervisor may change accounts, so it is trusted like root.
const UNIT_ACCOUNT: &str = "gatewayd";

/// The accounts that may own what a privileged process uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trusted {
    pub(super) users: Vec<u32>,
    pub(super) groups: Vec<u32>,
}

impl Trusted {
    pub(super) fn of_this_process() -> Self {
        let mut trusted = Self { users: vec![0, geteuid().as_raw()], groups: vec![0, getegid().as_raw()] };
        // An entry that cannot be read counts as none.
        if let Some(unit) = User::from_name(UNIT_ACCOUNT).ok().flatten().filter(|_| geteuid().is_root()) {
            trusted.users.push(unit.uid.as_raw());
            trusted.groups.push(unit.gid.as_raw());
        }
        trusted.users.extend(stranger_of_namespace());
        trusted
    }

    /// Whether this user is trusted.
    pub(crate) fn has(&self, user: u32) -> bool {
        self.users.contains(&user)
    }

    pub(super) fn has_group(&self, group: u32) -> bool {
        self.groups.contains(&group)
    }
}

/// In a user namespace, the number that stands for all accounts outside of it. Files of these accounts cannot be given away from here.
fn stranger_of_namespace() -> Option<u32> {
    let map = fs::read_to_string("/proc/self/uid_map").ok()?;
    let is_whole = map.split_whitespace().eq(["0", "0", "4294967295"]);
    (!is_whole).then(|| fs::read_to_string("/proc/sys/kernel/overflowuid").ok()?.trim().parse().ok()).flatten()
}

/// Gives what root has created in `folder` to the owner of the folder.
///
/// # Errors
/// If the kernel refuses.
pub(crate) fn hand_on(made: impl AsFd, folder: impl AsFd) -> io::Result<()> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let stat = fstat(folder)?;
    let (user, group) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    if user.is_root() {
        return Ok(());
    }
    match fchownat(made, c"", Some(user), Some(group), AtFlags::AT_EMPTY_PATH) {
        // The owner is outside of this user namespace.
        Ok(()) | Err(Errno::EINVAL) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
