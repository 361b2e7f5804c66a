//! Random histories: commits, removals, cleaning, ends of all kinds, and faults in the middle.

use nix::errno::Errno;
use rand::RngExt as _;
use session_ipc::Sequence;
use wire::address::ClientAddress;

use super::world::World;
use crate::{
    mail::shelf::memory::{End, Fault},
    mailbox::MailBatch,
};

const CLIENTS: u8 = 4;

fn client(n: u8) -> ClientAddress {
    ClientAddress([n; 32])
}

/// Runs one history. Returns what it broke, if anything.
fn history(seed: u64, steps: usize, with_faults: bool) -> Result<(), String> {
    let mut world = World::new(seed);
    for step in 0..steps {
        if with_faults && !world.shelf.is_planned() && world.rng.random_range(0..12) == 0 {
            let fault = match world.rng.random_range(0..6) {
                0 => Fault::Fails(Errno::EIO),
                1 => Fault::Reverts,
                2 => Fault::Short,
                3 => Fault::Fails(Errno::ENOSPC),
                _ => Fault::Dies,
            };
            let at = world.rng.random_range(1..30);
            world.shelf.plan(at, fault);
            world.steps.push(format!("in {at} calls {fault:?}"));
        }
        let mut is_opened = false;
        match world.rng.random_range(0..20) {
            0..9 => {
                let batch = some_batch(&mut world);
                world.commit(batch);
            }
            9..17 => world.clean_up(),
            17 => {
                world.end(None);
                is_opened = true;
            }
            18 => {
                world.end(Some(End::Kill));
                is_opened = true;
            }
            _ => {
                world.end(Some(End::Power));
                is_opened = true;
            }
        }
        if world.shelf.is_dead() && !is_opened {
            let end = if world.rng.random() { End::Kill } else { End::Power };
            world.end(Some(end));
            is_opened = true;
        }
        if is_opened {
            // Sometimes the next process fails early, too.
            if with_faults && world.rng.random_range(0..3) == 0 {
                let at = world.rng.random_range(1..12);
                world.shelf.plan(at, Fault::Dies);
            }
            while let Err(error) = world.open() {
                world.steps.push(format!("open: {error}"));
                if !world.shelf.is_dead() {
                    return Err(format!("step {step}: {error}"));
                }
                let end = if world.rng.random() { End::Kill } else { End::Power };
                world.shelf.end(end, &mut world.rng);
            }
            if world.shelf.is_dead() {
                continue;
            }
        }
        world.check(is_opened).map_err(|what| {
            let steps = world.steps.join("\n");
            format!("step {step}: {what}\n{steps}\n{}", world.shelf.trace().join("\n"))
        })?;
    }
    Ok(())
}

fn some_batch(world: &mut World) -> MailBatch {
    let mut batch = MailBatch::default();
    for _ in 0..world.rng.random_range(1..5) {
        let client = client(world.rng.random_range(0..CLIENTS));
        match world.rng.random_range(0..16) {
            0..9 => {
                for _ in 0..world.rng.random_range(1..12) {
                    let gap = if world.rng.random_range(0..8) == 0 { world.rng.random_range(0..40) } else { 0 };
                    let len = world.rng.random_range(0..4_000);
                    world.put(&mut batch, client, gap, len);
                }
            }
            9..14 => {
                let numbers = world.numbers(client);
                let count = world.rng.random_range(0..=numbers.len());
                for number in numbers.into_iter().take(count) {
                    batch.remove(client, Sequence(number));
                }
            }
            14 => {
                for number in world.numbers(client) {
                    if world.rng.random_range(0..3) == 0 {
                        batch.remove(client, Sequence(number));
                    }
                }
            }
            _ => batch.erase(client),
        }
    }
    batch
}

#[test]
fn histories_without_faults_lose_nothing() {
    for seed in 0..40 {
        if let Err(what) = history(seed, 120, false) {
            panic!("seed {seed}: {what}");
        }
    }
}

#[test]
fn histories_with_faults_lose_nothing() {
    for seed in 1_000..1_100 {
        if let Err(what) = history(seed, 120, true) {
            panic!("seed {seed}: {what}");
        }
    }
}
