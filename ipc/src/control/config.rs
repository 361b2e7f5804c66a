//! What the control link says of the configuration: each worker's slice, with nothing that the worker does not need.

use std::{net::IpAddr, time::Duration};

use bincode::{Decode, Encode};
use wire::framing::FramingChoice;

use crate::{
    credit::Window,
    http_api::{Description, HostFacts},
    ports::PortRange,
    trusted_network::TrustedNetwork,
};

/// A worker's slice of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum WorkerConfig {
    /// For `mix-ingress`.
    MixIngress(IngressConfig),
    /// For `mix-egress`.
    MixEgress(EgressConfig),
    /// For `client-edge`.
    ClientEdge(EdgeConfig),
    /// For `store`.
    Store {
        /// How it stores.
        config: StoreConfig,
        /// What to sign as host information; none if the gateway is not described to today's network.
        announce: Option<HostFacts>,
    },
    /// For `http-api`.
    HttpApi(HttpConfig),
}

/// Settings of `mix-ingress`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct IngressConfig {
    /// A frame that has begun must end within this time.
    pub half_frame: Duration,
    /// Connections at the most; further ones are closed at once and counted.
    pub max_connections: u32,
    /// Connections of one address prefix at the most; further ones are closed at once and counted.
    pub max_connections_per_prefix: u32,
    /// Packets of one connection in a row that do not unwrap, before it is closed.
    pub malformed_packets: u32,
    /// Deliveries to `store` that may be unanswered. The same value as in [`StoreConfig`].
    pub window: Window,
    /// How packets seen are remembered.
    pub replay: ReplayConfig,
    /// Bytes of mix frames that have begun and not ended, of all connections together.
    pub half_frame_bytes: u64,
    /// Bytes of SURB-acks that wait for the link to `mix-egress`.
    pub ack_bytes: u64,
}

/// How packets seen are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ReplayConfig {
    /// Packets after which a generation of marks is full.
    pub packets_per_generation: u32,
    /// Age at which a generation is followed by a new one, full or not. Marks are kept for this long if there is room.
    pub period: Duration,
    /// Marks are kept for at least this long, however many packets come.
    pub kept_at_least: Duration,
    /// Bytes of all generations together. The same value as `replay_bytes` of [`StoreConfig`].
    pub memory: u64,
    /// False-positive rate of one full generation, in parts per billion.
    pub false_positives_per_billion: u32,
    /// Time between two saves of new marks.
    pub snapshot_interval: Duration,
}

/// Settings of `mix-egress`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct EgressConfig {
    /// Time limit of one attempt to connect.
    pub connect_timeout: Duration,
    /// Wait after the first failed attempt; doubles each time. A next hop that has worked before is tried a few times sooner.
    pub initial_backoff: Duration,
    /// Longest wait between attempts.
    pub maximum_backoff: Duration,
    /// Packets that wait for one next hop at the most.
    pub queue_packets: u32,
    /// Whether next hops in private and loopback networks are allowed.
    pub allow_private: bool,
    /// Ports of next hops that are allowed.
    pub ports: Vec<PortRange>,
    /// Addresses and ports of this machine, so that no next hop is a service of the machine.
    pub own: OwnAddresses,
    /// Next hops that have taken packets, at the most.
    pub max_next_hops: u32,
    /// The frame header with which packets leave.
    #[bincode(with_serde)]
    pub framing: FramingChoice,
    /// Bytes of packets that wait for all next hops together.
    pub queued_bytes: u64,
}

/// The gateway's own machine, as a next hop.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct OwnAddresses {
    /// Addresses of the machine. Loopback addresses are its own without being named here.
    pub addresses: Vec<IpAddr>,
    /// Ports at which the gateway takes Sphinx packets: a SURB-ack may name the gateway itself.
    pub mix_ports: Vec<u16>,
    /// Other ports at which the gateway listens.
    pub other_ports: Vec<u16>,
}

/// Settings of `client-edge`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct EdgeConfig {
    /// Time limit of the websocket upgrade.
    pub websocket_upgrade: Duration,
    /// Time limit from the upgrade to a successful registration or login.
    pub first_request: Duration,
    /// Time limit of the second handshake message.
    pub handshake_message: Duration,
    /// A client that has not answered a barrier for this long is disconnected.
    pub receipt_timeout: Duration,
    /// A client that was sent nothing for this long gets a Ping.
    pub keepalive: Duration,
    /// Proxies whose statement of the client's address is believed.
    pub trusted_proxies: Vec<TrustedNetwork>,
    /// Whether clients before protocol version 3 are served.
    pub legacy_clients: bool,
    /// Whether a client's packet leaves with its key-rotation mark.
    pub rotation_marks: bool,
    /// Connections at the most; further ones are closed at once and counted.
    pub max_connections: u32,
    /// Connections of one address prefix at the most; further ones are closed at once and counted.
    pub max_connections_per_prefix: u32,
    /// Connections before authentication at the most; with a further one the oldest of them is closed and counted.
    pub max_unauthenticated: u32,
    /// Registrations begun in a minute from one address prefix at the most; further ones are refused and counted.
    pub registrations_per_minute: u32,
    /// Logins in a minute from one address prefix at the most; further ones are refused and counted.
    pub logins_per_minute: u32,
    /// Next hops named in a minute from one address prefix that no client has named lately; packets for further ones are
    /// dropped and counted.
    pub new_next_hops_per_minute: u32,
    /// Frames of one client in a row that are refused, before its connection is closed.
    pub malformed_frames: u32,
    /// Mail that `store` may push to one session before the client has proved receipt. The same value as in [`StoreConfig`].
    pub session_credit: Window,
    /// Bytes that `store` may push to all sessions together before their clients have proved receipt. The same value as in
    /// [`StoreConfig`].
    pub pushed_bytes: u64,
    /// Bytes of clients' messages that have begun and not ended, of all connections together.
    pub half_message_bytes: u64,
    /// Bytes of clients' packets that wait for the link to `mix-egress`.
    pub packet_bytes: u64,
    /// A message of a client that is logged in must end within this time of its first byte.
    pub half_message: Duration,
}

/// Settings of `store`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct StoreConfig {
    /// Pushed mail that is not proved received by then is written to disk.
    pub spill_after: Duration,
    /// Messages in one inbox at the most.
    pub inbox_messages: u64,
    /// Bytes of messages in one inbox at the most.
    pub inbox_bytes: u64,
    /// Divisor of both limits for a client that has proved no receipt yet; 1 gives such a client the full limits.
    pub newcomer_share: u32,
    /// Bytes of both databases at the most; new mail and new clients are refused well before.
    pub data_bytes: u64,
    /// Messages older than this are removed.
    pub message_age: Duration,
    /// Clients not seen for this long are forgotten.
    pub client_idle: Duration,
    /// Deliveries of `mix-ingress` that may be unanswered. The same value as in [`IngressConfig`].
    pub window: Window,
    /// Sessions that `client-edge` may have at once; more is a violation.
    pub max_sessions: u32,
    /// Mail that may be pushed to one session before its client has proved receipt. The same value as in [`EdgeConfig`].
    pub session_credit: Window,
    /// Bytes of marks of packets seen, of all generations together. The same value as `memory` of [`ReplayConfig`].
    pub replay_bytes: u64,
    /// Bytes that may be pushed to all sessions together before their clients have proved receipt. The same value as in
    /// [`EdgeConfig`].
    pub pushed_bytes: u64,
    /// Bytes of mail read from disk and not yet pushed, of all sessions together.
    pub read_ahead_bytes: u64,
    /// Logins of one client in an hour at the most, by token and as many signed ones; further ones are refused and counted.
    pub client_logins_per_hour: u32,
}

/// Settings of `http-api`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct HttpConfig {
    /// What it says about the gateway.
    pub description: Description,
    /// Connections at the most; further ones are closed at once and counted.
    pub max_connections: u32,
    /// Connections of one address prefix at the most; further ones are closed at once and counted.
    pub max_connections_per_prefix: u32,
    /// A request must be complete within this time of the connection, or of the answer before it; the answer must be taken within the
    /// same time.
    pub request: Duration,
    /// Requests of one connection at the most; it is closed after the last.
    pub requests_per_connection: u32,
    /// Who may read metrics at a port, beside this machine.
    pub metrics_allow: Vec<TrustedNetwork>,
}

/// Messages that may be pushed to one session before receipt is proved. Further messages wait on disk, so that one slow client holds
/// up neither another client nor the mixnet.
const SESSION_MESSAGES: u32 = 1_024;

/// The window of one session, with the number of bytes that the operator has chosen.
pub const fn session_credit(bytes: u64) -> Window {
    Window { messages: SESSION_MESSAGES, bytes }
}

/// Descriptors of a process that are not for connections.
const OTHER_DESCRIPTORS: u64 = 32;

/// The limit of connections, lowered to what `open_files` descriptors allow. At a limit of connections there is a rule for which one
/// is evicted; when descriptors run out there is none.
pub fn possible_connections(open_files: u64, wanted: u32) -> u32 {
    let available = open_files.saturating_sub(OTHER_DESCRIPTORS);
    // An evicted connection keeps its descriptor until it is closed.
    let possible = u32::try_from(available - available / 16).unwrap_or(u32::MAX).max(1);
    possible.min(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_that_are_short_are_places_that_are_short() {
        assert_eq!(possible_connections(1_024, 20_000), 930);
        assert_eq!(possible_connections(1 << 20, 20_000), 20_000);
        assert_eq!(possible_connections(0, 20_000), 1);
    }
}
