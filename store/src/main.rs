//! The post office as a process: the steps of the jail in their order, then the service.

use std::{process::ExitCode, sync::Arc};

use proto::{
    ipc::{
        Role,
        control::{Grant, Start, WorkerConfig},
    },
    link::worker::{Birth, BirthError, Ending},
};
use sandbox::{JailError, Limits};
use store::{
    counters::StoreCounters,
    identity::{Identity, IdentityError},
    mailbox::{MailboxError, SledMailbox},
    office::Rules,
    service::{Links, Service, ServiceError},
};

#[derive(Debug, thiserror::Error)]
enum StoreError {
    #[error(transparent)]
    Birth(#[from] BirthError),
    #[error("gatewayd sent the configuration of another worker; are the worker and gatewayd of one version?")]
    WrongConfig,
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Jail(#[from] JailError),
    #[error(transparent)]
    Mailbox(#[from] MailboxError),
    #[error(transparent)]
    Service(#[from] ServiceError),
}

fn main() -> ExitCode {
    if let Err(error) = sandbox::descriptors::close_inherited() {
        eprintln!("store: cannot close inherited descriptors: {error}");
        return ExitCode::FAILURE;
    }
    let birth = match Birth::inherited() {
        Ok(birth) => birth,
        Err(error) => {
            eprintln!("store: {error}");
            return ExitCode::FAILURE;
        }
    };
    match live(&birth) {
        Ok(Ending::Drain) => ExitCode::SUCCESS,
        Ok(Ending::Orphaned) => ExitCode::FAILURE,
        Err(error) => {
            tracing::error!("{error}");
            birth.report_failure(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn live(birth: &Birth) -> Result<Ending, StoreError> {
    let (Start { config, log_filter, threads, supervisor, open_files, .. }, mut grants) = birth.receive_start()?;
    let WorkerConfig::Store(config) = config else { return Err(StoreError::WrongConfig) };
    proto::log::init("store", &log_filter);
    let identity = Identity::read(grants.take(Grant::IdentityKey)?)?;
    let closed = sandbox::close(Limits { open_files, supervisor })?;

    let mailbox = SledMailbox::open(grants.take(Grant::LedgerDirectory)?, grants.take(Grant::InboxDirectory)?)?;
    let links = Links {
        ingress: grants.take(Grant::Link(Role::MixIngress))?,
        edge: grants.take(Grant::Link(Role::ClientEdge))?,
    };
    let rules = Rules {
        spill_after: config.spill_after,
        inbox_messages: config.inbox_messages,
        inbox_bytes: config.inbox_bytes,
    };
    let service = Service {
        mailbox: Arc::new(mailbox),
        identity: Arc::new(identity),
        rules,
        threads: usize::from(threads),
        counters: Arc::new(StoreCounters::default()),
    };
    Ok(service.run(&closed, birth, links)?)
}
