//! The process `store`: see the library of this crate for what it trusts, holds and may do. The steps of the jail, in order.

use std::{
    os::fd::{AsFd, OwnedFd},
    process::ExitCode,
    sync::Arc,
};

use identity::{Identity, IdentityError};
use ipc::{
    Role,
    control::{Grant, WorkerConfig},
};
use sandbox::{Closed, Jail, JailError, close, descriptors::close_inherited, policy::Policy};
use store::{
    counters::StoreCounters,
    disk_mailbox::DiskMailbox,
    mailbox::MailboxError,
    replay::ReplayArchive,
    service::{Links, Service, ServiceError},
};
use worker::{
    birth::{self, Birth, BirthError},
    control_link::Ending,
    threads::{Threads, start_threads},
};

#[derive(Debug, thiserror::Error)]
enum StoreError {
    #[error(transparent)]
    Birth(#[from] BirthError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Jail(#[from] JailError),
    #[error(transparent)]
    Mailbox(#[from] MailboxError),
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
    #[error(transparent)]
    Service(#[from] ServiceError),
}

fn main() -> ExitCode {
    // 1. Nothing is open but the control link, standard output and the log.
    birth::run(Role::Store, close_inherited(), live)
}

fn live(birth: &Birth) -> Result<Ending, StoreError> {
    // 2. The start message.
    let (start, mut grants) = birth.receive_start()?;
    let WorkerConfig::Store { config, announce } = start.config else { return Err(BirthError::NoStart.into()) };
    logging::init(Role::Store.name(), &start.log);
    let links = Links {
        ingress: grants.take(Grant::Link(Role::MixIngress))?,
        edge: grants.take(Grant::Link(Role::ClientEdge))?,
        http_api: announce.is_some().then(|| grants.take(Grant::Link(Role::HttpApi))).transpose()?,
    };
    let counters = Arc::new(StoreCounters::take_up(grants.figures_page()?).map_err(BirthError::from)?);

    // 3. The key, into locked memory.
    let identity = Identity::read(grants.take(Grant::IdentityKey)?)?;

    // 4. The jail is closed, but for three directories.
    let (ledger, inboxes) = (grants.take(Grant::LedgerDirectory)?, grants.take(Grant::InboxDirectory)?);
    let replay = grants.take(Grant::ReplayDirectory)?;
    let directories = [ledger.as_fd(), inboxes.as_fd(), replay.as_fd()];
    let closed = close(Jail { policy: Policy::of(Role::Store), spec: &start.jail, directories: &directories })?;
    birth.report_jail(closed.layers());
    if let Some(what) = &start.probe {
        return Ok(birth.probe(what, sandbox::probe::attempt));
    }

    birth.report_public_key(identity.public());

    // 5. Threads start: the log's, sled's, then ours.
    let runtime = start_threads(&closed, Threads::One)?;
    let mailbox = open_mailbox(&closed, ledger, inboxes, config.data_bytes, &counters)?;
    let replay_directory = replay.try_clone()?;
    let replay = ReplayArchive::open(&closed, replay, config.replay_bytes)?;
    let service = Service {
        mailbox: Arc::new(mailbox),
        replay,
        replay_directory,
        identity: Arc::new(identity),
        config,
        announce,
        threads: usize::from(start.threads),
        counters,
    };
    Ok(service.run(&closed, &runtime, birth, links)?)
}

/// The ledger's engine and the mail log start threads of their own.
fn open_mailbox(
    _: &Closed,
    ledger: OwnedFd,
    inboxes: OwnedFd,
    data_bytes: u64,
    counters: &Arc<StoreCounters>,
) -> Result<DiskMailbox, MailboxError> {
    DiskMailbox::open(ledger, inboxes, data_bytes, Arc::clone(counters))
}
