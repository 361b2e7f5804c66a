//! The eras that are measured: the oldest and the newest that the gateway serves. Senders and clients are those of the tests.

use std::fmt;

use anyhow::Result;
use bytes::Bytes;
use harness::{
    account::{Account, Identity, now},
    client::{Client, Sealing},
    connection::Connection,
    era,
    gateway::Gateway,
    mixnode::FRAMING_2021,
    packet::{FinalHopPacket, PacketMaker},
    packet_today::PacketMakerToday,
};
use wire::{address::ClientAddress, framing::Framing, packet::PacketSize};

/// The wire version of Sphinx that today's network speaks.
const SPHINX_TODAY: u16 = 259;

/// A network: its clients, and the nodes that carry their packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Era {
    /// The network of 2021.
    Of2021,
    /// Today's.
    Today,
}

impl fmt::Display for Era {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Of2021 => "2021",
            Self::Today => "today",
        })
    }
}

impl Era {
    /// Oldest first.
    pub(crate) const ALL: [Self; 2] = [Self::Of2021, Self::Today];

    const fn of_clients(self) -> era::Era {
        match self {
            Self::Of2021 => era::Era::Of2021,
            Self::Today => era::Era::TODAY,
        }
    }

    /// How its nodes frame packets.
    pub(crate) const fn framing(self) -> Framing {
        match self {
            Self::Of2021 => FRAMING_2021,
            Self::Today => Framing::V7,
        }
    }

    /// A regular packet as its senders make it.
    ///
    /// # Errors
    /// If the Sphinx library refuses.
    pub(crate) fn packet(self, maker: PacketMaker, to: ClientAddress) -> Result<FinalHopPacket> {
        match self {
            Self::Of2021 => maker.make(to, PacketSize::Regular),
            Self::Today => PacketMakerToday::like(maker, SPHINX_TODAY).make(to, PacketSize::Regular),
        }
    }

    /// A new client, registered and connected.
    ///
    /// # Errors
    /// If the gateway refuses.
    pub(crate) async fn register(self, gateway: &Gateway) -> Result<(Account, Connection)> {
        let client =
            Client::register_in(self.of_clients(), &Identity::random(), gateway.clients, &gateway.identity).await?;
        Ok((client.credentials, client.connection))
    }

    /// A login. Today's carry the time in seconds, and no account of the bench logs in twice in one.
    ///
    /// # Errors
    /// If the account is of another era.
    pub(crate) fn login_text(self, account: &Account) -> Result<String> {
        match self {
            Self::Of2021 => Ok(account.login_text()),
            Self::Today => Ok(account.signed_login(now())?.to_request().to_string()),
        }
    }

    /// Connects and logs in.
    ///
    /// # Errors
    /// If the gateway refuses.
    pub(crate) async fn log_in(self, account: &Account, gateway: &Gateway) -> Result<Connection> {
        let mut connection = Connection::open(gateway.clients).await?;
        connection.send_text(self.login_text(account)?).await?;
        account.expect_yes(&connection.next_text().await?)?;
        Ok(connection)
    }
}

/// Messages in pushed frames.
///
/// # Errors
/// If the account's key does not fit its era. A frame that does not open is no message.
pub(crate) fn open_all(account: &Account, frames: &[Bytes]) -> Result<Vec<Option<Bytes>>> {
    let session = account.session()?;
    Ok(frames.iter().map(|frame| session.open_push(frame.clone()).ok()).collect())
}
