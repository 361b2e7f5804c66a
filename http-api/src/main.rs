//! The process `http-api`: the steps of the jail, in order. The library of this crate says what the process trusts, holds and may do.

use std::{net::TcpListener, process::ExitCode, sync::Arc};

use http_api::{
    counters::HttpCounters,
    serve::{Links, serve},
};
use ipc::{
    Role,
    control::{Grant, WorkerConfig, possible_connections},
};
use sandbox::{Jail, JailError, close, descriptors::close_inherited, policy::Policy};
use worker::{
    birth::{self, Birth, BirthError},
    control_link::Ending,
    threads::{Threads, start_threads},
};

#[derive(Debug, thiserror::Error)]
enum HttpError {
    #[error(transparent)]
    Birth(#[from] BirthError),
    #[error(transparent)]
    Jail(#[from] JailError),
    #[error("cannot start threads, or watch the listener: {0}")]
    Start(#[from] std::io::Error),
}

fn main() -> ExitCode {
    // 1. Nothing is open but the control link, standard output and the log.
    birth::run(Role::HttpApi, close_inherited(), live)
}

fn live(birth: &Birth) -> Result<Ending, HttpError> {
    // 2. The start message, and the descriptors of this role. No key: step 3 has nothing to do.
    let (start, mut grants) = birth.receive_start()?;
    let WorkerConfig::HttpApi(mut config) = start.config else { return Err(BirthError::NoStart.into()) };
    logging::init(Role::HttpApi.name(), &start.log);
    config.max_connections = possible_connections(start.jail.open_files, config.max_connections);
    let listener = TcpListener::from(grants.take(Grant::HttpListener)?);
    let links = Links { store: grants.take(Grant::Link(Role::Store))? };
    let counters = Arc::new(HttpCounters::in_page(grants.figures_page()?).map_err(BirthError::from)?);

    // 4. The jail is closed.
    let closed = close(Jail { policy: Policy::of(Role::HttpApi), spec: &start.jail, directories: &[] })?;
    birth.report_jail(closed.layers());
    if let Some(what) = &start.probe {
        return Ok(birth.probe(what, sandbox::probe::attempt));
    }

    // 5. Threads start. One serves everybody: an answer is ready before it is asked for.
    start_threads(&closed, Threads::One)?.block_on(async {
        let control = birth.control_link().map_err(BirthError::Control)?;
        Ok(serve(control, listener, links, config, counters).await?)
    })
}
