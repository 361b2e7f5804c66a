//! A command's side of a conversation on the admin socket.

use std::{
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixStream,
    },
    path::Path,
    time::Duration,
};

use ipc::operator::{StoreAnswer, StoreQuestion};
use link::{
    descriptor,
    stream::{LinkReader, LinkWriter, open},
};
use nix::{
    sys::socket::{getsockopt, sockopt::PeerCredentials},
    unistd::Pid,
};
use tokio::time::timeout;

pub(crate) use super::error::AdminError;
use super::{
    order::ORDER_LIMIT,
    wire::{AdminAnswer, AdminQuestion, Order, SOCKET},
};
use crate::{
    handover::wire::UpgradeQuestion,
    paths::{GatewayId, GatewayPaths, NoGateway, Root},
};

/// The folder of the gateways of systemd/gatewayd@.service.
const HOME_OF_UNITS: &str = "/var/lib/gatewayd";
/// The folder of the runtime directories of these units.
const RUN_DIR_OF_UNITS: &str = "/run/gatewayd";

/// The time for the first answer, which a supervisor that lives gives at once.
const PROMPT: Duration = Duration::from_secs(10);
/// The time for an answer of `store`, which is longer than what the supervisor waits.
const STORE_LIMIT: Duration = Duration::from_secs(240);

/// Whether the gateways below `root` are those of systemd/gatewayd@.service. A gateway in another folder has no runtime directory and no
/// credentials of the unit, even if it has the same id.
pub(crate) fn is_of_units(root: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    real(root).is_some_and(|root| real(Path::new(HOME_OF_UNITS)) == Some(root))
}

/// A connection to a running gateway.
pub(crate) struct AdminClient {
    answers: LinkReader<AdminAnswer>,
    questions: LinkWriter<AdminQuestion>,
    /// For the one answer that has a descriptor.
    raw: UnixStream,
    id: GatewayId,
    /// Whether it has answered anything yet.
    answers_at_all: bool,
}

impl AdminClient {
    /// Connects to the socket in the runtime directory of the gateway's folder, or of its unit. The configuration is not read, because a
    /// running gateway can be told to do something whatever its file says by now.
    ///
    /// # Errors
    /// If no gateway listens there, or not to this account.
    pub(crate) fn open(id: &GatewayId, root: &Root) -> Result<Self, AdminError> {
        let run_dir = GatewayPaths::new(root, id).run_dir(std::env::var_os("RUNTIME_DIRECTORY"));
        let path = run_dir.join(SOCKET);
        let of_unit = Path::new(RUN_DIR_OF_UNITS).join(id.as_str()).join(SOCKET);
        let socket = match UnixStream::connect(&path) {
            Err(_) if is_of_units(root.as_path()) => UnixStream::connect(of_unit),
            connected => connected,
        };
        let opened = socket.and_then(|socket| {
            let raw = socket.try_clone()?;
            let (answers, questions) = open(OwnedFd::from(socket))?;
            Ok(Self { answers, questions, raw, id: id.clone(), answers_at_all: false })
        });
        match opened {
            Ok(client) => Ok(client),
            Err(source) if source.kind() == io::ErrorKind::PermissionDenied => {
                Err(AdminError::Refused { path, source })
            }
            Err(source) => match NoGateway::is_so(root, id) {
                Some(no_gateway) => Err(no_gateway.into()),
                None => Err(AdminError::NotRunning { path, id: id.clone(), source }),
            },
        }
    }

    /// The process of the supervisor, if the kernel tells. It stays the same when the supervisor becomes another program.
    pub(crate) fn supervisor(&self) -> Option<Pid> {
        let peer = getsockopt(&self.raw, PeerCredentials).ok()?;
        // Zero stands for a process that cannot be seen from here.
        (peer.pid() > 0).then(|| Pid::from_raw(peer.pid()))
    }

    /// Asks, and waits for the answer for `limit`. A supervisor that hangs is found within seconds, however long `limit` is.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) async fn ask(&mut self, question: AdminQuestion, limit: Duration) -> Result<AdminAnswer, AdminError> {
        if !self.answers_at_all {
            // Every build answers this at once.
            let any = AdminQuestion::Upgrade(UpgradeQuestion::Outcome.encode());
            match self.ask_within(any, PROMPT).await {
                Ok(_) | Err(AdminError::Busy | AdminError::Late) => self.answers_at_all = true,
                Err(error) => return Err(error),
            }
        }
        self.ask_within(question, limit).await
    }

    async fn ask_within(&mut self, question: AdminQuestion, limit: Duration) -> Result<AdminAnswer, AdminError> {
        let asked = async {
            self.questions.write_batch(&[question]).await?;
            self.answers.read_batch().await
        };
        match timeout(limit, asked).await {
            Ok(Ok(mut answers)) => match answers.pop() {
                Some(
                    refusal @ (AdminAnswer::Busy
                    | AdminAnswer::Stranger
                    | AdminAnswer::Ending
                    | AdminAnswer::Late
                    | AdminAnswer::StoreAway
                    | AdminAnswer::OnProbation(_)),
                ) => Err(AdminError::of_other_answer(&refusal)),
                Some(answer) => Ok(answer),
                None => Err(AdminError::Ended("it sent no answer".to_owned())),
            },
            Ok(Err(error)) => Err(AdminError::Ended(error.to_string())),
            Err(_) => Err(AdminError::Silent { limit, supervisor: self.supervisor(), id: self.id.clone() }),
        }
    }
}

/// Gives an order to gateway `id` below `root`, and waits until it is carried out.
///
/// # Errors
/// If it is not.
pub(crate) fn give_order(id: &GatewayId, root: &Root, order: Order) -> Result<AdminAnswer, AdminError> {
    on_a_loop(async {
        // The supervisor answers by itself when its time is over, so this limit is for one that hangs.
        AdminClient::open(id, root)?.ask(AdminQuestion::Order(order), ORDER_LIMIT * 2).await
    })
}

/// Asks the `store` of gateway `id` below `root`.
///
/// # Errors
/// If there is no answer.
pub(crate) fn ask_store(id: &GatewayId, root: &Root, question: StoreQuestion) -> Result<StoreAnswer, AdminError> {
    on_a_loop(async {
        let mut client = AdminClient::open(id, root)?;
        match client.ask(AdminQuestion::Store(question), STORE_LIMIT).await? {
            AdminAnswer::Store(answer) => Ok(answer),
            other => Err(AdminError::of_other_answer(&other)),
        }
    })
}

/// Has the `store` of gateway `id` below `root` begin a backup. Returns the socket from which it can be read.
///
/// # Errors
/// If it does not begin.
pub(crate) fn borrow_backup(id: &GatewayId, root: &Root) -> Result<UnixStream, AdminError> {
    on_a_loop(async {
        let mut client = AdminClient::open(id, root)?;
        match client.ask(AdminQuestion::BackUp, STORE_LIMIT).await? {
            AdminAnswer::Done => {}
            other => return Err(AdminError::of_other_answer(&other)),
        }
        let ended = |error: io::Error| AdminError::Ended(error.to_string());
        let AdminClient { mut questions, answers: _answers, raw, .. } = client;
        questions
            .write_batch(&[AdminQuestion::TakeBackup])
            .await
            .map_err(|error| AdminError::Ended(error.to_string()))?;
        // Nobody reads the link now, so the byte and its descriptor come here.
        raw.set_nonblocking(false).and_then(|()| raw.set_read_timeout(Some(STORE_LIMIT))).map_err(ended)?;
        let (_, mut descriptors) = descriptor::receive(raw.as_fd()).map_err(ended)?;
        descriptors.pop().map(UnixStream::from).ok_or_else(AdminError::other_answer)
    })
}

/// Runs a conversation of a command, which has no loop of its own.
pub(crate) fn on_a_loop<T>(conversation: impl Future<Output = Result<T, AdminError>>) -> Result<T, AdminError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| AdminError::Ended(error.to_string()))?.block_on(conversation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_folder_of_the_units_is_theirs() {
        let other = tempfile::tempdir().unwrap();
        assert!(!is_of_units(other.path()));
        assert!(!is_of_units(Path::new("/nowhere")));
        assert!(!is_of_units(&Path::new(HOME_OF_UNITS).join("one")));
        assert_eq!(is_of_units(Path::new(HOME_OF_UNITS)), Path::new(HOME_OF_UNITS).is_dir());
    }
}
