//! Breaks a gateway in every way it must survive, while clients and mix nodes use it, and then asks whether every message that
//! was acknowledged has reached its client.
//!
//! The schedule of faults is drawn from a seed and printed before anything starts. The oracle are the judge: they are
//! written by clients and mix nodes alone, and know nothing of the gateway. Nothing here trusts the gateway, and nothing
//! outside its folder is touched.

mod balance;
mod coverage;
mod fault;
mod flaw;
mod garbage;
mod halfway;
mod injectors;
mod level;
mod memory;
mod newcomers;
mod options;
mod report;
mod runner;
mod schedule;
mod secrets;
mod spoof;
mod sut;
mod tear;

use std::{net::IpAddr, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use client_wire::key::SessionKey;
use harness::{
    addrs::Addrs,
    client_model::{ClientModel, Manner},
    deadline,
    disk::{Disk, FileSystem},
    era::Era,
    gateway::{IPV4, IPV6},
    mix_model::{self, Load, MixModel, surge::Surges},
    oracle::Oracle,
    output::say,
    usage::Peaks,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
};

use crate::{
    flaw::Flaw,
    level::Levels,
    newcomers::{Pace, Registrar},
    options::Options,
    report::Outcome,
    secrets::Secrets,
    sut::Sut,
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
    let may_mount = harness::disk::may_mount();
    let runtime = tokio::runtime::Runtime::new().context("cannot start the tool's runtime")?;
    let outcome = runtime.block_on(async {
        let mut terminated = signal(SignalKind::terminate())?;
        // After an interrupt neither the gateway nor its folder stays.
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

    let small_disk = (may_mount && options.kinds.contains(&fault::Kind::FullDisk)).then(file_system);
    if small_disk == Some(FileSystem::Tmpfs) {
        say("the disk is memory, where durable costs nothing: there are no loop devices")?;
    }
    let ip = address(options.seed);
    let oracle = Arc::new(Oracle::default());
    let mut sut = Sut::open(ip, small_disk, options.seed, options.flaw, oracle.clone()).await?;
    let addrs = sut.relays.addrs.subscribe();
    let levels = options
        .soak
        .then(|| Levels::watch(sut.supervisor.subscribe(), sut.gateway.home.data(), options.duration / LOOKS));
    let peaks = Peaks::watch(sut.supervisor.subscribe());
    let (halt, stop) = watch::channel(false);
    let models = gather(&sut, &oracle, options.soak).await?;
    let addresses: Vec<_> = models.iter().map(ClientModel::addressee).collect();
    sut.accounts = models.iter().filter_map(ClientModel::account).cloned().collect();
    let registrar = Registrar {
        pace: if options.soak { NEWCOMERS_OF_A_SOAK } else { NEWCOMERS },
        first: models.len(),
        addresses: Arc::new(watch::Sender::new(addresses)),
        addrs: addrs.clone(),
        gateway_identity: sut.gateway.identity,
        oracle: oracle.clone(),
    };
    let to = registrar.addresses.subscribe();
    let newcomers = tokio::spawn(registrar.register(stop.clone()));
    let mut clients = JoinSet::new();
    for client_model in models {
        clients.spawn(client_model.live(addrs.clone(), stop.clone()));
    }
    let maker = sut.packet_maker();
    let surges = Arc::new(Surges::default());
    // A soak is about what is level.
    let load = Load { per_second: options.rate / 2, surges: (!options.soak).then(|| surges.clone()) };
    let mut mixnodes = JoinSet::new();
    for kind in [mix_model::Kind::Of2021, mix_model::Kind::OfToday] {
        let node = MixModel::new(kind, maker, oracle.clone(), to.clone(), addrs.clone());
        mixnodes.spawn(node.work(load.clone(), stop.clone()));
    }

    let _deaf = match options.flaw {
        Some(Flaw::DeafEgress) => Some(flaw::deafen(sut.process("mix-egress").await?)),
        _ => None,
    };
    let coverage = runner::go_through(schedule, &mut sut, &options.kinds, options.duration).await?;

    let mut strange = levels.map(|levels| levels.judge()).unwrap_or_default();
    halt.send_replace(true);
    while let Some(node) = deadline::soon("a mix node to stop", mixnodes.join_next()).await? {
        node??;
    }
    let mut models = deadline::soon("the newcomers to stop", newcomers).await???;
    while let Some(client_model) = deadline::soon("a client to stop", clients.join_next()).await? {
        models.push(client_model??);
    }
    sut.settle().await?;
    wait_for_quiet(&oracle).await;
    let mut fetching = JoinSet::new();
    for client_model in models {
        let addrs = *addrs.borrow();
        fetching.spawn(fetch_all(client_model, maker, oracle.clone(), addrs));
    }
    while let Some(fetched) = fetching.join_next().await {
        if let Err(error) = fetched? {
            strange.push(format!("{error:#}"));
        }
    }
    strange.extend(balance::look_at(&sut.gateway.home).await?);
    let peaks = peaks.seen();
    sut.end().await?;
    strange.extend_from_slice(sut.log_oracle.strange());
    let log_lines = sut.log_oracle.said().len();
    strange.extend(secrets_of(&sut, &oracle)?.found_in(sut.log_oracle.said())?);
    let counters = sut.log_oracle.counters();
    let lost_acks = counters.get("mix-ingress").and_then(|counted| counted.get("acks_lost_to_egress"));
    if let Some(lost @ 1..) = lost_acks.filter(|_| !oracle.was_harmed("mix-egress")) {
        strange.push(format!("{lost} SURB-acks were lost on their way to a mix-egress that was well"));
    }
    Ok(Outcome { tally: oracle.tally(), counters, coverage, surges, peaks, log_lines, strange })
}

/// What the disk that is to be filled is formatted with: with a journal, so that durable takes its time, if a file can be a disk.
fn file_system() -> FileSystem {
    if Disk::may_loop() { FileSystem::Ext4 } else { FileSystem::Tmpfs }
}

/// Every other seed has the gateway, its mix nodes and its clients speak IPv6, if there is any.
fn address(seed: u64) -> IpAddr {
    let is_there = || std::net::TcpListener::bind((IPV6, 0)).is_ok();
    if seed.is_multiple_of(2) && is_there() { IPV6 } else { IPV4 }
}

/// Everything that the logs of a run must not say.
fn secrets_of(sut: &Sut, oracle: &Oracle) -> Result<Secrets> {
    let mut secrets = Secrets::of(&sut.gateway.home)?;
    for client in oracle.clients() {
        let key = match &client.key {
            SessionKey::CtrHmac(key) => key.to_bytes(),
            SessionKey::GcmSiv(key) => key.to_bytes(),
        };
        secrets.add("a session key", key.as_slice());
        secrets.add_client(client.address());
    }
    for sample in oracle.samples() {
        secrets.add("what is in a message or a SURB-ack", &sample);
    }
    Ok(secrets)
}

/// One client of 2021 and one of today of every manner; in a soak, of every manner that keeps up with its mail.
async fn gather(sut: &Sut, oracle: &Arc<Oracle>, soak: bool) -> Result<Vec<ClientModel>> {
    let later = Era::ALL.into_iter().skip(1).cycle();
    let mut models = Vec::new();
    // Mail of those who fetch less than they are sent piles up, which is not what a soak is to find.
    let manners = Manner::ALL.into_iter().filter(|manner| !soak || manner.keeps_up());
    for (manner, era) in manners.zip(later) {
        for era in [Era::Of2021, era] {
            let who = (models.len(), era, manner);
            let addrs = *sut.relays.addrs.borrow();
            models.push(ClientModel::register(who, addrs, &sut.gateway.identity, oracle.clone()).await?);
        }
    }
    Ok(models)
}

async fn wait_for_quiet(oracle: &Oracle) {
    let mut acked = None;
    while acked != Some(oracle.tally().acked) {
        acked = Some(oracle.tally().acked);
        tokio::time::sleep(QUIET).await;
    }
}

/// Has a client fetch everything: mail is in order, so whatever is not there before one last message is gone.
async fn fetch_all(
    mut client_model: ClientModel,
    maker: harness::packet::PacketMaker,
    oracle: Arc<Oracle>,
    addrs: Addrs,
) -> Result<()> {
    let mut outcome = Ok(());
    for _ in 0..FETCHES {
        let last = mix_model::send_one(maker, &oracle, client_model.addressee(), None, addrs.mix).await?;
        outcome = client_model.fetch(addrs, FETCH, |oracle| oracle.has_delivered(&last)).await;
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}
