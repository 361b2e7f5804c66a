//! Sends attackers of every kind at a gateway at once, while clients and mix nodes use it, and measures what that costs the honest.
//!
//! First there are no attackers, so that there is something to compare with. Then attackers of every kind come, at the lowest
//! priority that there is, because in the world they have machines of their own. Then everything that was acknowledged is
//! fetched. The oracle is the judge of the honest; it knows nothing of the gateway. All of it is in a network namespace of its own
//! if one may be made, and on loopback otherwise; nothing else is ever connected to.

mod attackers;
mod evidence;
mod honest;
mod namespace;
mod options;
mod report;
mod sources;
mod sut;
mod tally;

use std::{
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use harness::{
    oracle::{Inbox, Oracle},
    output::say,
    usage::Peaks,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::{
    attackers::Attackers,
    evidence::{Evidence, Phase, since},
    honest::Honest,
    namespace::Network,
    options::Options,
    sut::Sut,
};

/// Before the undisturbed time is measured: connections are opened, and pages are touched for the first time.
const WARM_UP: Duration = Duration::from_secs(2);
/// After the siege, for what the attackers have left in queues.
const AFTERWARDS: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    siege().unwrap_or_else(|error| {
        eprintln!("{error:#}");
        ExitCode::FAILURE
    })
}

fn siege() -> Result<ExitCode> {
    let options = Options::parse(std::env::args().skip(1))?;
    // A namespace is entered by one thread, and those that it starts later.
    let network = Network::enter()?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the tool's runtime")?;
    let is_good = runtime.block_on(async {
        let mut terminated = signal(SignalKind::terminate())?;
        // After an interrupt neither the gateway nor its folder stays.
        tokio::select! {
            outcome = run(&options, &network) => outcome,
            _ = tokio::signal::ctrl_c() => bail!("interrupted"),
            _ = terminated.recv() => bail!("terminated"),
        }
    })?;
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn run(options: &Options, network: &Network) -> Result<bool> {
    report::begin(network, options.undisturbed(), options.duration)?;
    let sut = Sut::start(network, options.duration).await?;
    let oracle = Arc::new(Oracle::default());
    let (_supervisor, watched) = watch::channel(sut.gateway.supervisor());
    let peaks = Peaks::watch(watched);
    let honest = Honest::gather(sut.target, oracle.clone()).await?;
    let online = honest.online();
    let at_work = honest.begin(options.rate)?;
    tokio::time::sleep(WARM_UP).await;

    let begin = Instant::now();
    tokio::time::sleep(options.undisturbed()).await;
    let undisturbed = since(begin);
    let budget = sut.memory_budget()?;
    let (ledger, logins) = (sut.ledger_bytes(), oracle.times_let_in());
    say("the siege begins")?;
    let begin = Instant::now();
    let attackers = Attackers::send(&options.kinds, sut.target, options.duration)?.ended().await?;
    let besieged = since(begin);
    say("the siege is over")?;
    let ledger_growth = sut.ledger_bytes().saturating_sub(ledger);
    let (logins, refusals) = (oracle.times_let_in() - logins, oracle.refusals());
    tokio::time::sleep(AFTERWARDS).await;

    let mut strange = at_work.end().await?;
    let peaks = peaks.seen();
    let remains = sut.end().await?;
    strange.extend(remains.strange);
    let phase = |name, time| Phase {
        name,
        online: oracle.figures(|inbox: Inbox| online.contains(&inbox), time),
        newcomers: oracle.figures(honest::is_of_newcomers, time),
    };
    let evidence = Evidence {
        lasted: besieged.end - besieged.start,
        sums: oracle.tally(),
        undisturbed: phase("undisturbed", &undisturbed),
        besieged: phase("besieged", &besieged),
        logins,
        refusals,
        peaks,
        budget,
        ledger_growth,
        counters: remains.counters,
        strange,
        floor: options.floor,
    };
    report::print(&attackers, &evidence)
}
