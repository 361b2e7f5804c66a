//! What most tests begin with: a gateway, and a mix node that is connected to it.

use std::net::IpAddr;

use anyhow::Result;
use wire::{address::ClientAddress, packet::PacketSize};

use crate::{
    client::{Client, Identity},
    connection::Connection,
    gateway::{Gateway, IPV4},
    mixnode::{MixNode, MixSender},
    packet::{FinalHopPacket, PacketMaker},
};

/// A gateway and its neighbour.
#[derive(Debug)]
pub struct Scene {
    /// The gateway.
    pub gateway: Gateway,
    /// Where SURB-acks and forwarded packets go.
    pub mixnode: MixNode,
    /// The mix node's connection to the gateway.
    pub sender: MixSender,
}

impl Scene {
    /// Everything on the IPv4 loopback address.
    ///
    /// # Errors
    /// If something does not start.
    pub async fn start() -> Result<Self> {
        Self::start_on(IPV4).await
    }

    /// Everything on this address.
    ///
    /// # Errors
    /// If something does not start.
    pub async fn start_on(ip: IpAddr) -> Result<Self> {
        Self::around(Gateway::start_on(ip).await?, ip).await
    }

    /// A neighbour for this gateway.
    ///
    /// # Errors
    /// If they do not come together.
    pub async fn around(gateway: Gateway, ip: IpAddr) -> Result<Self> {
        let mixnode = MixNode::start(ip).await?;
        let sender = MixSender::connect(gateway.mix).await?;
        Ok(Self { gateway, mixnode, sender })
    }

    /// Starts the gateway again after it was stopped or killed, and connects the mix node to it.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn start_again(&mut self) -> Result<()> {
        self.gateway.start_again().await?;
        self.sender = MixSender::connect(self.gateway.mix).await?;
        Ok(())
    }

    /// A new client, registered and connected.
    ///
    /// # Errors
    /// If the gateway refuses.
    pub async fn client(&self) -> Result<Client> {
        Client::register(self.gateway.clients, &self.gateway.identity).await
    }

    /// The client with this identity, registered (again) and connected.
    ///
    /// # Errors
    /// If the gateway refuses.
    pub async fn client_as(&self, identity: &Identity) -> Result<Client> {
        Client::register_as(identity, self.gateway.clients, &self.gateway.identity).await
    }

    /// A websocket to the gateway, without a session.
    ///
    /// # Errors
    /// If it does not open.
    pub async fn connection(&self) -> Result<Connection> {
        Connection::open(self.gateway.clients).await
    }

    /// Makes packets whose SURB-acks go to the mix node.
    pub fn packets(&self) -> PacketMaker {
        self.mixnode.packet_maker(self.gateway.sphinx)
    }

    /// Makes and sends one packet.
    ///
    /// # Errors
    /// If the connection is broken.
    pub async fn send(&mut self, to: ClientAddress, size: PacketSize) -> Result<FinalHopPacket> {
        let packet = self.packets().make(to, size)?;
        self.sender.send(&packet).await?;
        Ok(packet)
    }

    /// Makes and sends `count` regular packets.
    ///
    /// # Errors
    /// If the connection is broken.
    pub async fn send_many(&mut self, to: ClientAddress, count: usize) -> Result<Vec<FinalHopPacket>> {
        let packets = self.packets().make_many(to, count)?;
        self.sender.send_all(&packets).await?;
        Ok(packets)
    }
}
