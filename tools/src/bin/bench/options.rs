//! What to measure, and how much of it.

use std::{num::ParseIntError, str::FromStr};

use anyhow::{Context, Result, bail, ensure};

use crate::{Era, Figure};

const USAGE: &str = "usage: bench [--quick] [--only a,a2,b,b2,c,d,e,f,g,h,i,j] [--era 2021,today] [--rounds N] [--json]
             [--idle CLIENTS] [--kept N] [--memory BYTES] [--marks BYTES] [--data BYTES]";

/// What the command line says.
pub(crate) struct Options {
    /// The figures, in the order of their letters.
    pub(crate) figures: Vec<Figure>,
    /// The eras, oldest first.
    pub(crate) eras: Vec<Era>,
    /// How often each figure is measured.
    pub(crate) rounds: usize,
    /// How much load.
    pub(crate) scale: Scale,
    /// A line of JSON for each number, and no table.
    pub(crate) json: bool,
}

/// How much load a figure is measured with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    /// Packets pushed to one online client, and packets stored for offline ones.
    pub(crate) packets: usize,
    /// Clients whose mail is stored.
    pub(crate) offline_clients: usize,
    /// Clients with much mail stored, and messages that they have together.
    pub(crate) inboxes: usize,
    pub(crate) stored: usize,
    /// Messages that one client fetches.
    pub(crate) waiting: usize,
    /// Clients that do nothing.
    pub(crate) idle_clients: usize,
    /// Seconds of packets at a steady rate.
    pub(crate) steady_seconds: usize,
    /// Seconds of registrations.
    pub(crate) register_seconds: u64,
    /// Pairs of short rounds with and without the jail.
    pub(crate) jail_pairs: usize,
    /// Packets in each of these rounds.
    pub(crate) jail_packets: usize,
    /// Messages, or clients, that are there at a start.
    pub(crate) kept: usize,
    /// Packets that are unwrapped without a gateway.
    pub(crate) unwraps: usize,
    /// What the filled gateway may use.
    pub(crate) budget: Budget,
}

/// What the configuration of the filled gateway allows, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    /// `memory` in `[limits]`.
    pub(crate) memory: u64,
    /// `memory` in `[replay]`.
    pub(crate) marks: u64,
    /// `data_bytes` in `[limits]`.
    pub(crate) data: u64,
}

impl Budget {
    /// What a new configuration says.
    const DEFAULT: Self = Self { memory: 240 << 20, marks: 352 << 20, data: 10 << 30 };
}

impl Scale {
    const FULL: Self = Self {
        packets: 20_000,
        offline_clients: 50,
        inboxes: 10_000,
        stored: 100_000,
        waiting: 20_000,
        idle_clients: 2_000,
        steady_seconds: 10,
        register_seconds: 3,
        jail_pairs: 25,
        jail_packets: 5_000,
        kept: 1_000_000,
        unwraps: 2_000,
        budget: Budget::DEFAULT,
    };

    /// Enough to see that everything works, not to measure anything.
    const QUICK: Self = Self {
        packets: 500,
        offline_clients: 10,
        inboxes: 100,
        stored: 500,
        waiting: 500,
        idle_clients: 100,
        steady_seconds: 1,
        register_seconds: 1,
        jail_pairs: 2,
        jail_packets: 500,
        kept: 2_000,
        unwraps: 200,
        budget: Budget { memory: 24 << 20, marks: 64 << 20, data: 1 << 30 },
    };
}

impl Options {
    /// Reads the command line, without the program's name.
    ///
    /// # Errors
    /// If something in it is unknown; the text shows the usage.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut options =
            Self { figures: Figure::ALL.to_vec(), eras: Era::ALL.to_vec(), rounds: 1, scale: Scale::FULL, json: false };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{argument} needs a value\n{USAGE}"));
            let Scale { idle_clients, kept, budget, .. } = &mut options.scale;
            match argument.as_str() {
                "--quick" => options.scale = Scale::QUICK,
                "--json" => options.json = true,
                "--only" => options.figures = chosen(&value()?, &Figure::ALL, |figure| figure.name().to_owned())?,
                "--era" => options.eras = chosen(&value()?, &Era::ALL, |era| era.to_string())?,
                "--idle" => *idle_clients = number(&argument, value()?)?,
                "--kept" => *kept = number(&argument, value()?)?,
                "--memory" => budget.memory = number(&argument, value()?)?,
                "--marks" => budget.marks = number(&argument, value()?)?,
                "--data" => budget.data = number(&argument, value()?)?,
                "--rounds" => options.rounds = number(&argument, value()?)?,
                other => bail!("unknown argument {other}\n{USAGE}"),
            }
        }
        ensure!(options.rounds > 0, "--rounds must be at least 1\n{USAGE}");
        Ok(options)
    }
}

fn number<N: FromStr<Err = ParseIntError>>(argument: &str, value: String) -> Result<N> {
    value.parse().with_context(|| format!("{argument}\n{USAGE}"))
}

/// Those of `all` whose name is in the list, in the order of `all`.
fn chosen<T: Copy>(list: &str, all: &[T], name: impl Fn(T) -> String) -> Result<Vec<T>> {
    for word in list.split(',') {
        ensure!(all.iter().any(|one| name(*one) == word), "there is no {word:?} to measure\n{USAGE}");
    }
    Ok(all.iter().copied().filter(|one| list.split(',').any(|word| name(*one) == word)).collect())
}
