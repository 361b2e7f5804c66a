//! Breaks a gateway in every way it must survive, while clients and mix nodes use it, and then asks whether every message that
//! was acknowledged has reached its client.
//!
//! The schedule of faults is drawn from a seed and printed before anything starts. The books are the judge: they are
//! written by clients and mix nodes alone, and know nothing of the gateway. Nothing here trusts the gateway, and nothing
//! outside its folder is touched.

mod ackport;
mod arena;
mod books;
mod coverage;
mod deeds;
mod fault;
mod garbage;
mod level;
mod memory;
mod mixnodes;
mod newcomers;
mod options;
mod ordeal;
mod order;
mod patron;
mod place;
mod pretender;
mod report;
mod schedule;
mod secrets;
mod surge;
mod tear;
mod usage;
mod witness;

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use proto::wire::client::key::SessionKey;
use tests::{deadline, era::Era};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
};

use crate::{
    ackport::AckPort,
    arena::Arena,
    books::Books,
    level::Levels,
    mixnodes::{Load, MixNode},
    newcomers::{Door, Pace},
    options::Options,
    patron::{Manner, Patron},
    report::{Outcome, say},
    secrets::Secrets,
    surge::Surges,
    usage::Peaks,
};

/// Acks are all in when none has come for so long.
const QUIET: Duration = Duration::from_millis(1_500);
/// For one client to fetch its mail, and how often that is tried.
const FETCH: Duration = Duration::from_secs(20);
const FETCHES: usize = 3;

/// How often a soak looks at the gateway.
const LOOKS: u32 = 40;
const NEWCOMERS: Pace = Pace { every: Duration::from_secs(3), stay: None, eras: &Era::ALL };
const NEWCOMERS_OF_A_SOAK: Pace = Pace {
    every: Duration::from_millis(500),
    stay: Some(Duration::from_secs(20)),
    // Those who can ask to be forgotten.
    eras: &[Era::Version(3), Era::Version(4), Era::Version(5), Era::Version(6)],
};

fn main() -> ExitCode {
    torture().unwrap_or_else(|error| {
        eprintln!("{error:#}");
        ExitCode::FAILURE
    })
}

fn torture() -> Result<ExitCode> {
    let options = Options::parse(std::env::args().skip(1))?;
    let may_mount = tests::disk::may_mount();
    let runtime = tokio::runtime::Runtime::new().context("cannot start the tool's runtime")?;
    let outcome = runtime.block_on(async {
        let mut terminated = signal(SignalKind::terminate())?;
        // Whoever interrupts it wants neither the gateway nor its folder to stay.
        tokio::select! {
            outcome = run(&options, may_mount) => outcome,
            _ = tokio::signal::ctrl_c() => bail!("interrupted"),
            _ = terminated.recv() => bail!("terminated"),
        }
    })?;
    outcome.print()?;
    Ok(if outcome.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn run(options: &Options, may_mount: bool) -> Result<Outcome> {
    let schedule = schedule::draw(options.seed, options.duration, &options.kinds);
    say(format_args!("seed {}, {:?}, {} packets per second", options.seed, options.duration, options.rate))?;
    for planned in &schedule {
        say(planned)?;
    }
    say("")?;

    // Where durable takes its time, unless the disk is to be filled.
    let small_disk = may_mount && options.kinds.contains(&fault::Kind::FullDisk);
    let books = Arc::new(Books::default());
    let mut arena = Arena::open(small_disk, options.seed, books.clone()).await?;
    let levels = options
        .soak
        .then(|| Levels::watch(arena.supervisor.subscribe(), arena.gateway.home.data(), options.duration / LOOKS));
    let peaks = Peaks::watch(arena.supervisor.subscribe());
    let (halt, stop) = watch::channel(false);
    let patrons = gather(&arena, &books, options.soak).await?;
    let addresses: Vec<_> = patrons.iter().map(Patron::addressee).collect();
    arena.accounts = patrons.iter().map(|patron| patron.account().clone()).collect();
    let door = Door {
        pace: if options.soak { NEWCOMERS_OF_A_SOAK } else { NEWCOMERS },
        first: patrons.len(),
        addresses: Arc::new(watch::Sender::new(addresses)),
        place: arena.place.subscribe(),
        gateway_identity: arena.gateway.identity,
        books: books.clone(),
    };
    let to = door.addresses.subscribe();
    let newcomers = tokio::spawn(door.keep_open(stop.clone()));
    let mut clients = JoinSet::new();
    for patron in patrons {
        clients.spawn(patron.live(arena.place.subscribe(), stop.clone()));
    }
    let acks = AckPort::start(books.clone()).await?;
    let maker = acks.packet_maker(arena.gateway.sphinx);
    let surges = Arc::new(Surges::default());
    // A soak is about what is level.
    let load = Load { per_second: options.rate / 2, surges: (!options.soak).then(|| surges.clone()) };
    let mut mixnodes = JoinSet::new();
    for kind in [mixnodes::Kind::Of2021, mixnodes::Kind::OfToday] {
        let node = MixNode::new(kind, maker, books.clone(), to.clone(), arena.place.subscribe());
        mixnodes.spawn(node.work(load.clone(), stop.clone()));
    }

    let coverage = ordeal::go_through(schedule, &mut arena, &options.kinds, options.duration).await?;

    let mut strange = levels.map(|levels| levels.judge()).unwrap_or_default();
    halt.send_replace(true);
    while let Some(node) = deadline::soon("a mix node to stop", mixnodes.join_next()).await? {
        node??;
    }
    let mut patrons = deadline::soon("the newcomers to stop", newcomers).await???;
    while let Some(patron) = deadline::soon("a client to stop", clients.join_next()).await? {
        patrons.push(patron??);
    }
    arena.settle().await?;
    wait_for_quiet(&books).await;
    let mut fetching = JoinSet::new();
    for patron in patrons {
        let place = *arena.place.borrow();
        fetching.spawn(fetch_all(patron, maker, books.clone(), place));
    }
    while let Some(fetched) = fetching.join_next().await {
        if let Err(error) = fetched? {
            strange.push(format!("{error:#}"));
        }
    }
    let peaks = peaks.seen();
    arena.end().await?;
    strange.extend_from_slice(arena.witness.strange());
    let log_lines = arena.witness.said().len();
    strange.extend(secrets_of(&arena, &books)?.found_in(arena.witness.said())?);
    Ok(Outcome {
        tally: books.tally(),
        counters: arena.witness.counters(),
        coverage,
        surges,
        peaks,
        log_lines,
        strange,
    })
}

/// Everything that the logs of a run must not say.
fn secrets_of(arena: &Arena, books: &Books) -> Result<Secrets> {
    let mut secrets = Secrets::of(&arena.gateway.home)?;
    for client in books.clients() {
        let key = match &client.key {
            SessionKey::CtrHmac(key) => key.to_bytes(),
            SessionKey::GcmSiv(key) => key.to_bytes(),
        };
        secrets.add("a session key", key.as_slice());
        secrets.add_client(client.address());
    }
    for sample in books.samples() {
        secrets.add("what is in a message", &sample);
    }
    Ok(secrets)
}

/// One client of 2021 and one of today of every manner; in a soak, of every manner that keeps up with its mail.
async fn gather(arena: &Arena, books: &Arc<Books>, soak: bool) -> Result<Vec<Patron>> {
    let later = Era::ALL.into_iter().skip(1).cycle();
    let mut patrons = Vec::new();
    // Mail of those who fetch less than they are sent piles up, which is not what a soak is to find.
    let manners = Manner::ALL.into_iter().filter(|manner| !soak || manner.keeps_up());
    for (manner, era) in manners.zip(later) {
        for era in [Era::Of2021, era] {
            let who = (patrons.len(), era, manner);
            let place = *arena.place.borrow();
            patrons.push(Patron::register(who, place, &arena.gateway.identity, books.clone()).await?);
        }
    }
    Ok(patrons)
}

async fn wait_for_quiet(books: &Books) {
    let mut acked = None;
    while acked != Some(books.tally().acked) {
        acked = Some(books.tally().acked);
        tokio::time::sleep(QUIET).await;
    }
}

/// Has a client fetch everything: mail is in order, so whatever is not there before one last message is gone.
async fn fetch_all(
    mut patron: Patron,
    maker: tests::packet::PacketMaker,
    books: Arc<Books>,
    place: place::Place,
) -> Result<()> {
    let mut outcome = Ok(());
    for _ in 0..FETCHES {
        let last = mixnodes::send_one(maker, &books, patron.addressee(), place.mix).await?;
        outcome = patron.fetch(place, FETCH, |books| books.has_delivered(&last)).await;
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}
