//! A network of the run's own: loopback alone, with as many IPv6 prefixes as the attackers want.

use std::{fs, process::Command};

use anyhow::{Context, Result, ensure};
use nix::{
    sched::{CloneFlags, unshare},
    unistd::geteuid,
};

/// Addresses below this one lead back to this machine.
const PREFIXES: &str = "fd00::/16";
/// A socket may then have an address that no interface has.
const ANY_SOURCE: &str = "/proc/sys/net/ipv6/ip_nonlocal_bind";

/// Where the run takes place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Network {
    /// In a namespace of its own.
    Own,
    /// On the machine's loopback addresses, for this reason.
    Shared(&'static str),
}

impl Network {
    /// Moves this process into a network namespace of its own, if it may. No other thread may run yet.
    ///
    /// # Errors
    /// If the namespace cannot be made usable.
    pub(crate) fn enter() -> Result<Self> {
        if !geteuid().is_root() {
            return Ok(Self::Shared("takes root to make a network namespace"));
        }
        if Command::new("ip").arg("-V").output().is_err() {
            return Ok(Self::Shared("takes the program ip, of iproute2, to make a network namespace"));
        }
        if unshare(CloneFlags::CLONE_NEWNET).is_err() {
            return Ok(Self::Shared("takes the right to make a network namespace"));
        }
        ip(&["link", "set", "lo", "up"])?;
        ip(&["-6", "route", "add", "local", PREFIXES, "dev", "lo"])?;
        fs::write(ANY_SOURCE, "1").with_context(|| format!("cannot write {ANY_SOURCE}"))?;
        Ok(Self::Own)
    }
}

fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(arguments).output().context("cannot run ip")?;
    ensure!(output.status.success(), "ip {arguments:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
