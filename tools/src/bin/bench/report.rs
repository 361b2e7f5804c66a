//! The table.

use std::{
    fs,
    io::{self, Write},
    process::ExitCode,
    thread,
};

use anyhow::Result;

use crate::{Era, Figure, Options, unwrap::BareUnwrap};

/// One number of a figure.
#[derive(Debug, Clone)]
pub(crate) struct Measurement {
    /// What it is.
    pub(crate) what: String,
    /// How much of it.
    pub(crate) value: f64,
    /// In what.
    pub(crate) unit: Unit,
    /// What it should be.
    pub(crate) aim: Aim,
}

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Processor time in microseconds for a packet; comparable with the bare unwrap.
    MicrosPerPacket,
    /// Processor time in microseconds for something else.
    Micros,
    /// Packets; comparable with the bare unwrap.
    PacketsPerSecond,
    /// Anything else.
    PerSecond,
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Millis,
    /// Memory.
    Kib,
    /// One number in units of another.
    Ratio,
}

/// What a number should be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Aim {
    /// Nothing is asked.
    None,
    /// Not more.
    AtMost(f64),
    /// Not less.
    AtLeast(f64),
    /// Not more, in units of the bare unwrap.
    UnwrapsAtMost(f64),
}

/// What one round of a figure yields.
#[derive(Debug, Default)]
pub(crate) struct Round {
    /// Numbers, the same ones in each round.
    pub(crate) measurements: Vec<Measurement>,
    /// What else is worth knowing.
    pub(crate) notes: Vec<String>,
    /// What went wrong: lost messages, missing acks.
    pub(crate) faults: Vec<String>,
}

impl Round {
    /// Adds a number.
    pub(crate) fn add(&mut self, what: impl Into<String>, value: f64, unit: Unit, aim: Aim) {
        self.measurements.push(Measurement { what: what.into(), value, unit, aim });
    }
}

/// Prints as it goes, and remembers what went wrong.
pub(crate) struct Report {
    out: io::Stdout,
    faults: usize,
    missed: usize,
    json: bool,
    era: Option<Era>,
}

impl Report {
    /// Says where and how is measured.
    ///
    /// # Errors
    /// If standard output is closed.
    pub(crate) fn begin(options: &Options) -> Result<Self> {
        let mut out = io::stdout();
        if options.json {
            return Ok(Self { out, faults: 0, missed: 0, json: true, era: None });
        }
        let cores = thread::available_parallelism()?;
        let load = fs::read_to_string("/proc/loadavg")?;
        let load = load.split(' ').next().unwrap_or_default();
        writeln!(
            out,
            "{cores} processors, shared by the gateway and the load generator; load before the start: {load}"
        )?;
        writeln!(
            out,
            "Processor time is the gateway's alone, all five processes together. Median of {} rounds.",
            options.rounds
        )?;
        writeln!(
            out,
            "\"unwraps\" is the value in units of one bare sphinx-packet unwrap on one core, measured right before."
        )?;
        if cfg!(debug_assertions) {
            writeln!(out, "THIS IS A DEBUG BUILD: the numbers mean nothing.")?;
        }
        Ok(Self { out, faults: 0, missed: 0, json: false, era: None })
    }

    /// Opens the table of an era.
    ///
    /// # Errors
    /// If standard output is closed.
    pub(crate) fn era(&mut self, era: Era, alone: BareUnwrap, everywhere: BareUnwrap) -> Result<()> {
        self.era = Some(era);
        if self.json {
            return Ok(());
        }
        let (alone, everywhere) = (alone.micros, everywhere.micros);
        writeln!(self.out, "\n== {era}: bare unwrap {alone:.1} us, {:.0}/s on one core;", 1e6 / alone)?;
        writeln!(self.out, "   {everywhere:.1} us each while every core does nothing else")?;
        writeln!(self.out, "{:<58}{:>16}{:>9}  {:<20}{:<8}range", "figure", "value", "unwraps", "aim", "")?;
        Ok(())
    }

    /// Prints one figure: rounds, each with the bare unwrap of its time.
    ///
    /// # Errors
    /// If standard output is closed.
    pub(crate) fn figure(&mut self, figure: Figure, rounds: &[(BareUnwrap, Round)]) -> Result<()> {
        for (index, first) in rounds.first().into_iter().flat_map(|(_, round)| &round.measurements).enumerate() {
            let measured =
                || rounds.iter().filter_map(|(bare, round)| Some((bare, round.measurements.get(index)?.value)));
            let values: Vec<f64> = measured().map(|(_, value)| value).collect();
            let value = median(&values);
            let in_unwraps = |(bare, value): (&BareUnwrap, f64)| match first.unit {
                Unit::MicrosPerPacket => Some(value / bare.micros),
                Unit::PacketsPerSecond => Some(value * bare.micros / 1e6),
                _ => None,
            };
            let unwraps: Option<Vec<f64>> = measured().map(in_unwraps).collect();
            let unwraps = unwraps.map(|unwraps| median(&unwraps));
            let (aim, met) = judge(first.aim, value, unwraps, first.unit);
            let verdict = match met {
                None => "",
                Some(true) => "met",
                Some(false) => "MISSED",
            };
            self.missed += usize::from(met == Some(false));
            if self.json {
                self.line(figure, first, value, unwraps, met)?;
                continue;
            }
            let range = match values.len() {
                1 => String::new(),
                _ => {
                    let low = values.iter().copied().fold(f64::MAX, f64::min);
                    let high = values.iter().copied().fold(f64::MIN, f64::max);
                    format!("{} .. {}", first.unit.show(low), first.unit.show(high))
                }
            };
            let what = format!("({}) {}", figure.name(), first.what);
            let value = first.unit.show(value);
            let unwraps = unwraps.map_or(String::new(), |unwraps| format!("{unwraps:.2}"));
            writeln!(self.out, "{what:<58}{value:>16}{unwraps:>9}  {aim:<20}{verdict:<8}{range}")?;
        }
        let notes = if self.json { None } else { rounds.last() };
        for note in notes.into_iter().flat_map(|(_, round)| &round.notes) {
            writeln!(self.out, "      {note}")?;
        }
        for fault in rounds.iter().flat_map(|(_, round)| &round.faults) {
            self.faults += 1;
            if self.json {
                eprintln!("FAULT: {fault}");
            } else {
                writeln!(self.out, "      FAULT: {fault}")?;
            }
        }
        Ok(())
    }

    /// Prints a number as JSON.
    fn line(
        &mut self,
        figure: Figure,
        number: &Measurement,
        value: f64,
        unwraps: Option<f64>,
        met: Option<bool>,
    ) -> Result<()> {
        let aim = match number.aim {
            Aim::None => None,
            Aim::AtMost(limit) | Aim::AtLeast(limit) | Aim::UnwrapsAtMost(limit) => Some(limit),
        };
        let line = serde_json::json!({
            "figure": figure.name(), "era": self.era.map(|era| era.to_string()), "what": number.what, "value": value,
            "unit": number.unit.name(), "unwraps": unwraps, "aim": aim, "met": met,
        });
        Ok(writeln!(self.out, "{line}")?)
    }

    /// Closes the table.
    ///
    /// # Errors
    /// If standard output is closed.
    pub(crate) fn end(mut self) -> Result<ExitCode> {
        if !self.json {
            writeln!(self.out, "\n{} aims missed, {} faults", self.missed, self.faults)?;
        }
        Ok(if self.faults == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Unit {
    const fn name(self) -> &'static str {
        match self {
            Self::MicrosPerPacket => "us/packet",
            Self::Micros => "us",
            Self::PacketsPerSecond => "packets/s",
            Self::PerSecond => "/s",
            Self::Seconds => "s",
            Self::Millis => "ms",
            Self::Kib => "KiB",
            Self::Ratio => "ratio",
        }
    }

    fn show(self, value: f64) -> String {
        match self {
            Self::MicrosPerPacket | Self::Micros => format!("{value:.1} us"),
            Self::PacketsPerSecond | Self::PerSecond => format!("{value:.0} /s"),
            Self::Seconds => format!("{value:.3} s"),
            Self::Millis => format!("{value:.2} ms"),
            Self::Kib => format!("{value:.1} KiB"),
            Self::Ratio => format!("{value:.3}"),
        }
    }
}

fn judge(aim: Aim, value: f64, unwraps: Option<f64>, unit: Unit) -> (String, Option<bool>) {
    match aim {
        Aim::None => (String::new(), None),
        Aim::AtMost(limit) => (format!("<= {}", unit.show(limit)), Some(value <= limit)),
        Aim::AtLeast(limit) => (format!(">= {}", unit.show(limit)), Some(value >= limit)),
        Aim::UnwrapsAtMost(limit) => (format!("<= {limit} unwraps"), unwraps.map(|unwraps| unwraps <= limit)),
    }
}

/// The middle one; of two middle ones their mean. Not a number if there is none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.get(middle.wrapping_sub(1)), sorted.get(middle)) {
        (Some(low), Some(high)) if sorted.len().is_multiple_of(2) => f64::midpoint(*low, *high),
        (_, Some(middle)) => *middle,
        (_, None) => f64::NAN,
    }
}

/// The middle of the lower half, and of the upper half.
pub(crate) fn quartiles(values: &[f64]) -> (f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len().div_ceil(2);
    let lower: Vec<f64> = sorted.iter().copied().take(half).collect();
    let upper: Vec<f64> = sorted.iter().copied().rev().take(half).collect();
    (median(&lower), median(&upper))
}
