//! The forms values take in `config.toml`.

use std::{fmt, num::NonZeroU64, time::Duration};

use proto::ipc::jail::Layer;
use semver::Version;
use serde::{
    Deserialize, Deserializer,
    de::{Error, SeqAccess, Visitor},
};

/// What 0.10.1 wrote where it had no value.
const MISSING: &str = "MISSING VALUE";

/// The least that may be set for memory.
const LEAST_MEMORY: u64 = 16 << 20;

/// How likely something is that should be rare: in the file a number like 0.00001.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probability {
    per_billion: u32,
}

impl Probability {
    const BILLION: f64 = 1e9;

    /// So many of a thousand million.
    pub(super) const fn per_billion(per_billion: u32) -> Self {
        Self { per_billion }
    }

    /// How many of a thousand million.
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

/// A humantime string (`'1m 30s'`) or a whole number of milliseconds.
pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    struct Either;

    impl Visitor<'_> for Either {
        type Value = Duration;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a duration like '250ms' or '1m 30s', or a whole number of milliseconds")
        }

        fn visit_i64<E: Error>(self, value: i64) -> Result<Duration, E> {
            u64::try_from(value)
                .map(Duration::from_millis)
                .map_err(|_| E::invalid_value(serde::de::Unexpected::Signed(value), &self))
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
            humantime::parse_duration(text).map_err(|_| E::invalid_value(serde::de::Unexpected::Str(text), &self))
        }
    }

    deserializer.deserialize_any(Either)
}

/// As [`duration`], but not zero.
pub(super) fn positive_duration<'de, D>(deserializer: D) -> Result<Duration, D::Error>
where
    D: Deserializer<'de>,
{
    match duration(deserializer)? {
        Duration::ZERO => Err(Error::custom("this duration must be longer than zero")),
        positive => Ok(positive),
    }
}

/// Bytes of memory: not so few that one message of each kind would not fit its share.
pub(super) fn memory<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NonZeroU64, D::Error> {
    let bytes = NonZeroU64::deserialize(deserializer)?;
    if bytes.get() < LEAST_MEMORY {
        return Err(Error::custom(format!("this must be at least {LEAST_MEMORY} (16 MiB)")));
    }
    Ok(bytes)
}

/// A version, or nothing where the text is empty or says that it is missing.
pub(super) fn version<'de, D>(deserializer: D) -> Result<Option<Version>, D::Error>
where
    D: Deserializer<'de>,
{
    text(deserializer)?
        .map(|text| text.parse())
        .transpose()
        .map_err(|_| Error::custom("a version has three numbers, like '0.10.1'"))
}

/// A string, or nothing where it is empty or says that it is missing.
pub(super) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    Ok(Some(text).filter(|text| !text.is_empty() && text != MISSING))
}

/// Anything written as text, or nothing where the text is empty.
pub(super) fn parsed<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: std::str::FromStr<Err: fmt::Display>,
{
    text(deserializer)?.map(|text| text.parse()).transpose().map_err(Error::custom)
}

/// An array of names of the jail's layers.
pub(super) fn layers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Layer>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    names.iter().map(|name| name.parse()).collect::<Result<_, _>>().map_err(Error::custom)
}

/// One string or an array of strings; what says that it is missing is left out.
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
