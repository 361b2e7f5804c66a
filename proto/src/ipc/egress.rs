//! Links `mix-ingress` → `mix-egress` (SURB-acks) and `client-edge` → `mix-egress` (clients' packets): one way, one message.
//!
//! *mix-egress trusts its peers* for nothing: the next hop is checked against its policy, whoever asks. *They trust it*
//! for nothing either: the mixnet is lossy by design, and a packet that is lost is sent again by the one who made it. So
//! the sender never waits: what does not fit is dropped and counted.

use std::net::SocketAddr;

use bincode::{Decode, Encode};

use crate::{ipc::Opaque, wire::framing::FrameHeader};

/// Send this Sphinx packet to that mix node.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SendPacket {
    /// Where to.
    pub next_hop: SocketAddr,
    /// The frame header to put in front.
    pub header: FrameHeader,
    /// The Sphinx packet; its length is the one the header's size says.
    pub packet: Opaque,
}
