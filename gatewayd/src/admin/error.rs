//! Why a command is not answered by a running gateway.

use std::{io, path::PathBuf, time::Duration};

use nix::unistd::Pid;

use super::wire::AdminAnswer;
use crate::{
    own_command::{command, command_for},
    paths::{GatewayId, NoGateway},
};

/// Why a running gateway could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Nobody listens at the socket.
    #[error(
        "no gateway answers at {}: {source}; start it with `{}`, or with `systemctl start gatewayd@{id}`", path.display(),
        command_for("run", id)
    )]
    NotRunning {
        /// The admin socket.
        path: PathBuf,
        /// The gateway.
        id: GatewayId,
        /// What went wrong.
        source: io::Error,
    },
    /// There is no such gateway.
    #[error(transparent)]
    NoGateway(#[from] NoGateway),
    /// The socket is for others.
    #[error(
        "cannot ask the gateway at {}: {source}; run the command as root, or as the account that runs the gateway", path.display()
    )]
    Refused {
        /// The admin socket.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The gateway answers others only.
    #[error("the gateway answers root and its own account only; run the command as one of these")]
    Stranger,
    /// The conversation ended early.
    #[error("the gateway ended the conversation: {0}; check that it is of the same version, and ask again")]
    Ended(String),
    /// The supervisor does nothing at all.
    #[error("{}", of_silence(*limit, *supervisor, id))]
    Silent {
        /// For how long.
        limit: Duration,
        /// Its process, if the kernel tells.
        supervisor: Option<Pid>,
        /// The gateway.
        id: GatewayId,
    },
    /// Another command does the same.
    #[error(
        "the gateway is busy with the same command of somebody else, or is replacing a worker; try again when that has ended"
    )]
    Busy,
    /// An upgrade is not decided yet.
    #[error(
        "the gateway has the programs of an upgrade on probation for {} more, and changes nothing meanwhile; try again after that. \
         `{}` and the log say what becomes of the upgrade", humantime::format_duration(*.0), command("status")
    )]
    OnProbation(Duration),
    /// The gateway drains.
    #[error("the gateway is ending, and takes no more orders; give the order again when it has restarted")]
    Ending,
    /// The order takes very long.
    #[error(
        "the gateway has not carried out the order in time, and may do it later; its log says what it is waiting for"
    )]
    Late,
    /// `store` does not answer.
    #[error("the gateway's store is being restarted, or answers too many others: try again")]
    StoreAway,
}

impl AdminError {
    /// The gateway has answered something else.
    pub(crate) fn other_answer() -> Self {
        Self::Ended("it sent the answer to another question".to_owned())
    }

    /// The error for an answer to another question than the one that was asked.
    pub(crate) fn of_other_answer(answer: &AdminAnswer) -> Self {
        match answer {
            AdminAnswer::Busy => Self::Busy,
            AdminAnswer::Stranger => Self::Stranger,
            AdminAnswer::Ending => Self::Ending,
            AdminAnswer::Late => Self::Late,
            AdminAnswer::StoreAway => Self::StoreAway,
            AdminAnswer::OnProbation(seconds) => Self::OnProbation(Duration::from_secs(*seconds)),
            _ => Self::other_answer(),
        }
    }
}

fn of_silence(limit: Duration, supervisor: Option<Pid>, id: &GatewayId) -> String {
    let limit = humantime::format_duration(limit);
    let (process, end) = match supervisor {
        Some(pid) => (format!(" (process {pid})"), format!("`kill -KILL {pid}` ends it")),
        None => (String::new(), "end its process".to_owned()),
    };
    format!(
        "the gateway does not answer: its supervisor{process} has said nothing for {limit}, so that it is stopped or hangs, or sixteen \
         other commands are waiting. Under systemd the watchdog restarts it, and so does `systemctl kill -s KILL gatewayd@{id}`; \
         otherwise {end}, and then `{}` starts it",
        command_for("run", id)
    )
}
