//! Control link `gatewayd` ↔ each worker: birth, new link ends, orderly end.
//!
//! *A worker trusts gatewayd* with everything, since `gatewayd` started it. *gatewayd trusts a worker* with nothing but the worker's
//! own life: it reads small reports of a fixed form and never passes a worker's text on without cleaning it. Each message is
//! one datagram of a sequenced-packet socket, so that descriptors travel with the message that names them.
//!
//! `gatewayd` sends `StartWorker` first and once, then any number of `ReplaceLink` and `ChangeLog` (and of `PublishFigures`, to `http-api`,
//! of `AdmitNewcomers`, to `client-edge`, and of `AskStore`, to `store`), then at most one `DrainWorker`. The end of the link means that
//! `gatewayd` is gone: the worker exits at once.
//!
//! | report | when |
//! |---|---|
//! | `JailClosed` | once |
//! | `PublicKey` | once, from a worker that was given a private key |
//! | `StorageFull` | at the start, if there is no room |
//! | `WorkerReady` or `StartFailed` | once, after these |
//! | `LoopTurns` | every few seconds |
//! | `LinkViolated` | when a peer broke a rule |
//! | `LinkLost` | when a link ended at its other end |
//! | `RefuseSyscall` | last, of a worker that dies of a forbidden system call |
//! | `ReportFinding` | from a probe, which sends none of the others but `JailClosed`, `StartFailed` and `RefuseSyscall` |

mod config;

use std::time::Duration;

use bincode::{Decode, Encode};

use crate::{
    Role,
    codec::{self, CodecError},
    http_api::NodeFigures,
    jail::{ActiveLayers, JailSpec},
    log::LogSettings,
    operator::StoreQuestion,
    probe::{Attempt, Finding},
};

pub use config::{
    EdgeConfig, EgressConfig, HttpConfig, IngressConfig, OwnAddresses, ReplayConfig, StoreConfig, WorkerConfig,
    possible_connections, session_credit,
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
    /// A listening TCP socket for readers of the gateway's description.
    HttpListener,
    /// The worker's own page of figures, to be mapped for writing.
    FiguresPage,
    /// For `http-api`: the page of another process, to be mapped for reading; of the supervisor, if no role is named.
    ReadOnlyPage(Option<Role>),
    /// A listening TCP socket for the operator's programs that read metrics.
    MetricsPort,
    /// A listening Unix socket for them.
    MetricsSocket,
}

/// What `gatewayd` tells a worker.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum WorkerCommand {
    /// The first message; the descriptors come in the order of `grants`.
    StartWorker(Box<Start>),
    /// A peer was restarted. One descriptor comes along, this worker's end of the new link.
    ReplaceLink {
        /// The worker at the other end.
        peer: Role,
    },
    /// Finish what is in flight and exit.
    DrainWorker,
    /// For `http-api`: what the gateway has done, once a minute.
    PublishFigures(NodeFigures),
    /// For `client-edge`: whether new clients are let in.
    AdmitNewcomers(bool),
    /// Log what this filter says, in the form of `RUST_LOG`.
    ChangeLog {
        /// The filter.
        filter: String,
    },
    /// For `store`: a question of the operator. One descriptor comes along, to which the answer is written.
    AskStore(StoreQuestion),
}

/// Everything a worker is told at birth.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Start {
    /// What each of the descriptors is.
    pub grants: Vec<Grant>,
    /// How to log.
    pub log: LogSettings,
    /// Threads of the runtime. To look the number up would need files that the jail closes.
    pub threads: u16,
    /// The jail to close.
    pub jail: JailSpec,
    /// The worker's slice of the configuration.
    pub config: WorkerConfig,
    /// For `client-edge`: whether new clients are let in, until `AdmitNewcomers` says otherwise.
    pub newcomers: bool,
    /// In an audit, what to try in the closed jail in place of serving.
    pub probe: Option<Attempt>,
}

/// What a worker tells `gatewayd`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum WorkerReport {
    /// Jailed and at work.
    WorkerReady,
    /// The worker could not start.
    StartFailed {
        /// What happened and what to do, for the operator.
        what: String,
    },
    /// A peer broke a rule and the link was dropped. Replace the peer.
    LinkViolated {
        /// The peer that broke the rule.
        peer: Role,
        /// Number of the link among those to this role that the worker was given, from 1. The peer may have a successor by now.
        link: u32,
        /// The text of the rule.
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
    /// A link ended at its other end. If the peer lives on, replace the peer.
    LinkLost {
        /// The worker at the other end.
        peer: Role,
        /// Number of the link, as in [`Self::LinkViolated`].
        link: u32,
    },
    /// The loop that carries all of the worker's traffic has turned.
    LoopTurns,
    /// The public key that belongs to the private key which the worker was given.
    PublicKey([u8; 32]),
    /// At the start there is no room for new mail or for new clients.
    StorageFull,
}

/// Time between two [`WorkerReport::LoopTurns`] of one worker.
pub const BEAT: Duration = Duration::from_secs(5);

/// Longest encoding of a [`WorkerReport::RefuseSyscall`], in bytes.
pub const REFUSAL_LEN: usize = 8;

/// Encodes the refusal of a system call and returns its length. Takes no memory, so that the handler of the signal that the refusal
/// causes may call it.
///
/// # Errors
/// Never, as [`REFUSAL_LEN`] is enough.
pub fn encode_refusal(number: u32, bytes: &mut [u8; REFUSAL_LEN]) -> Result<usize, CodecError> {
    codec::encode_into(bytes, &WorkerReport::RefuseSyscall { number })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credit::Window;
    use crate::{
        codec::golden::pin,
        jail::{Account, Layer, LayerSettings, Missing},
        log::LineFormat,
    };

    #[test]
    fn bytes_are_pinned() {
        pin(WorkerCommand::DrainWorker, "02");
        pin(WorkerCommand::ReplaceLink { peer: Role::Store }, "0103");
        pin(WorkerCommand::PublishFigures(NodeFigures::default()), "0300000000");
        pin(WorkerCommand::AdmitNewcomers(false), "0400");
        pin(WorkerCommand::ChangeLog { filter: "info".into() }, "0504696e666f");
        pin(WorkerCommand::AskStore(StoreQuestion::CountClients), "0600");
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
                config: WorkerConfig::Store {
                    config: StoreConfig {
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
                    },
                    announce: None,
                },
                newcomers: true,
                probe: Some(Attempt::Wait),
            })),
            "000202070104696e666f010207fb0004010108090106010a0300fc80b2e60e05061307080009000a0b0e0c0d0f10111200010100",
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
    fn the_refusal_of_any_system_call_fits() {
        for number in [0, 59, 250, 251, 435, 0x4000_0000, u32::MAX] {
            let mut bytes = [0; REFUSAL_LEN];
            let len = encode_refusal(number, &mut bytes).unwrap();
            assert_eq!(codec::decode_one(&bytes[..len]), Ok(WorkerReport::RefuseSyscall { number }));
        }
    }
}
