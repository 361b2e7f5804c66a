//! Landlock: which files, ports and processes the process can name at all.
//!
//! Three rulesets on top of each other instead of one, so that each is known to hold or not to hold: kernels have learnt
//! files first (5.13), then ports (6.7), then scopes (6.12). Each takes the best that the kernel offers of its kind.

use std::{os::fd::BorrowedFd, path::Path};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, NetPort, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

use crate::{policy::Network, step::Why};

/// The newest version that the library knows; rights that the kernel does not know are left out.
const NEWEST: ABI = ABI::V10;

/// What may be done below a directory that was given: plain files and directories, nothing that is executed or special.
const BELOW: [AccessFs; 8] = [
    AccessFs::ReadFile,
    AccessFs::ReadDir,
    AccessFs::WriteFile,
    AccessFs::Truncate,
    AccessFs::MakeReg,
    AccessFs::MakeDir,
    AccessFs::RemoveFile,
    AccessFs::RemoveDir,
];

/// No file but those below `directories`.
pub(crate) fn files(directories: &[BorrowedFd<'_>]) -> Result<(), Why> {
    let below = BELOW.into_iter().fold(BitFlags::EMPTY, |all, access| all | access);
    enforce("5.13", || {
        let rules = directories.iter().map(|directory| Ok::<_, RulesetError>(PathBeneath::new(directory, below)));
        Ruleset::default().handle_access(AccessFs::from_all(NEWEST))?.create()?.add_rules(rules)
    })
}

/// What the lookup of an address by name reads: its configuration, its libraries, and the sockets of name services.
const NAMES: [&str; 12] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/ld.so.cache",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/run/nscd",
    "/run/systemd/resolve",
];

/// The port of name servers, for answers that are too long for a datagram.
const DOMAIN: u16 = 53;

/// No file but those by which addresses are found, and those files only to read.
pub(crate) fn names() -> Result<(), Why> {
    enforce("5.13", || {
        let rules = NAMES.iter().filter_map(|path| {
            // A path that does not exist on this machine is not needed on it.
            let opened = PathFd::new(path).ok()?;
            let access = match Path::new(path).is_dir() {
                true => AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::ResolveUnix,
                false => AccessFs::ReadFile.into(),
            };
            Some(Ok::<_, RulesetError>(PathBeneath::new(opened, access)))
        });
        Ruleset::default().handle_access(AccessFs::from_all(NEWEST))?.create()?.add_rules(rules)
    })
}

/// No TCP port to bind, and no port to connect to but `ports` and that of name servers.
pub(crate) fn destinations(ports: &[u16]) -> Result<(), Why> {
    enforce("6.7", || {
        let rules = ports.iter().chain([&DOMAIN]).map(|port| Ok(NetPort::new(*port, AccessNet::ConnectTcp)));
        Ruleset::default().handle_access(AccessNet::BindTcp | AccessNet::ConnectTcp)?.create()?.add_rules(rules)
    })
}

/// No TCP port to bind. A role that accepts connects to no port. A role that connects may connect to the ports in `connect_to`, or to
/// any port if `connect_to` is empty.
pub(crate) fn ports(network: Network, connect_to: &[u16]) -> Result<(), Why> {
    let (denied, allowed) = match network {
        Network::Accepts => (AccessNet::from_all(NEWEST), [].as_slice()),
        Network::Connects if connect_to.is_empty() => (AccessNet::BindTcp.into(), [].as_slice()),
        Network::Connects => (AccessNet::BindTcp | AccessNet::ConnectTcp, connect_to),
    };
    enforce("6.7", || {
        let rules = allowed.iter().map(|port| Ok::<_, RulesetError>(NetPort::new(*port, AccessNet::ConnectTcp)));
        Ruleset::default().handle_access(denied)?.create()?.add_rules(rules)
    })
}

/// No signal to a process outside, and no abstract Unix socket of one.
pub(crate) fn scopes() -> Result<(), Why> {
    enforce("6.12", || Ruleset::default().scope(Scope::from_all(NEWEST))?.create())
}

fn enforce(since: &str, ruleset: impl FnOnce() -> Result<RulesetCreated, RulesetError>) -> Result<(), Why> {
    let remedy = format!("it takes Linux {since} with Landlock enabled (`landlock` in /sys/kernel/security/lsm)");
    match ruleset().and_then(RulesetCreated::restrict_self) {
        Ok(status) if status.ruleset != RulesetStatus::NotEnforced => Ok(()),
        Ok(_) => Err(Why::new("the kernel does not offer it", &remedy)),
        Err(error) => Err(Why::new(error, &remedy)),
    }
}
