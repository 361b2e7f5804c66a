//! The process `mix-egress`: the steps of the jail, in order. The library of this crate says what the process trusts, holds and
//! may do.

use std::{process::ExitCode, sync::Arc};

use ipc::{
    Role,
    control::{Grant, WorkerConfig},
};
use mix_egress::{
    counters::EgressCounters,
    hops::Hops,
    serve::{Links, serve},
    timeouts::Timeouts,
};
use sandbox::{Jail, JailError, close, descriptors::close_inherited, policy::Policy};
use worker::{
    birth::{self, Birth, BirthError},
    control_link::Ending,
    threads::{Threads, start_threads},
};

#[derive(Debug, thiserror::Error)]
enum EgressError {
    #[error(transparent)]
    Birth(#[from] BirthError),
    #[error(transparent)]
    Jail(#[from] JailError),
    #[error("cannot start threads: {0}")]
    Threads(#[from] std::io::Error),
}

fn main() -> ExitCode {
    // 1. Nothing is open but the control link, standard output and the log.
    birth::run(Role::MixEgress, close_inherited(), live)
}

fn live(birth: &Birth) -> Result<Ending, EgressError> {
    // 2. The start message. No key: step 3 has nothing to do.
    let (start, mut grants) = birth.receive_start()?;
    let WorkerConfig::MixEgress(config) = start.config else { return Err(BirthError::NoStart.into()) };
    logging::init(Role::MixEgress.name(), &start.log);
    let links = Links {
        ingress: grants.take(Grant::Link(Role::MixIngress))?,
        edge: grants.take(Grant::Link(Role::ClientEdge))?,
    };
    let counters = Arc::new(EgressCounters::take_up(grants.figures_page()?).map_err(BirthError::from)?);

    // 4. The jail is closed.
    let closed = close(Jail { policy: Policy::of(Role::MixEgress), spec: &start.jail, directories: &[] })?;
    birth.report_jail(closed.layers());
    if let Some(what) = &start.probe {
        return Ok(birth.probe(what, sandbox::probe::attempt));
    }

    // 5. Threads start.
    // One thread besides the log's, because handing a packet to another thread costs more than sending it.
    start_threads(&closed, Threads::One)?.block_on(async {
        tracing::info!(queued = config.queued_bytes, "budget of memory for packets, in bytes");
        let hops = Hops::new(config, Timeouts::default(), Arc::clone(&counters));
        Ok(serve(birth.control_link()?, links, hops, counters).await)
    })
}
