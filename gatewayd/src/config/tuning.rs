//! The sections that tune the gateway, each with a default for every key.

use std::{num::NonZeroU32, num::NonZeroU64, time::Duration};

use ipc::{control::ReplayConfig, jail::Layer, ports::PortRange};
use serde::{Deserialize, Deserializer};
use wire::framing::FramingChoice;

use super::values::{
    Probability, data_size, duration, duration_of_0_10, framing, layers, memory, ports, positive_duration,
    positive_duration_of_0_10, size,
};

/// The keys of [`DebugSection`], and further keys of 0.10.1, which have no effect in this gateway.
pub(super) const DEBUG_KEYS: [&str; 8] = [
    "packet_forwarding_initial_backoff",
    "packet_forwarding_maximum_backoff",
    "initial_connection_timeout",
    "maximum_connection_buffer_size",
    "presence_sending_delay",
    "stored_messages_filename_length",
    "message_retrieval_limit",
    "cache_entry_ttl",
];

/// The default of 0.10.1. With it, one client with 200 packets in flight lost some of them.
const DEFAULT_BUFFER_OF_0_10: u32 = 128;

/// As many packets as the mix nodes of today buffer for a next hop.
const DEFAULT_BUFFER: NonZeroU32 = const { NonZeroU32::new(2_000).unwrap() };

/// The operator of a file with the default of 0.10.1 has not chosen it, so that our default is used.
fn buffer_of_0_10<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NonZeroU32, D::Error> {
    let buffer = NonZeroU32::deserialize(deserializer)?;
    Ok(if buffer.get() == DEFAULT_BUFFER_OF_0_10 { DEFAULT_BUFFER } else { buffer })
}

/// `[debug]`: how the gateway connects to next hops. `init` never writes this section, as in 0.10.1.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct DebugSection {
    /// The pause before the second attempt to connect. It doubles with each attempt.
    #[serde(deserialize_with = "duration_of_0_10")]
    pub packet_forwarding_initial_backoff: Duration,
    /// The longest pause between two attempts.
    #[serde(deserialize_with = "duration_of_0_10")]
    pub packet_forwarding_maximum_backoff: Duration,
    /// How long one attempt to connect may take.
    #[serde(deserialize_with = "positive_duration_of_0_10")]
    pub initial_connection_timeout: Duration,
    /// Packets buffered per next hop, within the bytes that [`MemoryBudgets`](super::memory::MemoryBudgets) gives to all of them.
    #[serde(deserialize_with = "buffer_of_0_10")]
    pub maximum_connection_buffer_size: NonZeroU32,
}

impl Default for DebugSection {
    fn default() -> Self {
        Self {
            packet_forwarding_initial_backoff: Duration::from_secs(10),
            packet_forwarding_maximum_backoff: Duration::from_secs(300),
            initial_connection_timeout: Duration::from_millis(1500),
            maximum_connection_buffer_size: DEFAULT_BUFFER,
        }
    }
}

/// `[delivery]`: messages on their way to clients.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeliverySection {
    /// After this long without proof of receipt, a pushed message is written to disk.
    #[serde(deserialize_with = "duration")]
    pub spill_after: Duration,
    /// After this long without proof of receipt, the client is disconnected.
    #[serde(deserialize_with = "positive_duration")]
    pub receipt_timeout: Duration,
}

impl Default for DeliverySection {
    fn default() -> Self {
        Self { spill_after: Duration::from_millis(250), receipt_timeout: Duration::from_secs(30) }
    }
}

/// `[timeouts]`: how long others may keep the gateway waiting.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TimeoutsSection {
    /// From a client's TCP connection to its complete websocket request.
    #[serde(deserialize_with = "positive_duration")]
    pub websocket_upgrade: Duration,
    /// From then to the beginning of a registration or login that succeeds.
    #[serde(deserialize_with = "positive_duration")]
    pub first_request: Duration,
    /// Between two messages of a registration.
    #[serde(deserialize_with = "positive_duration")]
    pub handshake_message: Duration,
    /// From the first byte of a Sphinx packet to its last.
    #[serde(deserialize_with = "positive_duration")]
    pub half_frame: Duration,
    /// From the first byte of a message of a client that is logged in to its last.
    #[serde(deserialize_with = "positive_duration")]
    pub half_message: Duration,
    /// From the last message to a client to a Ping.
    #[serde(deserialize_with = "positive_duration")]
    pub keepalive: Duration,
}

impl Default for TimeoutsSection {
    fn default() -> Self {
        Self {
            websocket_upgrade: Duration::from_secs(5),
            first_request: Duration::from_secs(10),
            handshake_message: Duration::from_secs(5),
            half_frame: Duration::from_secs(30),
            half_message: Duration::from_secs(30),
            keepalive: Duration::from_secs(25),
        }
    }
}

/// `[egress]`: sending into the mixnet.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EgressSection {
    /// Whether packets may go to private addresses. Without the key, as in every file of 0.10.1, see
    /// [`Config::allow_private`](super::Config::allow_private).
    pub allow_private: Option<bool>,
    /// Ports to which packets may go.
    #[serde(deserialize_with = "ports")]
    pub ports: Vec<PortRange>,
    /// How many new next hops clients of one address prefix may name in a minute.
    pub new_next_hops_per_minute: NonZeroU32,
    /// How many next hops that have taken packets may be connected at once.
    pub max_next_hops: NonZeroU32,
    /// The frame header of packets that are sent.
    #[serde(deserialize_with = "framing")]
    pub framing: FramingChoice,
    /// Whether a client's packet is sent with its key-rotation mark, if the client has given one.
    pub rotation_marks: bool,
}

impl Default for EgressSection {
    fn default() -> Self {
        Self {
            allow_private: None,
            ports: vec![PortRange { first: 1024, last: u16::MAX }],
            new_next_hops_per_minute: const { NonZeroU32::new(600).unwrap() },
            max_next_hops: const { NonZeroU32::new(4096).unwrap() },
            framing: FramingChoice::AsGiven,
            rotation_marks: false,
        }
    }
}

/// `[protocol]`: the protocols of clients.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProtocolSection {
    /// Whether clients before protocol version 3 (October 2024) are served.
    pub legacy_clients: bool,
}

impl Default for ProtocolSection {
    fn default() -> Self {
        Self { legacy_clients: true }
    }
}

/// `[replay]`: how packets that were seen are remembered.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReplaySection {
    /// Packets in one generation of marks.
    pub packets_per_generation: NonZeroU32,
    /// After this time a new generation begins, even if the present one is not full. Marks are kept for the same time again, if there
    /// is room.
    #[serde(deserialize_with = "positive_duration")]
    pub period: Duration,
    /// Marks are kept at least for this time.
    #[serde(deserialize_with = "positive_duration")]
    pub kept_at_least: Duration,
    /// Bytes for generations of marks, in memory and again on disk.
    #[serde(deserialize_with = "size")]
    pub memory: NonZeroU64,
    /// How often one full generation may take a new packet for a replay.
    pub false_positive_rate: Probability,
    /// How often new marks are saved.
    #[serde(deserialize_with = "positive_duration")]
    pub snapshot_interval: Duration,
}

impl ReplaySection {
    /// The same settings for `mix-ingress`.
    pub fn of_worker(&self) -> ReplayConfig {
        ReplayConfig {
            packets_per_generation: self.packets_per_generation.get(),
            period: self.period,
            kept_at_least: self.kept_at_least,
            memory: self.memory.get(),
            false_positives_per_billion: self.false_positive_rate.in_a_billion(),
            snapshot_interval: self.snapshot_interval,
        }
    }
}

impl Default for ReplaySection {
    fn default() -> Self {
        Self {
            packets_per_generation: const { NonZeroU32::new(10_000_000).unwrap() },
            period: Duration::from_hours(24),
            // Ten generations of 37 MB are enough to accept 25,000 packets each second for ever.
            kept_at_least: Duration::from_hours(1),
            memory: const { NonZeroU64::new(352 << 20).unwrap() },
            false_positive_rate: Probability::per_billion(10_000),
            snapshot_interval: Duration::from_mins(1),
        }
    }
}

/// The shortest time for which messages are kept, unless `short_retention` allows less.
pub(super) const SHORTEST_MESSAGE_AGE: Duration = Duration::from_hours(1);

/// The shortest time for which clients are kept, unless `short_retention` allows less.
pub(super) const SHORTEST_CLIENT_IDLE: Duration = Duration::from_hours(24);

/// `[limits]`: how much one gateway carries.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsSection {
    /// Messages stored per client.
    pub inbox_messages: NonZeroU64,
    /// Bytes stored per client.
    #[serde(deserialize_with = "size")]
    pub inbox_bytes: NonZeroU64,
    /// The fraction of both for a client that has proved no receipt yet. It doubles as the client reads. 1 means everything.
    pub newcomer_share: NonZeroU32,
    /// Bytes of ledger and mail together, in files. New mail and new clients are refused before that. At least 64 MiB.
    #[serde(deserialize_with = "data_size")]
    pub data_bytes: NonZeroU64,
    /// Messages older than this are removed.
    #[serde(deserialize_with = "positive_duration")]
    pub message_age: Duration,
    /// Clients that have not connected for this time are removed, and their mail with them.
    #[serde(deserialize_with = "positive_duration")]
    pub client_idle: Duration,
    /// Whether the two times above may be shorter than [`SHORTEST_MESSAGE_AGE`] and [`SHORTEST_CLIENT_IDLE`].
    pub short_retention: bool,
    /// Connections on the mixnet port at once.
    pub max_mix_connections: NonZeroU32,
    /// Connections on the clients port at once.
    pub max_client_connections: NonZeroU32,
    /// Connections on the mixnet port from one address prefix.
    pub max_mix_connections_per_prefix: NonZeroU32,
    /// Connections on the clients port from one address prefix.
    pub max_client_connections_per_prefix: NonZeroU32,
    /// Connections on the clients port before authentication.
    pub max_unauthenticated_clients: NonZeroU32,
    /// Registrations begun in a minute from one address prefix.
    pub registrations_per_minute: NonZeroU32,
    /// Logins in a minute from one address prefix.
    pub logins_per_minute: NonZeroU32,
    /// Logins of one client in an hour: so many by token, and as many signed ones.
    pub client_logins_per_hour: NonZeroU32,
    /// Packets of one mixnet connection in a row that do not unwrap, before it is closed.
    pub malformed_mix_packets: NonZeroU32,
    /// Frames of one client in a row that are refused, before its connection is closed.
    pub malformed_client_frames: NonZeroU32,
    /// Bytes sent to one client without proof of receipt. Further mail for it waits on disk.
    #[serde(deserialize_with = "size")]
    pub client_buffer: NonZeroU64,
    /// Messages on their way from the mixnet port to the store. When so many are on their way, nothing is read from the mixnet.
    pub packets_in_flight: NonZeroU32,
    /// Bytes of those messages.
    #[serde(deserialize_with = "size")]
    pub bytes_in_flight: NonZeroU64,
    /// Memory for what others make the gateway hold, in all processes together; see [`super::MemoryBudgets`].
    #[serde(deserialize_with = "memory")]
    pub memory: NonZeroU64,
}

impl Default for LimitsSection {
    fn default() -> Self {
        Self {
            inbox_messages: const { NonZeroU64::new(50_000).unwrap() },
            inbox_bytes: const { NonZeroU64::new(128 << 20).unwrap() },
            newcomer_share: const { NonZeroU32::new(64).unwrap() },
            data_bytes: const { NonZeroU64::new(10 << 30).unwrap() },
            message_age: Duration::from_secs(30 * 86_400),
            client_idle: Duration::from_secs(180 * 86_400),
            short_retention: false,
            max_mix_connections: const { NonZeroU32::new(20_000).unwrap() },
            max_client_connections: const { NonZeroU32::new(20_000).unwrap() },
            max_mix_connections_per_prefix: const { NonZeroU32::new(512).unwrap() },
            max_client_connections_per_prefix: const { NonZeroU32::new(512).unwrap() },
            max_unauthenticated_clients: const { NonZeroU32::new(2_000).unwrap() },
            registrations_per_minute: const { NonZeroU32::new(30).unwrap() },
            // More than twice the connections from one prefix, because all of them may have to log in again at once.
            logins_per_minute: const { NonZeroU32::new(1_200).unwrap() },
            client_logins_per_hour: const { NonZeroU32::new(120).unwrap() },
            malformed_mix_packets: const { NonZeroU32::new(1_000).unwrap() },
            malformed_client_frames: const { NonZeroU32::new(100).unwrap() },
            client_buffer: const { NonZeroU64::new(1 << 20).unwrap() },
            // Rate times latency: 25,000 packets a second, each waiting 250 ms for a receipt and then for a commit.
            packets_in_flight: const { NonZeroU32::new(8_000).unwrap() },
            bytes_in_flight: const { NonZeroU64::new(20 << 20).unwrap() },
            // Twelve times the default of `bytes_in_flight`, so that its share does not lower that.
            memory: const { NonZeroU64::new(240 << 20).unwrap() },
        }
    }
}

/// `[sandbox]`: the workers' jail.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SandboxSection {
    /// Layers without which the gateway does not start.
    #[serde(deserialize_with = "layers")]
    pub require: Vec<Layer>,
    /// The first of six numbers, for workers and `validator-query` if the machine has no account of their fixed name.
    pub first_account: NonZeroU32,
}

impl Default for SandboxSection {
    fn default() -> Self {
        Self { require: vec![Layer::Seccomp], first_account: const { NonZeroU32::new(1_879_048_192).unwrap() } }
    }
}
