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

/// A level that an operator may choose. Warnings and errors are logged at every level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum LogLevel {
    /// Errors and warnings.
    Warn,
    /// What happens to the gateway as a whole.
    Info,
    /// What happens to each connection.
    Debug,
    /// Everything, the addresses of peers among it.
    Trace,
}

impl LogLevel {
    /// All levels.
    pub const ALL: [Self; 4] = [Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// The name, as in `RUST_LOG`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl LogSettings {
    /// The same settings, but `level` for `process`.
    #[must_use]
    pub fn with_level(&self, process: &str, level: LogLevel) -> Self {
        Self { filter: format!("{},{process}={}", self.filter, level.name()), format: self.format }
    }
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { filter: DEFAULT_FILTER.to_owned(), format: LineFormat::Plain }
    }
}
