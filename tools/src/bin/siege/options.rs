//! How long, how much, and by whom.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::attackers::Kind;

const USAGE: &str =
    "usage: siege [--seconds N] [--rate PACKETS_PER_SECOND] [--floor MILLISECONDS] [--only attacker,attacker,...]";

/// A siege is no longer than this.
const LONGEST: u64 = 3_600;

/// What the command line says.
pub(crate) struct Options {
    /// How long the siege lasts. The undisturbed time before it is a quarter of that.
    pub(crate) duration: Duration,
    /// Packets per second of the honest.
    pub(crate) rate: u32,
    /// Latencies below this say nothing of the gateway.
    pub(crate) floor: Duration,
    /// Who attacks.
    pub(crate) kinds: Vec<Kind>,
}

impl Options {
    /// Reads the command line, without the program's name.
    ///
    /// # Errors
    /// If something in it is unknown; the text shows the usage.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut options = Self {
            duration: Duration::from_secs(60),
            rate: 200,
            floor: Duration::from_millis(5),
            kinds: Kind::ALL.to_vec(),
        };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let value = arguments.next().with_context(|| format!("{argument} needs a value\n{USAGE}"))?;
            let number = || value.parse::<u64>().with_context(|| format!("{argument} {value}\n{USAGE}"));
            match argument.as_str() {
                "--seconds" => {
                    ensure!((1..=LONGEST).contains(&number()?), "--seconds must be from 1 to {LONGEST}\n{USAGE}");
                    options.duration = Duration::from_secs(number()?);
                }
                "--rate" => options.rate = u32::try_from(number()?).context(USAGE)?,
                "--floor" => options.floor = Duration::from_millis(number()?),
                "--only" => options.kinds = chosen(&value)?,
                _ => bail!("unknown argument {argument}\n{USAGE}"),
            }
        }
        ensure!((2..=10_000).contains(&options.rate), "--rate must be from 2 to 10000\n{USAGE}");
        Ok(options)
    }

    /// How long there are no attackers.
    pub(crate) fn undisturbed(&self) -> Duration {
        const LEAST: Duration = Duration::from_secs(4);
        (self.duration / 4).max(LEAST)
    }
}

fn chosen(list: &str) -> Result<Vec<Kind>> {
    let known = || Kind::ALL.map(Kind::name).join(", ");
    let kind = |name| Kind::ALL.into_iter().find(|kind| kind.name() == name);
    list.split(',')
        .map(|name| kind(name).with_context(|| format!("no attacker is called {name:?}; there are {}", known())))
        .collect()
}
