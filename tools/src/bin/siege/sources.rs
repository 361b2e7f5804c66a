//! Where everybody comes from: each party has a block of addresses, and the gateway is reached over IPv4 and, in a namespace, over
//! IPv6.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use harness::{
    account::{Account, Identity},
    addrs::Addrs,
    client::Client,
    connection::Connection,
    era::Era,
    source,
};
use tokio::net::TcpStream;

/// How the gateway is reached.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    /// Over IPv4.
    pub(crate) v4: Addrs,
    /// Over IPv6, if that is possible.
    pub(crate) v6: Option<Addrs>,
    /// The gateway's public identity key.
    pub(crate) identity: [u8; 32],
    /// Its public Sphinx key.
    pub(crate) sphinx: [u8; 32],
}

impl Target {
    /// The addresses of the gateway for a peer at this address.
    pub(crate) fn seen_from(&self, source: IpAddr) -> Addrs {
        match source {
            IpAddr::V6(_) => self.v6.unwrap_or(self.v4),
            IpAddr::V4(_) => self.v4,
        }
    }

    /// Connects to the mixnet port.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub(crate) async fn mix(&self, source: IpAddr) -> Result<TcpStream> {
        source::connect(source, self.seen_from(source).mix).await
    }

    /// Connects to the clients' port.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub(crate) async fn clients(&self, source: IpAddr) -> Result<TcpStream> {
        source::connect(source, self.seen_from(source).clients).await
    }

    /// Opens a websocket.
    ///
    /// # Errors
    /// If the gateway refuses.
    pub(crate) async fn websocket(&self, source: IpAddr) -> Result<Connection> {
        Connection::upgrade(self.clients(source).await?).await
    }

    /// Registers a new client.
    ///
    /// # Errors
    /// If the gateway refuses.
    pub(crate) async fn register(&self, source: IpAddr, era: Era, identity: &Identity) -> Result<Client<Account>> {
        Client::register_on(self.websocket(source).await?, era, identity, &self.identity).await
    }
}

/// The addresses of one party. No two are in one prefix that counts as one customer (IPv4: /24, IPv6: /64).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Block {
    /// Its number, from 1 to 254.
    pub(crate) party: u8,
    /// Whether every second address is one of IPv6.
    pub(crate) has_v6: bool,
}

impl Block {
    /// Its address of this number.
    pub(crate) fn address(self, number: u16) -> IpAddr {
        let [high, low] = number.to_be_bytes();
        if self.has_v6 && number % 2 == 1 {
            // Four customers in each /62, hundreds in each /48.
            return Ipv6Addr::new(0xfd00, self.party.into(), high.into(), low.into(), 0, 0, 0, 1).into();
        }
        Ipv4Addr::new(127, self.party, low, high.saturating_add(1)).into()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_number_has_an_address_of_its_own() {
        for has_v6 in [false, true] {
            let block = Block { party: 7, has_v6 };
            let all: BTreeSet<_> = (0..2_000).map(|number| block.address(number)).collect();
            assert_eq!(all.len(), 2_000);
            assert_eq!(all.iter().any(IpAddr::is_ipv6), has_v6);
            assert!(all.iter().filter(|address| address.is_ipv4()).all(IpAddr::is_loopback));
        }
    }
}
