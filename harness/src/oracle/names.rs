//! How clients, connections and SURB-acks are named.

/// The number of a client.
pub type Inbox = usize;

/// A mix node's connection, within which packets stay in order.
pub type Stream = u64;

/// A connection over which SURB-acks come: each `mix-egress` opens one.
pub type Link = u64;

/// How a SURB-ack is recognised: the public key at its beginning is unique.
pub(super) type AckMark = [u8; 48];
