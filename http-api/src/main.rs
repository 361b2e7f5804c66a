//! The process `http-api`: the steps of the jail, in order. The library of this crate says what the process trusts, holds and may do.

use std::{mem::take, net::TcpListener, process::ExitCode, sync::Arc};

use figures::Page;
use http_api::{
    counters::HttpCounters,
    limits::Limits,
    metrics::Metrics,
    operator::OperatorSocket,
    serve::{Links, Listeners, serve},
};
use ipc::{
    Role,
    control::{Grant, HttpConfig, WorkerConfig, possible_connections},
};
use sandbox::{Jail, JailError, close, descriptors::close_inherited, page::ReadOnlyPage, policy::Policy};
use worker::{
    birth::{self, Birth, BirthError, Grants},
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
    let public = grants.take(Grant::HttpListener).ok().map(TcpListener::from);
    let links = Links { store: grants.take(Grant::Link(Role::Store))? };
    let counters = Arc::new(HttpCounters::in_page(grants.figures_page()?).map_err(BirthError::from)?);

    let operator = operator(&mut grants, &mut config, &counters)?;

    // 4. The jail is closed.
    let closed = close(Jail { policy: Policy::of(Role::HttpApi), spec: &start.jail, directories: &[] })?;
    birth.report_jail(closed.layers());
    if let Some(what) = &start.probe {
        return Ok(birth.probe(what, sandbox::probe::attempt));
    }

    // 5. Threads start. One serves everybody: an answer is ready before it is asked for.
    start_threads(&closed, Threads::One)?.block_on(async {
        let control = birth.control_link().map_err(BirthError::Control)?;
        Ok(serve(control, Listeners { public, operator }, links, config, counters).await?)
    })
}

/// What serves metrics, if they are served. The pages are mapped before the jail is closed.
fn operator(
    grants: &mut Grants,
    config: &mut HttpConfig,
    counters: &Arc<HttpCounters>,
) -> Result<Option<(OperatorSocket, Metrics)>, BirthError> {
    let port = grants.take(Grant::MetricsPort).map(|port| OperatorSocket::Port(port, take(&mut config.metrics_allow)));
    let Ok(socket) = port.or_else(|_| grants.take(Grant::MetricsSocket).map(OperatorSocket::Path)) else {
        return Ok(None);
    };
    let pages = Page::ALL.into_iter().map(|page| {
        let role = match page {
            Page::Worker(role) => Some(role),
            Page::Supervisor => None,
        };
        let page_of = grants.take(Grant::ReadOnlyPage(role))?;
        Ok((page, ReadOnlyPage::map(page_of).map_err(BirthError::Page)?))
    });
    let pages = pages.collect::<Result<_, BirthError>>()?;
    Ok(Some((socket, Metrics::new(pages, Limits::of(config, Arc::clone(counters))))))
}
