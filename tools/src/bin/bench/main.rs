//! The gateway's figures: a load generator that starts the real processes and measures them from outside.
//!
//! Every figure has a gateway of its own, freshly initialised. Packets are built before the clock starts; what is
//! counted as processor time is what the kernel says of the supervisor and its four workers, and nothing else. The
//! generator pins nothing and shares the processors with the gateway, so rates are lower than with a generator on
//! another machine; processor time per packet hardly is. Next to each figure stands what it is in units of the bare
//! unwrap of the same kind of packets, measured right before it.
//!
//! Nothing is adjusted to meet an aim: the gateway runs with the configuration that `init` writes, but for the room for
//! packets per next hop, because here every SURB-ack goes to one mix node.

mod acks;
mod era;
mod figures;
mod load;
mod options;
mod report;
mod rig;
mod unwrap;
mod usage;

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, Result};
use harness::deadline;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::{
    era::Era,
    figures::Figure,
    options::{Options, Scale},
    report::Report,
    unwrap::Yardstick,
};

/// For one round of one figure, building its packets and writing what is kept included.
const ROUND: Duration = Duration::from_secs(1_200);

fn main() -> ExitCode {
    bench().unwrap_or_else(|error| {
        eprintln!("{error:#}");
        ExitCode::FAILURE
    })
}

fn bench() -> Result<ExitCode> {
    let options = Options::parse(std::env::args().skip(1))?;
    allow_many_descriptors()?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the load generator's runtime")?;
    runtime.block_on(run(&options))
}

async fn run(options: &Options) -> Result<ExitCode> {
    let mut report = Report::begin(options)?;
    for era in &options.eras {
        let yardstick = Yardstick::build(*era, options.scale)?;
        report.era(*era, yardstick.measure()?, yardstick.measure_everywhere()?)?;
        for figure in &options.figures {
            let mut rounds = Vec::new();
            for _ in 0..options.rounds {
                let bare = yardstick.measure()?;
                let round = figure.measure(*era, options.scale);
                let round = deadline::within(ROUND, &format!("figure ({})", figure.name()), round).await?;
                rounds.push((bare, round.with_context(|| format!("figure ({}), {era}", figure.name()))?));
            }
            report.figure(*figure, &rounds)?;
        }
    }
    report.end()
}

/// Thousands of clients are as many descriptors here, and the gateway inherits the limit.
fn allow_many_descriptors() -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("cannot raise the limit on open files")
}
