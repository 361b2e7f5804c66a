//! Every limit of the process, each with its default.
//!
//! The first four are the keys of the same meaning in the `[debug]` section of nym-gateway 0.10.1, with its defaults.

use std::time::Duration;

use proto::{
    ipc::{
        control::{self, OwnAddresses},
        ports::PortRange,
    },
    wire::framing::FramingChoice,
};

/// Limits on how packets leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressConfig {
    /// Time limit of one attempt to connect (0.10.1: `initial_connection_timeout`).
    pub connect_timeout: Duration,
    /// Wait after the first failed attempt; it doubles with each further one (`packet_forwarding_initial_backoff`). A next
    /// hop that has worked before is tried a few times sooner.
    pub initial_backoff: Duration,
    /// Longest wait between attempts (`packet_forwarding_maximum_backoff`).
    pub maximum_backoff: Duration,
    /// Packets that wait for one next hop at the most (`maximum_connection_buffer_size`); their bytes are bounded as well. Packets that are being written,
    /// or are the reason for an attempt to connect, are not waiting.
    pub queue_packets: usize,
    /// Whether next hops in private, shared, link-local and loopback networks are allowed.
    pub allow_private: bool,
    /// Ports of next hops that are allowed.
    pub ports: Vec<PortRange>,
    /// What is known of this machine.
    pub own: OwnAddresses,
    /// Next hops that have taken packets, at the most; a quarter as many may be connecting for the first time beside them.
    /// While one gives its place to another, its socket may still be closing.
    pub max_next_hops: usize,
    /// With which frame header packets leave.
    pub framing: FramingChoice,
    /// Bytes of packets held for all next hops together, at the most.
    pub max_queued_bytes: usize,
    /// A connection on which nothing was sent for this long is closed.
    pub idle_limit: Duration,
    /// A next hop must take a whole packet within this time, else its connection is dropped.
    pub write_timeout: Duration,
}

impl Default for EgressConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_millis(1_500),
            initial_backoff: Duration::from_secs(10),
            maximum_backoff: Duration::from_secs(300),
            queue_packets: 2_000,
            allow_private: false,
            ports: vec![PortRange { first: 1024, last: u16::MAX }],
            own: OwnAddresses::default(),
            max_next_hops: 1_024,
            framing: FramingChoice::AsGiven,
            max_queued_bytes: 64 << 20,
            idle_limit: Duration::from_secs(600),
            write_timeout: Duration::from_secs(30),
        }
    }
}

/// The limits that the operator may choose; the others keep their defaults.
impl From<control::EgressConfig> for EgressConfig {
    fn from(chosen: control::EgressConfig) -> Self {
        let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        Self {
            connect_timeout: chosen.connect_timeout,
            initial_backoff: chosen.initial_backoff,
            maximum_backoff: chosen.maximum_backoff,
            queue_packets: size(chosen.queue_packets),
            allow_private: chosen.allow_private,
            ports: chosen.ports,
            own: chosen.own,
            max_next_hops: size(chosen.max_next_hops),
            framing: chosen.framing,
            max_queued_bytes: usize::try_from(chosen.queued_bytes).unwrap_or(usize::MAX),
            ..Self::default()
        }
    }
}
