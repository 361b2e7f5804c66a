//! The country in which the gateway stands.

use std::{fmt, str::FromStr};

/// A country of ISO 3166-1, by its two letters. Readers in the network refuse the whole document for a code that is not on the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Country(celes::Country);

/// Why a text names no country.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a country: give its two letters of ISO 3166, such as CH")]
pub struct InvalidCountry;

impl FromStr for Country {
    type Err = InvalidCountry;

    fn from_str(text: &str) -> Result<Self, InvalidCountry> {
        let text = text.trim();
        let found = match text.len() {
            2 => celes::Country::from_alpha2(text),
            3 => celes::Country::from_alpha3(text),
            _ => celes::Country::from_name(text),
        };
        found.map(Self).map_err(|_| InvalidCountry)
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.alpha2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_country_is_written_as_two_letters() {
        for (text, code) in [("CH", "CH"), ("ch", "CH"), ("CHE", "CH"), ("Switzerland", "CH"), ("de", "DE")] {
            assert_eq!(text.parse::<Country>().unwrap().to_string(), code, "{text}");
        }
        for bad in ["", "XX", "QQQ", "Atlantis", "C"] {
            assert_eq!(bad.parse::<Country>(), Err(InvalidCountry), "{bad}");
        }
    }
}
