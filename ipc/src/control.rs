//! Control link `gatewayd` ↔ each worker: birth, new link ends, orderly end.
//!
//! *A worker trusts gatewayd* with everything: it was started by it. *gatewayd trusts a worker* with nothing but its own
//! life: it reads small reports of a fixed form and never passes a worker's text on without cleaning it. Each message is
//! one datagram of a sequenced-packet socket, so that descriptors travel with the message that names them.
//!
//! Order: `StartWorker` once, first; then any number of `ReplaceLink`; at most one `DrainWorker`. End of file is the same order
//! as `DrainWorker`, at once. A worker reports `JailClosed` once, `StorageFull` if so, then `WorkerReady` once, `LinkViolated` whenever a peer broke
//! a rule, `LinkLost` whenever a peer let go of a link, by its death or not, `LoopTurns` every few seconds, and `RefuseSyscall` as its
//! last words. A probe
//! reports findings in place of all that, but for last words.

use std::{net::IpAddr, time::Duration};

use bincode::{Decode, Encode};
use wire::framing::FramingChoice;

use crate::{
    Role,
    codec::{self, CodecError},
    credit::Window,
    jail::{ActiveLayers, JailSpec},
    log::LogSettings,
    ports::PortRange,
    probe::{Attempt, Finding},
    trusted_network::TrustedNetwork,
};

/// What a descriptor that travels with a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Grant {
    /// A listening TCP socket for mix nodes.
    MixListener,
    /// A listening TCP socket for clients.
    ClientListener,
    /// The PEM file of the X25519 Sphinx private key, opened for reading.
    SphinxKey,
    /// The PEM file of the Ed25519 identity private key, opened for reading.
    IdentityKey,
    /// The directory of the client ledger.
    LedgerDirectory,
    /// The directory of the inboxes.
    InboxDirectory,
    /// The directory of the marks of packets seen.
    ReplayDirectory,
    /// One end of the link to that worker.
    Link(Role),
}

/// From `gatewayd`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum WorkerCommand {
    /// The first message; the descriptors come in the order of `grants`.
    StartWorker(Box<Start>),
    /// A peer was started anew; one descriptor comes along: this worker's end of the new link.
    ReplaceLink {
        /// The peer at the other end.
        peer: Role,
    },
    /// Finish what is in flight and exit.
    DrainWorker,
}

/// Everything a worker is told at birth.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Start {
    /// What each of the descriptors is.
    pub grants: Vec<Grant>,
    /// What to log, and what lines look like.
    pub log: LogSettings,
    /// How many threads to run on. Told, because looking it up would read files the jail closes.
    pub threads: u16,
    /// The jail to close.
    pub jail: JailSpec,
    /// The worker's own slice of the configuration.
    pub config: WorkerConfig,
    /// In an audit: what to try once the jail is closed, in place of serving.
    pub probe: Option<Attempt>,
}

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
    Store(StoreConfig),
}

/// What `mix-ingress` needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct IngressConfig {
    /// A frame that has begun must end within this time.
    pub half_frame: Duration,
    /// Connections at the most; further ones are closed at once and counted.
    pub max_connections: u32,
    /// Connections of one address prefix at the most; likewise.
    pub max_connections_per_prefix: u32,
    /// Packets of one connection in a row that do not unwrap, before it is closed.
    pub malformed_packets: u32,
    /// What may be delivered to `store` and not yet be answered. `store` is told the same.
    pub window: Window,
    /// What is remembered of packets seen.
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
    /// Time after which a new generation begins, if it is not full before; and for which marks are kept if there is room.
    pub period: Duration,
    /// Time for which marks are kept whatever is sent.
    pub kept_at_least: Duration,
    /// Bytes of all generations together. `store` is told the same.
    pub memory: u64,
    /// Of so many new packets, how many are taken for replays by one generation that is full: times a thousand million.
    pub false_positives_per_billion: u32,
    /// How often what is new is saved.
    pub snapshot_interval: Duration,
}

/// What `mix-egress` needs to know.
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
    /// What is known of this machine, so that no next hop is a service of it.
    pub own: OwnAddresses,
    /// Next hops that have taken packets, at the most.
    pub max_next_hops: u32,
    /// With which frame header packets leave.
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

/// What `client-edge` needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct EdgeConfig {
    /// Time limit of the websocket upgrade.
    pub websocket_upgrade: Duration,
    /// Time limit of all that comes before a registration or login that succeeds.
    pub first_request: Duration,
    /// Time limit of the second handshake message.
    pub handshake_message: Duration,
    /// A client that has not answered a barrier for this long is disconnected.
    pub receipt_timeout: Duration,
    /// A client that was sent nothing for this long gets a Ping.
    pub keepalive: Duration,
    /// Proxies that name the client for whom they connect.
    pub trusted_proxies: Vec<TrustedNetwork>,
    /// Whether clients before protocol version 3 are served.
    pub legacy_clients: bool,
    /// Whether a client's packet leaves with its key-rotation mark.
    pub rotation_marks: bool,
    /// Connections at the most; further ones are closed at once and counted.
    pub max_connections: u32,
    /// Connections of one address prefix at the most; likewise.
    pub max_connections_per_prefix: u32,
    /// Connections before authentication at the most; with a further one the oldest of them is closed and counted.
    pub max_unauthenticated: u32,
    /// Registrations begun in a minute from one address prefix at the most; further ones are refused and counted.
    pub registrations_per_minute: u32,
    /// Logins in a minute from one address prefix at the most; likewise.
    pub logins_per_minute: u32,
    /// Next hops named in a minute from one address prefix that no client has named lately; packets for further ones are
    /// dropped and counted.
    pub new_next_hops_per_minute: u32,
    /// Frames of one client in a row that are refused, before its connection is closed.
    pub malformed_frames: u32,
    /// What `store` may push to one session before the client has proved receipt. `store` is told the same.
    pub session_credit: Window,
    /// Bytes that `store` may push to all sessions together before their clients have proved receipt. `store` is told the same.
    pub pushed_bytes: u64,
    /// Bytes of clients' messages that have begun and not ended, of all connections together.
    pub half_message_bytes: u64,
    /// Bytes of clients' packets that wait for the link to `mix-egress`.
    pub packet_bytes: u64,
    /// A message of a client that is logged in must end within this time of its first byte.
    pub half_message: Duration,
}

/// What `store` needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct StoreConfig {
    /// Pushed mail that is not proved received by then is written to disk.
    pub spill_after: Duration,
    /// Messages in one inbox at the most.
    pub inbox_messages: u64,
    /// Bytes of messages in one inbox at the most.
    pub inbox_bytes: u64,
    /// A client that has proved nothing yet may have one in so many of both stored; 1: all.
    pub newcomer_share: u32,
    /// Bytes of both databases at the most; new mail and new clients are refused well before.
    pub data_bytes: u64,
    /// Messages older than this are removed.
    pub message_age: Duration,
    /// Clients not seen for this long are forgotten.
    pub client_idle: Duration,
    /// What `mix-ingress` may deliver and not yet be answered. `mix-ingress` is told the same.
    pub window: Window,
    /// Sessions that `client-edge` may have at once; more is a violation.
    pub max_sessions: u32,
    /// What may be pushed to one session before its client has proved receipt. `client-edge` is told the same.
    pub session_credit: Window,
    /// Bytes of marks of packets seen that `mix-ingress` may have kept, all generations together. It is told the same.
    pub replay_bytes: u64,
    /// Bytes that may be pushed to all sessions together before their clients have proved receipt. `client-edge` is told the same.
    pub pushed_bytes: u64,
    /// Bytes of mail that has been read from disk and is not pushed yet, for all sessions together.
    pub read_ahead_bytes: u64,
    /// Logins of one client in an hour at the most, by token and as many signed ones; further ones are refused and counted.
    pub client_logins_per_hour: u32,
}

/// From a worker.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum WorkerReport {
    /// Jailed and at work.
    WorkerReady,
    /// Could not start; the text says what happened and what to do.
    StartFailed {
        /// For the operator.
        what: String,
    },
    /// A peer broke a rule and its link was dropped: replace the peer.
    LinkViolated {
        /// Who.
        peer: Role,
        /// On which of the links to it that this worker was given, from 1: the peer may have a successor by now.
        link: u32,
        /// Which rule.
        rule: String,
    },
    /// A probe's finding; the last one counts.
    ReportFinding(Finding),
    /// The jail is closed.
    JailClosed(ActiveLayers),
    /// The worker made a system call that its policy does not list, and dies of it.
    RefuseSyscall {
        /// The number of the call on this architecture.
        number: u32,
    },
    /// A link ended at its other end: if the peer lives on, replace it.
    LinkLost {
        /// Who.
        peer: Role,
        /// As above.
        link: u32,
    },
    /// The loop through which all of the worker's traffic goes has turned.
    LoopTurns,
    /// The public key that belongs to the private key which the worker was given.
    PublicKey([u8; 32]),
    /// There is no room for new mail or for new clients at the start.
    StorageFull,
}

/// Messages that may be pushed to one session and not yet be proved received. What does not fit waits on disk, so one slow
/// client never holds up another, nor the mixnet.
const SESSION_MESSAGES: u32 = 1_024;

/// The window of one session that may be pushed so many bytes, which are the operator's to choose.
pub const fn session_credit(bytes: u64) -> Window {
    Window { messages: SESSION_MESSAGES, bytes }
}

/// Descriptors of a process that are not for connections.
const OTHER_DESCRIPTORS: u64 = 32;

/// Of so many connections as are wanted, those that are possible in a process with so many descriptors. If there are fewer, places
/// are what is short, and there is a rule for who gives way; when descriptors run out, there is none.
pub fn possible_connections(open_files: u64, wanted: u32) -> u32 {
    let available = open_files.saturating_sub(OTHER_DESCRIPTORS);
    // Those who gave way have theirs until they are gone.
    let possible = u32::try_from(available - available / 16).unwrap_or(u32::MAX).max(1);
    possible.min(wanted)
}

/// Time between two [`WorkerReport::LoopTurns`] of one worker.
pub const BEAT: Duration = Duration::from_secs(5);

/// Bytes that a [`WorkerReport::RefuseSyscall`] may take.
pub const REFUSAL_LEN: usize = 8;

/// Encodes the refusal of a system call; returns how many bytes it took. Only computes, so that it may be called where
/// memory cannot be had: in the handler of the signal that the refusal causes.
///
/// # Errors
/// Never, as [`REFUSAL_LEN`] is enough.
pub fn encode_refusal(number: u32, bytes: &mut [u8; REFUSAL_LEN]) -> Result<usize, CodecError> {
    codec::encode_into(bytes, &WorkerReport::RefuseSyscall { number })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        codec::golden::pin,
        jail::{Account, Layer, LayerSettings, Missing},
        log::LineFormat,
    };

    #[test]
    fn bytes_are_pinned() {
        pin(WorkerCommand::DrainWorker, "02");
        pin(WorkerCommand::ReplaceLink { peer: Role::Store }, "0103");
        pin(
            WorkerCommand::StartWorker(Box::new(Start {
                grants: vec![Grant::SphinxKey, Grant::Link(Role::MixEgress)],
                log: LogSettings { filter: "info".into(), format: LineFormat::Journal },
                threads: 2,
                jail: JailSpec {
                    supervisor: 7,
                    open_files: 1024,
                    layers: Some(LayerSettings {
                        account: Some(Account { uid: 8, gid: 9 }),
                        required: vec![Layer::Seccomp],
                        connect_ports: vec![10],
                    }),
                },
                config: WorkerConfig::Store(StoreConfig {
                    spill_after: Duration::from_millis(250),
                    inbox_messages: 5,
                    inbox_bytes: 6,
                    newcomer_share: 19,
                    data_bytes: 7,
                    message_age: Duration::from_secs(8),
                    client_idle: Duration::from_secs(9),
                    window: Window { messages: 10, bytes: 11 },
                    max_sessions: 14,
                    session_credit: Window { messages: 12, bytes: 13 },
                    replay_bytes: 15,
                    pushed_bytes: 16,
                    read_ahead_bytes: 17,
                    client_logins_per_hour: 18,
                }),
                probe: Some(Attempt::Wait),
            })),
            "000202070104696e666f010207fb0004010108090106010a0300fc80b2e60e05061307080009000a0b0e0c0d0f1011120100",
        );
        pin(WorkerReport::WorkerReady, "00");
        pin(WorkerReport::StartFailed { what: "x".into() }, "010178");
        pin(WorkerReport::LinkViolated { peer: Role::ClientEdge, link: 3, rule: "r".into() }, "0202030172");
        pin(WorkerReport::ReportFinding(Finding::Opened), "0301");
        let missing = vec![Missing { layer: Layer::Account, why: "w".into() }];
        pin(WorkerReport::JailClosed(ActiveLayers { active: vec![Layer::Seccomp], missing }), "04010601000177");
        pin(WorkerReport::RefuseSyscall { number: 59 }, "053b");
        pin(WorkerReport::LinkLost { peer: Role::ClientEdge, link: 3 }, "060203");
        pin(WorkerReport::LoopTurns, "07");
        pin(WorkerReport::PublicKey([9; 32]), &format!("08{}", "09".repeat(32)));
        pin(WorkerReport::StorageFull, "09");
    }

    #[test]
    fn descriptors_that_are_short_are_places_that_are_short() {
        assert_eq!(possible_connections(1_024, 20_000), 930);
        assert_eq!(possible_connections(1 << 20, 20_000), 20_000);
        assert_eq!(possible_connections(0, 20_000), 1);
    }

    #[test]
    fn the_refusal_of_any_system_call_fits() {
        for number in [0, 59, 250, 251, 435, 0x4000_0000, u32::MAX] {
            let mut bytes = [0; REFUSAL_LEN];
            let len = encode_refusal(number, &mut bytes).unwrap();
            assert_eq!(codec::decode_one(&bytes[..len]), Ok(WorkerReport::RefuseSyscall { number }));
        }
    }
}
