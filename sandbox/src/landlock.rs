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

/// The newest that the library knows; what the kernel does not know of it is left out.
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

/// What it takes to find an address by its name: how this machine does it, the libraries for that, the sockets of who does it.
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

/// Name servers, when an answer is too long for a datagram.
const DOMAIN: u16 = 53;

/// No file but those by which addresses are found, and these only to read.
pub(crate) fn names() -> Result<(), Why> {
    enforce("5.13", || {
        let rules = NAMES.iter().filter_map(|path| {
            // What is not there is not needed.
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

/// No TCP port to bind, and only these to connect to, beside that of name servers.
pub(crate) fn destinations(ports: &[u16]) -> Result<(), Why> {
    enforce("6.7", || {
        let rules = ports.iter().chain([&DOMAIN]).map(|port| Ok(NetPort::new(*port, AccessNet::ConnectTcp)));
        Ruleset::default().handle_access(AccessNet::BindTcp | AccessNet::ConnectTcp)?.create()?.add_rules(rules)
    })
}

/// No port to bind; none to connect to either, unless that is the role's job. Where `connect_to` names ports, the role
/// connects to no others.
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
