//! One script of everything that the log does, and a crash or an error at each call of the shelf.

use nix::errno::Errno;
use session_ipc::Sequence;
use wire::address::ClientAddress;

use super::world::{SETTINGS, World};
use crate::{
    mail::{
        Settings,
        shelf::memory::{End, Fault},
    },
    mailbox::MailBatch,
};

/// Segments are small, so that a short script fills and cleans some.
const SMALL: Settings = Settings { segment: 32 * 1024, most: 9 * 32 * 1024, ..SETTINGS };
const STEPS: usize = 30;
/// How often each loss of power is repeated. Each time, chance decides which unsynced parts survive.
const POWER_CUTS: u64 = 3;

fn client(n: u8) -> ClientAddress {
    ClientAddress([n; 32])
}

/// Puts messages of this length into the inboxes in turn.
fn put(world: &mut World, messages: usize, len: usize) {
    let mut batch = MailBatch::default();
    for message in 0..messages {
        world.put(&mut batch, client((message % 3) as u8), 0, len);
    }
    world.commit(batch);
}

/// Removes of an inbox the messages at these places.
fn remove(world: &mut World, n: u8, is_gone: impl Fn(usize) -> bool) {
    let mut batch = MailBatch::default();
    for (place, number) in world.numbers(client(n)).into_iter().enumerate() {
        if is_gone(place) {
            batch.remove(client(n), Sequence(number));
        }
    }
    world.commit(batch);
}

/// One step of the script. Says whether the log was opened again.
fn step(world: &mut World, step: usize) -> bool {
    match step % STEPS {
        0 | 1 | 11 => world.clean_up(),
        2 | 3 => put(world, 6, 900),
        4 => remove(world, 0, |place| place < 2),
        5 => put(world, 12, 1_500),
        6 => remove(world, 1, |place| place % 2 == 1),
        7 => put(world, 9, 2_000),
        8..=10 => world.clean_up(),
        12 => {
            // A receipt and new mail in one batch.
            let mut batch = MailBatch::default();
            for number in world.numbers(client(2)).into_iter().take(4) {
                batch.remove(client(2), Sequence(number));
            }
            world.put(&mut batch, client(2), 3, 700);
            world.put(&mut batch, client(0), 0, 0);
            world.commit(batch);
        }
        13 => {
            // More than a segment holds.
            put(world, 24, 1_700);
        }
        14 => remove(world, 0, |place| place < 12),
        15..=19 => world.clean_up(),
        20 => {
            let mut batch = MailBatch::default();
            batch.erase(client(1));
            world.put(&mut batch, client(0), 0, 100);
            world.commit(batch);
        }
        21..=24 => world.clean_up(),
        25 => {
            world.end(None);
            return true;
        }
        26 => put(world, 6, 1_200),
        27 => remove(world, 2, |place| place % 3 != 0),
        _ => world.clean_up(),
    }
    false
}

/// Opens the log. If the planned error keeps this process from it, the next one opens it.
fn open(world: &mut World, end: End) {
    while let Err(error) = world.open() {
        assert!(!world.shelf.is_planned(), "{error}");
        world.shelf.end(if world.shelf.is_dead() { end } else { End::Kill }, &mut world.rng);
        world.steps.push(format!("open: {error}"));
    }
}

fn check(world: &mut World, is_opened: bool, what: &str) {
    if let Err(error) = world.check(is_opened) {
        let (steps, trace) = (world.steps.join("\n"), world.shelf.trace().join("\n"));
        panic!("{what}: {error}\n{steps}\n{trace}");
    }
}

/// Runs the script from this step on.
fn play(world: &mut World, from: usize, end: End, what: &str) {
    for at in from..STEPS {
        let mut is_opened = step(world, at);
        if world.shelf.is_dead() {
            if !is_opened {
                world.end(Some(end));
            }
            is_opened = true;
        }
        if is_opened {
            open(world, end);
        }
        if world.shelf.is_dead() {
            world.end(Some(end));
            open(world, end);
        }
        if is_opened || at + 1 == STEPS {
            check(world, is_opened, &format!("{what}, step {at}"));
        }
    }
}

/// Runs the script with a fault at one call, and a second fault at one call of the next process. Then one process ends in order, and
/// one does not.
fn run(seed: u64, first: (u64, Fault), second: Option<u64>, end: End) -> World {
    let what = format!("seed {seed}, {first:?}, then {second:?}, {end:?}");
    let mut world = World::with(SMALL, seed);
    world.shelf.plan(first.0, first.1);
    if let Some(second) = second {
        for at in 0..STEPS {
            step(&mut world, at);
            if world.shelf.is_dead() {
                if world.log.is_some() {
                    world.end(Some(end));
                }
                world.shelf.plan(second, Fault::Dies);
                open(&mut world, end);
                if world.shelf.is_dead() {
                    world.end(Some(end));
                    open(&mut world, end);
                }
                check(&mut world, true, &what);
                play(&mut world, at + 1, end, &what);
                break;
            }
            if world.log.is_none() {
                open(&mut world, end);
            }
        }
    } else {
        play(&mut world, 0, end, &what);
    }
    for end in [None, Some(End::Power)] {
        world.end(end);
        open(&mut world, End::Power);
        check(&mut world, true, &what);
    }
    world
}

/// How many calls the script makes when nothing fails.
fn calls() -> u64 {
    let mut world = World::with(SMALL, 0);
    let before = world.shelf.calls();
    play(&mut world, 0, End::Kill, "without faults");
    world.shelf.calls() - before
}

#[test]
fn a_kill_at_any_call_loses_nothing() {
    for call in 1..=calls() {
        run(0, (call, Fault::Dies), None, End::Kill);
    }
}

#[test]
fn a_power_cut_at_any_call_loses_nothing() {
    for call in 1..=calls() {
        for seed in 0..POWER_CUTS {
            run(seed, (call, Fault::Dies), None, End::Power);
        }
    }
}

#[test]
fn an_error_of_any_kind_at_any_call_loses_nothing() {
    for call in 1..=calls() {
        for fault in [Fault::Fails(Errno::EIO), Fault::Fails(Errno::ENOSPC), Fault::Reverts, Fault::Short] {
            run(0, (call, fault), None, End::Power);
        }
    }
}

#[test]
fn a_second_end_while_the_first_is_mended_loses_nothing() {
    for call in (1..=calls()).step_by(2) {
        for second in 1..=10 {
            let end = if (call + second) % 3 == 0 { End::Kill } else { End::Power };
            run(call, (call, Fault::Dies), Some(second), end);
        }
    }
}
