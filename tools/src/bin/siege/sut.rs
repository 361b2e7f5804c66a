//! The system under test: a gateway with the limits that `init` writes, but for fewer seats and less room on disk, and its addresses.

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result};
use harness::{
    addrs::Addrs,
    gateway::Gateway,
    home::Home,
    log_oracle::{Injected, LogOracle},
};
use nix::sys::{
    resource::{Resource, getrlimit, setrlimit},
    signal::Signal,
};

use crate::{namespace::Network, sources::Target};

/// The gateway, and where it is reached.
pub(crate) struct Sut {
    /// The gateway.
    pub(crate) gateway: Gateway,
    /// How strangers and friends reach it.
    pub(crate) target: Target,
    log_oracle: LogOracle,
}

/// What a gateway that has ended leaves behind.
pub(crate) struct Remains {
    /// What its processes counted, by process.
    pub(crate) counters: BTreeMap<String, BTreeMap<String, u64>>,
    /// What its log should not say.
    pub(crate) strange: Vec<String>,
}

impl Sut {
    /// Five processes of 12 MiB that have nothing to do, two generations of marks in mix-ingress, and the page cache and buffers of
    /// the store's engine.
    const BASE: u64 = (5 * 12 + 60 + 48) << 20;
    /// The seats of one run: a tenth of the default, in the same proportions, because the default takes more descriptors than a
    /// process of an ordinary machine may have.
    const SEATS: [(&'static str, &'static str); 5] = [
        ("max_mix_connections", "2000"),
        ("max_mix_connections_per_prefix", "51"),
        ("max_client_connections", "2000"),
        ("max_client_connections_per_prefix", "51"),
        ("max_unauthenticated_clients", "200"),
    ];

    /// Bytes on disk for each second of the run, so few that an attacker can fill them before its end, and so many that the ledger has room
    /// for all accounts that can be made in it; and the least that there may be.
    const DISK: u64 = 1 << 20;
    const LEAST_DISK: u64 = 64 << 20;

    /// Starts it for a run that lasts so long.
    ///
    /// # Errors
    /// If it does not start.
    pub(crate) async fn start(network: &Network, lasts: Duration) -> Result<Self> {
        let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, most, most).context("cannot raise the limit on open files")?;
        let is_own = *network == Network::Own;
        let ip = if is_own { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::LOCALHOST) };
        let home = Home::empty()?.with_defaults(ip).await?;
        // The mix nodes of the run are on loopback.
        home.set_config("egress", "allow_private", "true")?;
        for (key, value) in Self::SEATS {
            home.set_config("limits", key, value)?;
        }
        let disk = (lasts.as_secs() * Self::DISK).max(Self::LEAST_DISK);
        home.set_config("limits", "data_bytes", &disk.to_string())?;
        let gateway = Gateway::start_in(home, &[]).await?;
        let at = |ip: IpAddr| Addrs {
            mix: SocketAddr::new(ip, gateway.mix.port()),
            clients: SocketAddr::new(ip, gateway.clients.port()),
        };
        let target = Target {
            v4: at(Ipv4Addr::LOCALHOST.into()),
            v6: is_own.then(|| at(Ipv6Addr::LOCALHOST.into())),
            identity: gateway.identity,
            sphinx: gateway.sphinx,
        };
        Ok(Self { gateway, target, log_oracle: LogOracle::default() })
    }

    /// What all its processes may take together, in KiB: what the gateway is told to spend on others, and what it needs in any
    /// case.
    ///
    /// # Errors
    /// If the configuration does not say.
    pub(crate) fn memory_budget(&self) -> Result<u64> {
        let told = self.gateway.home.configured_number("limits", "memory")?;
        Ok((told.context("[limits] has no memory")? + Self::BASE) >> 10)
    }

    /// Bytes that its ledger takes on disk.
    pub(crate) fn ledger_bytes(&self) -> u64 {
        bytes_below(&self.gateway.home.data().join("client_ledger.sled"))
    }

    /// Ends it.
    ///
    /// # Errors
    /// If it does not end.
    pub(crate) async fn end(mut self) -> Result<Remains> {
        let status = self.gateway.stop(Signal::SIGTERM).await?;
        if status.code() != Some(0) {
            self.log_oracle.note(format!("after SIGTERM the gateway ended with {status}"));
        }
        self.log_oracle.look(self.gateway.log(), Injected::Nothing);
        let strange = self.log_oracle.strange().to_vec();
        Ok(Remains { counters: self.log_oracle.counters(), strange })
    }
}

/// What the files of a folder take on disk. Files that vanish meanwhile take nothing.
fn bytes_below(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let size = |path: &Path| match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => bytes_below(path),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.map(|entry| size(&entry.path())).sum()
}
