//! Weaknesses that a test puts into the jail of one role, each as small as one rule, by putting `weak_jail` in the place of its program.
//!
//! The program reads which ones in the file beside it, before its jail closes. The jail is that of the real program, made by the
//! same function; there is nothing in the real programs by which it could be made otherwise.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use ipc::Role;
use nix::libc;
use sandbox::policy::{Network, Policy, Rule, Verdict};

use crate::home::Home;

/// The file beside the program that names the weaknesses.
const FILE: &str = "weaknesses";

/// A rule that the jail has too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weakness {
    /// seccomp: sockets for TCP, as `mix-egress` makes them.
    Socket,
    /// seccomp: such a socket may be connected.
    Connect,
    /// seccomp: a socket may listen.
    Listen,
    /// seccomp: Unix sockets.
    UnixSocket,
    /// Landlock's rules for ports are those of `mix-egress`, and the network is the machine's.
    Network,
    /// seccomp: files may be opened.
    OpenFile,
    /// Landlock: one directory, where everybody may write.
    SharedMemory,
    /// Landlock: the gateway's folder.
    GatewayFolder,
    /// seccomp: memory may be mapped with any protection.
    ExecutableMemory,
    /// seccomp: `clone` with any flags.
    Fork,
    /// seccomp: signals.
    Kill,
    /// seccomp: the process group of another process.
    LookAt,
    /// seccomp: the processors of another process.
    Affinity,
    /// seccomp: every clock, those of other processes too.
    Clock,
    /// seccomp: every operation on locks.
    Lock,
}

const WEAKNESSES: [Weakness; 15] = [
    Weakness::Socket,
    Weakness::Connect,
    Weakness::Listen,
    Weakness::UnixSocket,
    Weakness::Network,
    Weakness::OpenFile,
    Weakness::SharedMemory,
    Weakness::GatewayFolder,
    Weakness::ExecutableMemory,
    Weakness::Fork,
    Weakness::Kill,
    Weakness::LookAt,
    Weakness::Affinity,
    Weakness::Clock,
    Weakness::Lock,
];

/// Has `role` started with these weaknesses from now on.
///
/// # Errors
/// If its program cannot be replaced.
pub fn give(home: Home, role: &str, weaknesses: &[Weakness]) -> Result<Home> {
    let home = home.with_impostor(role, "weak_jail")?;
    let names: Vec<String> = weaknesses.iter().map(|weakness| format!("{weakness:?}")).collect();
    fs::write(home.root().join("bin").join(FILE), names.join(" "))?;
    Ok(home)
}

/// The weaknesses for the program in this folder.
///
/// # Errors
/// If there are none.
pub fn read(folder: &Path) -> Result<Vec<Weakness>> {
    let names = fs::read_to_string(folder.join(FILE))?;
    let find = |name: &str| WEAKNESSES.into_iter().find(|weakness| format!("{weakness:?}") == name);
    names.split_whitespace().map(|name| find(name).with_context(|| format!("no weakness: {name}"))).collect()
}

impl Weakness {
    /// The policy of `role` with these weaknesses.
    ///
    /// # Errors
    /// If a rule is not where it was.
    pub fn all_in(role: Role, weaknesses: &[Self]) -> Result<&'static Policy> {
        let policy = Policy::of(role);
        let mut own = policy.own.to_vec();
        for weakness in weaknesses {
            own.extend(weakness.rules()?);
        }
        let network = if weaknesses.contains(&Self::Network) { Network::Connects } else { policy.network };
        Ok(Box::leak(Box::new(Policy { own: own.leak(), network, ..*policy })))
    }

    /// The directory that it opens.
    pub fn directory(self, gateway: &Path) -> Option<PathBuf> {
        match self {
            Self::SharedMemory => Some("/dev/shm".into()),
            Self::GatewayFolder => Some(gateway.to_owned()),
            _ => None,
        }
    }

    fn rules(self) -> Result<Vec<Rule>> {
        Ok(match self {
            Self::Socket => of_egress(libc::SYS_socket)?,
            Self::Connect => of_egress(libc::SYS_connect)?,
            Self::Listen => vec![allow(libc::SYS_listen)?],
            Self::UnixSocket => {
                // As the rule for the socketpairs of the runtime says it: a stream, of this family.
                let pairs = Policy::of(Role::Store).rules().find(|rule| rule.number == libc::SYS_socketpair);
                let mut rule = *pairs.context("no rule for socketpairs")?;
                rule.number = libc::SYS_socket;
                vec![rule]
            }
            Self::OpenFile => vec![allow(libc::SYS_openat)?],
            Self::ExecutableMemory => vec![allow(libc::SYS_mmap)?],
            Self::Fork => vec![allow(libc::SYS_clone)?],
            Self::Kill => vec![allow(libc::SYS_kill)?],
            Self::LookAt => vec![allow(libc::SYS_getpgid)?],
            Self::Affinity => vec![allow(libc::SYS_sched_getaffinity)?],
            Self::Clock => vec![allow(libc::SYS_clock_gettime)?],
            Self::Lock => vec![allow(libc::SYS_futex)?],
            Self::Network | Self::SharedMemory | Self::GatewayFolder => Vec::new(),
        })
    }
}

/// A rule that asks for nothing.
fn allow(number: i64) -> Result<Rule> {
    let rules = Policy::of(Role::Store).rules();
    let mut rule = *rules.into_iter().find(|rule| rule.verdict == Verdict::Allow).context("a policy without rules")?;
    (rule.number, rule.arguments) = (number, &[]);
    Ok(rule)
}

fn of_egress(number: i64) -> Result<Vec<Rule>> {
    let rules: Vec<Rule> = Policy::of(Role::MixEgress).rules().filter(|rule| rule.number == number).copied().collect();
    if rules.is_empty() {
        bail!("mix-egress has no rule for call {number}");
    }
    Ok(rules)
}
