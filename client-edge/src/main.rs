//! The process that serves clients: the steps of its jail in their order, then the service. See the library of this crate for
//! what it trusts, holds and may do.

use std::process::ExitCode;

use client_edge::edge::{self, Given};
use proto::{
    ipc::{
        Role,
        control::{Grant, Start, WorkerConfig},
    },
    link::worker::{Birth, BirthError, Ending},
};
use sandbox::{Closed, JailError, Limits};
use tokio::runtime::{Builder, Runtime};

#[derive(Debug, thiserror::Error)]
enum EdgeError {
    #[error(transparent)]
    Birth(#[from] BirthError),
    #[error("gatewayd sent the configuration of another worker; are the worker and gatewayd of one version?")]
    WrongConfig,
    #[error(transparent)]
    Jail(#[from] JailError),
    #[error("cannot serve clients: {0}")]
    Service(#[from] std::io::Error),
}

fn main() -> ExitCode {
    if let Err(error) = sandbox::descriptors::close_inherited() {
        eprintln!("client-edge: cannot close inherited descriptors: {error}");
        return ExitCode::FAILURE;
    }
    let birth = match Birth::inherited() {
        Ok(birth) => birth,
        Err(error) => {
            eprintln!("client-edge: {error}");
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

fn live(birth: &Birth) -> Result<Ending, EdgeError> {
    let (Start { config, log_filter, threads, supervisor, open_files, .. }, mut grants) = birth.receive_start()?;
    let WorkerConfig::ClientEdge(config) = config else { return Err(EdgeError::WrongConfig) };
    proto::log::init(Role::ClientEdge.name(), &log_filter);
    // This role is given no key.
    let closed = sandbox::close(Limits { open_files, supervisor })?;

    let given = Given {
        listener: grants.take(Grant::ClientListener)?,
        store: grants.take(Grant::Link(Role::Store))?,
        egress: grants.take(Grant::Link(Role::MixEgress))?,
    };
    Ok(start_threads(&closed, threads)?.block_on(edge::run(config, given, birth))?)
}

fn start_threads(_: &Closed, threads: u16) -> std::io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(usize::from(threads.max(1))).enable_all().build()
}
