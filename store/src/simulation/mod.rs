//! A simulation of the store: the core, the mail log and its cleaning as they are, over a disk in memory and in virtual time, between
//! peers that die and clients of every era.
//!
//! One seed gives one history, which is the same each time: nothing in it has a thread, a clock or a random number of its own that
//! matters. After each event it is compared with a model of what was promised. A history that breaks a promise is shrunk to
//! the few events that it takes. `make simulate SECONDS=600` plays as many as it can; `make simulate SEED=n` plays one and
//! prints what happens in it.
//!
//! | file | is |
//! |---|---|
//! | `event` | what may happen, and the history of a seed |
//! | `world` | everything there is, and what an event does to it |
//! | `ingress`, `edge`, `process`, `jobs` | the same for each of the processes, and for what takes time |
//! | `finale` | how a history ends |
//! | `storage`, `peers`, `client` | what is around the core |
//! | `oracle` | what must be true |
//! | `shrink`, `figures` | what is told: a history made short, and how much was simulated |
//!
//! What is not simulated: the ledger's engine (see `storage`), the service's threads, the links' bytes, the arithmetic of keys.

mod client;
mod edge;
mod event;
mod figures;
mod finale;
mod ingress;
mod jobs;
mod oracle;
mod peers;
mod process;
mod shrink;
mod storage;
mod world;

use std::{
    env, panic,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use event::{Event, History, draw};
use figures::Figures;
use oracle::Violation;
use world::World;

/// Histories of the short run.
const FEW: u64 = 1_000;

/// Plays a history, or its beginning if it breaks a promise.
fn play(history: &History, events: &[Event]) -> Result<Figures, Violation> {
    let played = panic::catch_unwind(|| {
        let mut world = World::new(history.clone())?;
        for event in events {
            world.happen(*event)?;
        }
        world.finish()?;
        Ok(world.figures)
    });
    played.unwrap_or_else(|cause| {
        let text = cause.downcast_ref::<String>().cloned();
        let text = text.or_else(|| cause.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(Violation { rule: "nothing panics", seen: text.unwrap_or_default() })
    })
}

/// What is wrong with the history of a seed, told with as few events as it takes.
fn explain(seed: u64, violation: &Violation) -> String {
    let history = draw(seed);
    let broken = |events: &[Event]| play(&history, events).err();
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let events = shrink::shrink(&history.events, broken, violation.rule);
    let left = broken(&events);
    panic::set_hook(hook);
    let events: Vec<String> = events.iter().map(|event| format!("  {event:?}")).collect();
    let seen = left.unwrap_or_else(|| violation.clone());
    format!(
        "\n{}: {}\nafter these of {} events, and what follows when all is mended:\n{}\n{:?}\n`SEED={seed} make simulate` repeats it",
        seen.rule,
        seen.seen,
        history.events.len(),
        events.join("\n"),
        history.config,
    )
}

/// The first of these seeds whose history breaks a promise.
fn first_broken(seeds: impl IntoIterator<Item = u64>) -> Option<(u64, Violation)> {
    seeds.into_iter().find_map(|seed| {
        let history = draw(seed);
        play(&history, &history.events).err().map(|violation| (seed, violation))
    })
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

#[cfg(not(feature = "ack-before-commit"))]
#[test]
fn no_history_breaks_a_promise() {
    if let Some((seed, violation)) = first_broken(0..FEW) {
        panic!("{}", explain(seed, &violation));
    }
}

#[cfg(feature = "ack-before-commit")]
#[test]
fn a_store_that_accepts_before_the_commit_is_found() {
    let (seed, violation) = first_broken(0..FEW).unwrap();
    assert_eq!(violation.rule, "accepted is on the medium or received (1)", "seed {seed}");
}

#[test]
fn a_seed_plays_the_same_history_each_time() {
    for seed in 0..20 {
        let history = draw(seed);
        let outcome = || format!("{:?}", play(&history, &history.events));
        assert_eq!(outcome(), outcome(), "seed {seed}");
    }
}

/// Of `make simulate`: SECONDS_IN_ALL, SEED, FIRST and JOBS are in the environment.
#[test]
#[ignore = "runs for as long as it is told to"]
fn histories_for_as_long_as_asked() {
    if let Some(seed) = number("SEED") {
        match first_broken([seed]) {
            Some((seed, violation)) => panic!("{}", explain(seed, &violation)),
            None => return println!("the history of seed {seed} breaks no promise"),
        }
    }
    let began = Instant::now();
    let time = Duration::from_secs(number("SECONDS_IN_ALL").unwrap_or(60));
    let cores = || thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let next = AtomicU64::new(number("FIRST").unwrap_or_else(|| rand::random::<u32>().into()));
    let (first, is_over) = (next.load(Relaxed), AtomicBool::new(false));
    let (all, broken) = (Mutex::new(Figures::default()), Mutex::new(None));
    thread::scope(|scope| {
        for _ in 0..number("JOBS").unwrap_or_else(cores) {
            scope.spawn(|| {
                while began.elapsed() < time && !is_over.load(Relaxed) {
                    let seed = next.fetch_add(1, Relaxed);
                    let history = draw(seed);
                    match play(&history, &history.events) {
                        Ok(figures) => all.lock().unwrap().add(&figures),
                        Err(violation) => {
                            is_over.store(true, Relaxed);
                            broken.lock().unwrap().get_or_insert((seed, violation));
                        }
                    }
                }
            });
        }
    });
    let seeds = next.load(Relaxed) - first;
    println!("from {first} on, {}", all.into_inner().unwrap().tell(seeds, began.elapsed()));
    if let Some((seed, violation)) = broken.into_inner().unwrap() {
        panic!("{}", explain(seed, &violation));
    }
}
