//! The process that serves clients: the steps of its jail in their order, then the service. See the library of this crate for
//! what it trusts, holds and may do.

use std::{process::ExitCode, sync::Arc};

use client_edge::{
    counters::Counters,
    edge::{self, Resources},
    store::keys::KeySlots,
};
use ipc::{
    Role,
    control::{Grant, WorkerConfig, possible_connections},
};
use sandbox::{Jail, JailError, close, descriptors::close_inherited, policy::Policy, secret::LockError};
use worker::{
    birth::{self, Birth, BirthError},
    control_link::Ending,
    threads::{Threads, start_threads},
};

#[derive(Debug, thiserror::Error)]
enum EdgeError {
    #[error(transparent)]
    Birth(#[from] BirthError),
    #[error(transparent)]
    Jail(#[from] JailError),
    #[error("{0}; or allow fewer connections (max_client_connections in [limits] of config.toml)")]
    Keys(#[from] LockError),
    #[error("cannot serve clients: {0}")]
    Service(#[from] std::io::Error),
}

fn main() -> ExitCode {
    // 1. Nothing is open but the control link, standard output and the log.
    birth::run(Role::ClientEdge, close_inherited(), live)
}

fn live(birth: &Birth) -> Result<Ending, EdgeError> {
    // 2. The start message, and the descriptors of this role.
    let (start, mut grants) = birth.receive_start()?;
    let WorkerConfig::ClientEdge(mut config) = start.config else { return Err(BirthError::NoStart.into()) };
    logging::init(Role::ClientEdge.name(), &start.log);
    config.max_connections = possible_connections(start.jail.open_files, config.max_connections);

    // 3. Memory is locked for the keys of clients, since none can be locked once the jail is closed.
    let (keys, connections) = KeySlots::for_connections(config.max_connections, start.jail.open_files)?;
    config.max_connections = connections;
    let resources = Resources {
        listener: grants.take(Grant::ClientListener)?,
        store: grants.take(Grant::Link(Role::Store))?,
        egress: grants.take(Grant::Link(Role::MixEgress))?,
        keys,
        counters: Arc::new(Counters::take_up(grants.figures_page()?).map_err(BirthError::from)?),
    };

    // 4. The jail is closed.
    let closed = close(Jail { policy: Policy::of(Role::ClientEdge), spec: &start.jail, directories: &[] })?;
    birth.report_jail(closed.layers());
    if let Some(what) = &start.probe {
        return Ok(birth.probe(what, sandbox::probe::attempt));
    }

    // 5. Threads start.
    Ok(start_threads(&closed, Threads::Many(start.threads.into()))?.block_on(edge::run(
        config,
        resources,
        start.newcomers,
        birth,
    ))?)
}
