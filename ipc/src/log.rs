//! What a worker is told of the log. The crate `logging` writes it.

use bincode::{Decode, Encode};

/// The filter without `RUST_LOG`.
pub const DEFAULT_FILTER: &str = "info";

/// The form of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum LineFormat {
    /// With the time, for a terminal or a file.
    Plain,
    /// With a priority in front (sd-daemon(3)), for the journal.
    Journal,
}

/// What a worker is told of the log.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct LogSettings {
    /// The filter, in the form of `RUST_LOG`.
    pub filter: String,
    /// The form of each line.
    pub format: LineFormat,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { filter: DEFAULT_FILTER.to_owned(), format: LineFormat::Plain }
    }
}
