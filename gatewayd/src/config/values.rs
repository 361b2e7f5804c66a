//! How values are written in `config.toml`.

use std::{fmt, num::NonZeroU64, time::Duration};

use ipc::{jail::Layer, ports::PortRange, trusted_network::TrustedNetwork};
use semver::Version;
use serde::{
    Deserialize, Deserializer,
    de::{Error, SeqAccess, Unexpected, Visitor},
};
use wire::framing::FramingChoice;

/// The text that 0.10.1 wrote for a value that it did not have.
const MISSING: &str = "MISSING VALUE";

/// The smallest value for memory.
const LEAST_MEMORY: u64 = 24 << 20;
/// The smallest value for data. Half of it is for the ledger, and of the other 32 segments of a megabyte three are held in reserve.
const LEAST_DATA: u64 = 64 << 20;

/// A small probability. In the file it is a number like 0.00001.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probability {
    per_billion: u32,
}

impl Probability {
    const BILLION: f64 = 1e9;

    /// A probability in parts per billion.
    pub(super) const fn per_billion(per_billion: u32) -> Self {
        Self { per_billion }
    }

    /// The probability in parts per billion.
    pub fn in_a_billion(self) -> u32 {
        self.per_billion
    }
}

impl<'de> Deserialize<'de> for Probability {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = f64::deserialize(deserializer)?;
        if !(1.0 / Self::BILLION..=0.1).contains(&value) {
            return Err(Error::custom("this must be a number from 0.000000001 to 0.1"));
        }
        // Within the range above this is from 1 to 100 million.
        Ok(Self { per_billion: (value * Self::BILLION).round() as u32 })
    }
}

/// A duration with a unit (`'1m 30s'`).
pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    deserializer.deserialize_any(DurationForm { bare_milliseconds: false })
}

/// A duration as 0.10.1 read it: a whole number means milliseconds.
pub(super) fn duration_of_0_10<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    deserializer.deserialize_any(DurationForm { bare_milliseconds: true })
}

/// As [`duration_of_0_10`], but not zero.
pub(super) fn positive_duration_of_0_10<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    not_zero(duration_of_0_10(deserializer)?)
}

/// The forms of a duration.
struct DurationForm {
    bare_milliseconds: bool,
}

impl Visitor<'_> for DurationForm {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration like '250ms', '1m 30s' or '30days'")?;
        if self.bare_milliseconds { f.write_str(", or a whole number of milliseconds") } else { Ok(()) }
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Duration, E> {
        let unexpected = Unexpected::Signed(value);
        if !self.bare_milliseconds {
            // The number alone does not tell whether days or milliseconds are meant.
            return Err(E::custom(format_args!(
                "{value} has no unit: write a duration like '{value}s' or '{value}days'"
            )));
        }
        u64::try_from(value).map(Duration::from_millis).map_err(|_| E::invalid_value(unexpected, &self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
        humantime::parse_duration(text).map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
    }
}

fn not_zero<E: Error>(duration: Duration) -> Result<Duration, E> {
    match duration {
        Duration::ZERO => Err(E::custom("this duration must be longer than zero")),
        positive => Ok(positive),
    }
}

/// A number of bytes: a whole number, or one with a unit (`'10 GB'`, `'128 MiB'`).
pub(super) fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NonZeroU64, D::Error> {
    struct Size;

    impl Visitor<'_> for Size {
        type Value = NonZeroU64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number of bytes, nonzero, like 1048576, '128 MiB' or '10 GB'")
        }

        fn visit_i64<E: Error>(self, value: i64) -> Result<NonZeroU64, E> {
            let bytes = u64::try_from(value).ok().and_then(NonZeroU64::new);
            bytes.ok_or_else(|| E::invalid_value(Unexpected::Signed(value), &self))
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<NonZeroU64, E> {
            bytes_of(text).and_then(NonZeroU64::new).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
        }
    }

    deserializer.deserialize_any(Size)
}

/// Reads a whole number with a unit: powers of 1000, or of 1024 with an `i`.
fn bytes_of(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '_').len();
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.replace('_', "").parse().ok()?;
    let factor: u64 = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// As [`duration`], but not zero.
pub(super) fn positive_duration<'de, D>(deserializer: D) -> Result<Duration, D::Error>
where
    D: Deserializer<'de>,
{
    not_zero(duration(deserializer)?)
}

/// Bytes of memory. With fewer than the least, one message of each kind would not fit into its share.
pub(super) fn memory<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NonZeroU64, D::Error> {
    let bytes = size(deserializer)?;
    if bytes.get() < LEAST_MEMORY {
        return Err(Error::custom(format!("this must be at least {LEAST_MEMORY} (24 MiB)")));
    }
    Ok(bytes)
}

/// Bytes of data. With fewer than the least, ledger, reserve and segments that are being cleaned would leave no room for mail.
pub(super) fn data_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NonZeroU64, D::Error> {
    let bytes = size(deserializer)?;
    if bytes.get() < LEAST_DATA {
        return Err(Error::custom(format!("this must be at least {LEAST_DATA} (64 MiB)")));
    }
    Ok(bytes)
}

/// A version; none if the text is empty or says that the value is missing.
pub(super) fn version<'de, D>(deserializer: D) -> Result<Option<Version>, D::Error>
where
    D: Deserializer<'de>,
{
    text(deserializer)?
        .map(|text| text.parse())
        .transpose()
        .map_err(|_| Error::custom("a version has three numbers, like '0.10.1'"))
}

/// A string; none if it is empty or says that the value is missing.
pub(super) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    Ok(Some(text).filter(|text| !text.is_empty() && text != MISSING))
}

/// A value that is written as text; none if the text is empty.
pub(super) fn parsed<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: std::str::FromStr<Err: fmt::Display>,
{
    text(deserializer)?.map(|text| text.parse()).transpose().map_err(Error::custom)
}

/// The frame header of packets that are sent: `auto`, or a version.
pub(super) fn framing<'de, D: Deserializer<'de>>(deserializer: D) -> Result<FramingChoice, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "auto" => Ok(FramingChoice::AsGiven),
        "2021" => Ok(FramingChoice::Unversioned),
        "7" => Ok(FramingChoice::V7),
        "8" => Ok(FramingChoice::V8),
        other => Err(Error::unknown_variant(other, &["auto", "2021", "7", "8"])),
    }
}

/// An array of names of the jail's layers.
pub(super) fn layers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Layer>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    names.iter().map(|name| name.parse()).collect::<Result<_, _>>().map_err(Error::custom)
}

/// An array of addresses and networks.
pub(super) fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<TrustedNetwork>, D::Error> {
    let networks = Vec::<String>::deserialize(deserializer)?;
    networks.iter().map(|network| network.parse()).collect::<Result<_, _>>().map_err(Error::custom)
}

/// An array of ports and ranges of ports, which must not be empty.
pub(super) fn ports<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PortRange>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a port like 1789 or a range like '1024-65535'")]
    enum Ports {
        One(i64),
        Range(String),
    }

    let ports = Vec::<Ports>::deserialize(deserializer)?;
    if ports.is_empty() {
        return Err(Error::custom("name at least one port, like [1789] or ['1024-65535']"));
    }
    let range = |ports: &Ports| match ports {
        Ports::One(port) => port.to_string().parse(),
        Ports::Range(range) => range.parse(),
    };
    ports.iter().map(range).collect::<Result<_, _>>().map_err(Error::custom)
}

/// One string or an array of strings. Strings that say that the value is missing are left out.
pub(super) fn one_or_many<'de, D>(deserializer: D) -> Result<Vec<String>, D::Error>
where
    D: Deserializer<'de>,
{
    struct OneOrMany;

    impl<'de> Visitor<'de> for OneOrMany {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string or an array of strings")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Vec<String>, E> {
            Ok(vec![text.to_owned()])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<String>, A::Error> {
            let mut texts = Vec::new();
            while let Some(text) = seq.next_element()? {
                texts.push(text);
            }
            Ok(texts)
        }
    }

    let mut texts = deserializer.deserialize_any(OneOrMany)?;
    texts.retain(|text| !text.is_empty() && text != MISSING);
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_of_both_kinds() {
        for (text, bytes) in [
            ("10 GB", Some(10_000_000_000)),
            ("128MiB", Some(128 << 20)),
            ("1_000 b", Some(1_000)),
            ("7", Some(7)),
            ("2tib", Some(2 << 40)),
            ("1.5 GB", None),
            ("GB", None),
            ("-1", None),
            ("10 parsecs", None),
            ("99999999999 GB", None),
        ] {
            assert_eq!(bytes_of(text), bytes, "{text}");
        }
    }
}
