//! What most figures begin with: a new gateway, and a mix node that takes the SURB-acks.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use harness::{
    account::Account,
    connection::Connection,
    counters,
    gateway::{Gateway, IPV4, WORKERS},
    home::Home,
    packet::PacketMaker,
};
use nix::sys::signal::Signal;
use tokio::task::JoinSet;

use crate::{
    Era,
    acks::AckCollector,
    load::{self, Load},
};

/// Handshakes at the same time.
pub(crate) const PARALLEL: usize = 16;

/// Few enough that a next hop's queue holds all of their acks while its connection is being opened.
const WARM_UP: usize = 50;

/// After the last message and the last ack, what the gateway still writes is part of the price.
const SETTLE: Duration = Duration::from_secs(1);

/// A running gateway and its neighbour.
pub(crate) struct Rig {
    /// The gateway.
    pub(crate) gateway: Arc<Gateway>,
    /// Where SURB-acks go.
    pub(crate) acks: AckCollector,
    /// Who uses them.
    pub(crate) era: Era,
}

impl Rig {
    /// Starts both.
    ///
    /// # Errors
    /// If the gateway does not start.
    pub(crate) async fn start(era: Era) -> Result<Self> {
        Self::start_with(era, &[]).await
    }

    /// Starts both, the gateway with further flags for `run`.
    ///
    /// # Errors
    /// If the gateway does not start.
    pub(crate) async fn start_with(era: Era, flags: &[&str]) -> Result<Self> {
        Self::around(era, Gateway::start_in(Home::init(IPV4).await?, flags).await?).await
    }

    /// Starts the neighbour of a gateway that runs.
    ///
    /// # Errors
    /// If it does not start.
    pub(crate) async fn around(era: Era, gateway: Gateway) -> Result<Self> {
        Ok(Self { gateway: Arc::new(gateway), acks: AckCollector::start().await?, era })
    }

    /// Makes packets whose acks come back here.
    pub(crate) fn maker(&self) -> PacketMaker {
        // These acks are never opened; any point will do as a key.
        PacketMaker { gateway: self.gateway.sphinx, ack_hop: self.acks.address, ack_key: self.gateway.sphinx }
    }

    /// Builds packets for these clients in turn.
    ///
    /// # Errors
    /// If a packet cannot be built.
    pub(crate) fn load(&self, to: &[&Account], count: usize) -> Result<Load> {
        let to: Vec<_> = to.iter().map(|account| account.address()).collect();
        Load::build(self.era, self.maker(), &to, count)
    }

    /// An online client, with the connection to the mix node already open: what happens once is not measured.
    ///
    /// # Errors
    /// If the gateway refuses, or mail or acks do not come.
    pub(crate) async fn online_client(&self) -> Result<(Account, Connection)> {
        let (account, mut connection) = self.era.register(&self.gateway).await?;
        let load = self.load(&[&account], WARM_UP)?;
        let (_, writers) = load.prepare(self.gateway.mix, 1).await?.start();
        load::finish(writers).await?;
        let mail = load::Mail::take(&mut connection, WARM_UP).await;
        self.acks.wait_for(WARM_UP).await;
        let mut faults = mail.faults(&account, &load.packets)?;
        faults.append(&mut self.acks.faults(&load.packets));
        ensure!(faults.is_empty(), "the gateway does not work: {faults:?}");
        self.acks.clear();
        Ok((account, connection))
    }

    /// Registers `count` new clients, several at a time, all of whom stay connected.
    ///
    /// # Errors
    /// If the gateway refuses one.
    pub(crate) async fn register(&self, count: usize) -> Result<Vec<(Account, Connection)>> {
        let mut workers = JoinSet::new();
        for worker in 0..PARALLEL.min(count) {
            let (era, gateway) = (self.era, self.gateway.clone());
            let share = (worker..count).step_by(PARALLEL).count();
            workers.spawn(async move {
                let mut clients = Vec::new();
                for _ in 0..share {
                    clients.push(era.register(&gateway).await?);
                }
                anyhow::Ok(clients)
            });
        }
        let mut clients = Vec::new();
        while let Some(some) = workers.join_next().await {
            clients.append(&mut some??);
        }
        Ok(clients)
    }

    /// Registers `count` new clients who then go away.
    ///
    /// # Errors
    /// If the gateway refuses one, or does not let it go.
    pub(crate) async fn offline_clients(&self, count: usize) -> Result<Vec<Account>> {
        let mut accounts = Vec::new();
        for (account, connection) in self.register(count).await? {
            leave(connection).await?;
            accounts.push(account);
        }
        Ok(accounts)
    }

    /// Ends the gateway; if something went wrong, its counters are added to the last of that: they say
    /// what it dropped, and where.
    ///
    /// # Errors
    /// If it does not end.
    pub(crate) async fn end(self, faults: &mut [String]) -> Result<()> {
        let mut gateway = Arc::into_inner(self.gateway).context("the gateway is still in use")?;
        gateway.stop(Signal::SIGTERM).await?;
        if let Some(last) = faults.last_mut() {
            let lines = gateway.log().lines();
            let counted = WORKERS.iter().filter_map(|worker| counters::last_line(&lines, worker));
            last.extend(counted.flat_map(|line| ["\n   ", line.as_str()]));
        }
        Ok(())
    }

    /// Waits until the gateway has nothing left to do.
    pub(crate) async fn settle(&self) {
        tokio::time::sleep(SETTLE).await;
    }
}

/// Closes a client's connection and waits until the gateway has.
///
/// # Errors
/// If it does not.
pub(crate) async fn leave(mut connection: Connection) -> Result<()> {
    connection.send_close().await?;
    connection.wait_for_end().await?;
    Ok(())
}
