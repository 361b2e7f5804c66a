//! What commands ask a running supervisor, and what it answers: on the admin socket, in the frames of the links.
//!
//! *Trusts*: the supervisor trusts root and its own account, whose processes alone may connect, to ask questions and nothing else. A
//! command trusts the supervisor that holds the gateway's lock. One question comes at a time, and each has one answer. All of it is private to
//! one build, but for what `upgrade-binary` asks.

use bincode::{Decode, Encode};
use ipc::{
    Role,
    log::LogLevel,
    operator::{StoreAnswer, StoreQuestion},
};
use serde::Serialize;

use crate::{
    audit::wire::{AuditAnswer, AuditQuestion},
    config::SettingInForce,
};

/// The name of the admin socket in the runtime directory.
pub const SOCKET: &str = "admin.sock";

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum AdminQuestion {
    /// Of `upgrade-binary`, which may be of another build. The text is JSON (`handover::wire`), and this variant is the first forever.
    Upgrade(String),
    /// Of an audit.
    Audit(AuditQuestion),
    /// An order.
    Order(Order),
    /// The figures of all processes.
    Figures,
    /// For `store`.
    Store(StoreQuestion),
    /// Begin a backup. If it begins, [`Self::TakeBackup`] follows.
    BackUp,
    /// Hand the stream of the backup over: the answer is one byte, with a descriptor.
    TakeBackup,
}

/// The numbers of all pages of figures. What they mean is compiled into both sides.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct FiguresAnswer {
    /// The supervisor's [`layout`](figures::page::layout).
    pub layout: u64,
    /// The numbers of each page, in the order of [`Page::ALL`](figures::Page::ALL).
    pub pages: Vec<Vec<u64>>,
}

/// What the supervisor is to do. It does one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Order {
    /// Whether new clients are let in. Those that are connected stay.
    AdmitNewcomers(bool),
    /// Change what is logged for a time.
    ChangeLog {
        /// The worker, or none for the supervisor.
        of: Option<Role>,
        /// Its level.
        level: LogLevel,
        /// The time, in seconds.
        seconds: u32,
    },
    /// Show the configuration that is in force.
    ShowConfig,
    /// Read the configuration again and take it over.
    Reload {
        /// Only say what would happen.
        dry_run: bool,
    },
}

/// The configuration that is in force.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
pub struct ConfigInForce {
    /// The file that was read.
    pub file: String,
    /// Its settings.
    pub settings: Vec<SettingInForce>,
}

/// What became of a changed configuration.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ReloadAnswer {
    /// It is in force, or would be.
    Done(ReloadReport),
    /// It is wrong: all that is wrong with it. The old one stays in force.
    Wrong(String),
    /// It changes these settings, which only a start can change. The old one stays in force.
    NeedsStart(Vec<String>),
    /// A worker did not start with it, and why. The old one is in force again.
    Undone(String),
}

/// What has changed with a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize)]
pub struct ReloadReport {
    /// The settings that have changed, each with both values.
    pub changed: Vec<String>,
    /// The workers that were replaced for it.
    #[serde(serialize_with = "names")]
    pub replaced: Vec<Role>,
    /// Settings that have changed and matter at a start only.
    pub at_next_start: Vec<String>,
    /// What in the file is not as meant, and changes nothing.
    pub doubtful: Vec<String>,
}

fn names<S: serde::Serializer>(roles: &[Role], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(roles.iter().map(|role| role.name()))
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum AdminAnswer {
    /// To [`AdminQuestion::Upgrade`], as JSON. A command of another build understands this one and the next five, so their order is the same
    /// forever.
    Upgrade(String),
    /// `store` is being restarted, or answers too many others.
    StoreAway,
    /// Another command does this already; only one at a time can.
    Busy,
    /// The gateway is ending, and does nothing else any more.
    Ending,
    /// The order was not carried out in time. It may be later.
    Late,
    /// The account that asked is neither root nor the account of the gateway.
    Stranger,
    /// To [`AdminQuestion::Audit`].
    Audit(AuditAnswer),
    /// To [`AdminQuestion::Order`] or [`AdminQuestion::BackUp`]: it was carried out, or has begun.
    Done,
    /// To [`Order::ShowConfig`].
    Config(ConfigInForce),
    /// To [`Order::Reload`].
    Reload(ReloadAnswer),
    /// To [`AdminQuestion::Figures`].
    Figures(FiguresAnswer),
    /// To [`AdminQuestion::Store`].
    Store(StoreAnswer),
    /// The programs of an upgrade are watched for so many seconds more, and nothing is changed meanwhile.
    OnProbation(u64),
}
