//! A text about the operator, as it is shown to anybody.

use std::{fmt, str::FromStr};

/// The longest text, in bytes. All texts together must fit into the message that starts a worker.
const MAX_LEN: usize = 2_000;

/// One line of text, of limited length and without control characters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line(String);

/// Why a text is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this must be one line of at most {MAX_LEN} bytes, without control characters")]
pub struct InvalidLine;

impl FromStr for Line {
    type Err = InvalidLine;

    fn from_str(text: &str) -> Result<Self, InvalidLine> {
        if text.len() > MAX_LEN || text.chars().any(char::is_control) {
            return Err(InvalidLine);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_short_and_has_no_control_characters() {
        assert_eq!("Zürich <x>".parse::<Line>().unwrap().to_string(), "Zürich <x>");
        assert_eq!("".parse::<Line>(), Ok(Line::default()));
        for bad in ["a\nb".to_owned(), "\u{1b}[2J".into(), "x".repeat(MAX_LEN + 1)] {
            assert_eq!(bad.parse::<Line>(), Err(InvalidLine));
        }
    }
}
