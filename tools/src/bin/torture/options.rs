//! How long, how hard, and with which faults.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::{fault::Kind, flaw::Flaw};

const USAGE: &str = "usage: torture [--seconds N] [--seed N] [--rate PACKETS_PER_SECOND] [--only fault,fault,... | --soak] [--flaw FLAW]";

/// A soak is no longer than this.
const LONGEST_SOAK: Duration = Duration::from_secs(600);

/// What the command line says.
pub(crate) struct Options {
    /// How long faults go on. Fetching the mail comes after that.
    pub(crate) duration: Duration,
    /// What the schedule is drawn from.
    pub(crate) seed: u64,
    /// Packets per second, of all mix nodes together.
    pub(crate) rate: u32,
    /// The faults to pick from.
    pub(crate) kinds: Vec<Kind>,
    /// No faults at all, but clients that come and go: is everything level?
    pub(crate) soak: bool,
    /// What is wrong with the gateway, as far as others can see, to find out whether that is judged.
    pub(crate) flaw: Option<Flaw>,
}

impl Options {
    /// Reads the command line, without the program's name.
    ///
    /// # Errors
    /// If something in it is unknown; the text shows the usage.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut options = Self {
            duration: Duration::from_secs(60),
            seed: rand::random(),
            rate: 400,
            kinds: Kind::ALL.to_vec(),
            soak: false,
            flaw: None,
        };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            if argument == "--soak" {
                (options.soak, options.kinds) = (true, Vec::new());
                continue;
            }
            let value = arguments.next().with_context(|| format!("{argument} needs a value\n{USAGE}"))?;
            let number = || value.parse::<u64>().with_context(|| format!("{argument} {value}\n{USAGE}"));
            match argument.as_str() {
                "--seconds" => options.duration = Duration::from_secs(number()?),
                "--seed" => options.seed = number()?,
                "--rate" => options.rate = u32::try_from(number()?).context(USAGE)?,
                "--only" => options.kinds = chosen(&value)?,
                "--flaw" => options.flaw = Some(Flaw::named(&value)?),
                _ => bail!("unknown argument {argument}\n{USAGE}"),
            }
        }
        ensure!((1..=100_000).contains(&options.rate), "--rate must be from 1 to 100000\n{USAGE}");
        if options.soak {
            options.duration = options.duration.min(LONGEST_SOAK);
        }
        Ok(options)
    }
}

fn chosen(list: &str) -> Result<Vec<Kind>> {
    let known = || Kind::ALL.map(Kind::name).join(", ");
    let kind = |name| Kind::ALL.into_iter().find(|kind| kind.name() == name);
    list.split(',')
        .map(|name| kind(name).with_context(|| format!("no fault is called {name:?}; there are {}", known())))
        .collect()
}
