//! TCP ports as an operator names them: single ones and ranges.

use std::{fmt, num::ParseIntError, str::FromStr};

use bincode::{Decode, Encode};

/// Ports from one to another, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct PortRange {
    /// The lowest port.
    pub first: u16,
    /// The highest port.
    pub last: u16,
}

impl PortRange {
    /// Every port.
    pub const ALL: Self = Self { first: 1, last: u16::MAX };

    /// Whether `port` is in the range.
    pub fn contains(&self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }

    /// Every port of the range.
    pub fn ports(self) -> impl Iterator<Item = u16> {
        self.first..=self.last
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, last } = self;
        if first == last { write!(f, "{first}") } else { write!(f, "{first}-{last}") }
    }
}

/// The text names no ports.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither a port from 1 to 65535 nor a range of ports like '1024-65535'")]
pub struct InvalidPortRange(String);

impl FromStr for PortRange {
    type Err = InvalidPortRange;

    fn from_str(text: &str) -> Result<Self, InvalidPortRange> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let port = |text: &str| text.trim().parse::<u16>();
        let range = || Ok::<_, ParseIntError>(Self { first: port(first)?, last: port(last)? });
        range()
            .ok()
            .filter(|range| 0 < range.first && range.first <= range.last)
            .ok_or_else(|| InvalidPortRange(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_ranges_are_read_and_written_back() {
        for (text, shown, first, last) in
            [("1789", "1789", 1789, 1789), ("1024-65535", "1024-65535", 1024, 65535), ("1-1", "1", 1, 1)]
        {
            let range: PortRange = text.parse().unwrap();
            assert_eq!(range, PortRange { first, last });
            assert_eq!(range.to_string(), shown);
            assert!(range.contains(first) && range.contains(last) && !range.contains(first - 1));
            assert_eq!(range.ports().count(), usize::from(last - first) + 1);
        }
        for text in ["", "0", "0-1", "2-1", "65536", "-", "1-", "-1", "1-2-3", "http"] {
            assert!(text.parse::<PortRange>().is_err(), "{text}");
        }
    }
}
