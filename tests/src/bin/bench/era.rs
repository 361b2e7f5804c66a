//! What differs between the networks whose clients the gateway serves.

use std::fmt;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use proto::{
    address::ClientAddress,
    wire::{
        client::{control::GatewayResponse, frame},
        framing::Framing,
        packet::PacketSize,
    },
};
use tests::{
    client::{Client, Credentials},
    connection::Connection,
    gateway::Gateway,
    mixnode::FRAMING_2021,
    packet::{FinalHopPacket, PacketMaker},
};

/// A network: its clients, and the nodes that carry their packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Era {
    /// The network of 2021.
    Of2021,
}

impl fmt::Display for Era {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Of2021 => "2021",
        })
    }
}

impl Era {
    /// Oldest first.
    pub(crate) const ALL: [Self; 1] = [Self::Of2021];

    /// How its nodes frame packets.
    pub(crate) const fn framing(self) -> Framing {
        match self {
            Self::Of2021 => FRAMING_2021,
        }
    }

    /// A regular packet as its senders make it.
    ///
    /// # Errors
    /// If the Sphinx library refuses.
    pub(crate) fn packet(self, maker: &PacketMaker, to: ClientAddress) -> Result<FinalHopPacket> {
        match self {
            Self::Of2021 => maker.make(to, PacketSize::Regular),
        }
    }

    /// Somebody new, registered and connected.
    ///
    /// # Errors
    /// If the gateway refuses.
    pub(crate) async fn register(self, gateway: &Gateway) -> Result<(Account, Connection)> {
        match self {
            Self::Of2021 => {
                let client = Client::register(gateway.clients, &gateway.identity).await?;
                Ok((Account::Of2021(client.credentials), client.connection))
            }
        }
    }
}

/// A client that the gateway knows.
#[derive(Debug, Clone)]
pub(crate) enum Account {
    /// Its key is AES and HMAC.
    Of2021(Credentials),
}

impl Account {
    /// Where its mail goes.
    pub(crate) fn address(&self) -> ClientAddress {
        match self {
            Self::Of2021(credentials) => credentials.address(),
        }
    }

    /// A login that has not been used before.
    pub(crate) fn login_text(&self) -> String {
        match self {
            Self::Of2021(credentials) => credentials.login_text(),
        }
    }

    /// Checks the answer to a login.
    ///
    /// # Errors
    /// If it is no.
    pub(crate) fn expect_yes(&self, answer: &str) -> Result<()> {
        let yes = match self {
            Self::Of2021(_) => answer == GatewayResponse::Authenticate { status: true }.to_string(),
        };
        ensure!(yes, "the gateway refused a login: {answer}");
        Ok(())
    }

    /// Connects and logs in.
    ///
    /// # Errors
    /// If the gateway refuses.
    pub(crate) async fn log_in(&self, gateway: &Gateway) -> Result<Connection> {
        let mut connection = Connection::open(gateway.clients).await?;
        connection.send_text(self.login_text()).await?;
        self.expect_yes(&connection.next_text().await?)?;
        Ok(connection)
    }

    /// The message in a pushed frame.
    ///
    /// # Errors
    /// If it was not sealed for this client.
    pub(crate) fn open(&self, sealed: Bytes) -> Result<Vec<u8>> {
        match self {
            Self::Of2021(credentials) => {
                Ok(frame::open(&credentials.key, sealed).context("a pushed frame does not open")?.to_vec())
            }
        }
    }
}
