//! The process `mix-ingress`: the steps of the jail, in order. The library of this crate says what the process trusts, holds and
//! may do.

use std::{net::TcpListener, process::ExitCode, sync::Arc};

use ipc::{
    Role,
    control::{Grant, WorkerConfig, possible_connections},
};
use mix_ingress::{
    counters::Counters,
    key::{self, KeyError},
    run::{Ingress, Links, WorkError, run},
};
use sandbox::{Jail, JailError, close, descriptors::close_inherited, policy::Policy};
use tokio::sync::mpsc;
use worker::{
    birth::{self, Birth, BirthError},
    control_link::Ending,
    threads::{Threads, start_threads},
};

/// Reports about links that may wait to be sent.
const REPORT_QUEUE: usize = 4;

#[derive(Debug, thiserror::Error)]
enum IngressError {
    #[error(transparent)]
    Birth(#[from] BirthError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Jail(#[from] JailError),
    #[error("cannot start threads: {0}")]
    Threads(#[from] std::io::Error),
    #[error(transparent)]
    Run(#[from] WorkError),
}

fn main() -> ExitCode {
    // 1. Nothing is open but the control link, standard output and the log.
    birth::run(Role::MixIngress, close_inherited(), live)
}

fn live(birth: &Birth) -> Result<Ending, IngressError> {
    // 2. The start message, and the descriptors of this role.
    let (start, mut grants) = birth.receive_start()?;
    let WorkerConfig::MixIngress(mut config) = start.config else { return Err(BirthError::NoStart.into()) };
    logging::init(Role::MixIngress.name(), &start.log);
    config.max_connections = possible_connections(start.jail.open_files, config.max_connections);
    let listener = TcpListener::from(grants.take(Grant::MixListener)?);
    let store = grants.take(Grant::Link(Role::Store))?;
    let egress = grants.take(Grant::Link(Role::MixEgress))?;
    let counters = Arc::new(Counters::take_up(grants.figures_page()?).map_err(BirthError::from)?);

    // 3. The key, into locked memory.
    let key = key::read(grants.take(Grant::SphinxKey)?)?;
    tracing::info!(x25519 = %key.implementation(), "unwrapping packets with the fastest X25519 of this processor");

    // 4. The jail is closed.
    let closed = close(Jail { policy: Policy::of(Role::MixIngress), spec: &start.jail, directories: &[] })?;
    birth.report_jail(closed.layers());
    if let Some(what) = &start.probe {
        return Ok(birth.probe(what, sandbox::probe::attempt));
    }

    birth.report_public_key(key.public());

    // 5. Threads start.
    let threads = usize::from(start.threads.max(1));
    start_threads(&closed, Threads::Many(threads))?.block_on(async {
        let mut control = birth.control_link().map_err(BirthError::Control)?;
        let (reports, of_links) = mpsc::channel(REPORT_QUEUE);
        let links = Links {
            store: control.link_ends(Role::Store, store),
            egress: control.link_ends(Role::MixEgress, egress),
            reports,
        };
        let ingress = Ingress { listener, key, config, threads, counters };
        Ok(run(ingress, links, control.follow(of_links)).await?)
    })
}
