//! The settings of the log: from `RUST_LOG`, and from what standard error is.

use std::{ffi::OsStr, io, os::fd::AsFd};

use ipc::log::{DEFAULT_FILTER, LineFormat, LogSettings};
use logging::{Filter, UnknownDirective};
use nix::sys::stat::fstat;

/// Starts the log of this process, and warns of parts of `RUST_LOG` that have no meaning. Returns the settings for the workers.
pub(crate) fn begin() -> LogSettings {
    let (filter, complaints) = read(std::env::var_os("RUST_LOG").as_deref());
    let settings =
        LogSettings { filter: filter.to_string(), format: line_format(std::env::var_os("JOURNAL_STREAM").as_deref()) };
    logging::init("gatewayd", &settings);
    for complaint in complaints {
        tracing::warn!(id = "GWD-G011", "{complaint}; it has no effect");
    }
    if filter.names_peers() {
        tracing::warn!(id = "GWD-G012", "RUST_LOG asks for trace: the log names the addresses of peers");
    }
    settings
}

fn read(rust_log: Option<&OsStr>) -> (Filter, Vec<UnknownDirective>) {
    Filter::parse(&rust_log.map_or(DEFAULT_FILTER.into(), OsStr::to_string_lossy))
}

/// The format for the journal if standard error is the file that systemd names (systemd.exec(5)), else the plain format.
fn line_format(journal_stream: Option<&OsStr>) -> LineFormat {
    let Ok(stat) = fstat(io::stderr().as_fd()) else { return LineFormat::Plain };
    let ours = format!("{}:{}", stat.st_dev, stat.st_ino);
    if journal_stream.is_some_and(|named| named == ours.as_str()) { LineFormat::Journal } else { LineFormat::Plain }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_error_is_the_journal_only_where_systemd_says_so() {
        let stat = fstat(io::stderr().as_fd()).unwrap();
        let named = format!("{}:{}", stat.st_dev, stat.st_ino);
        assert_eq!(line_format(Some(OsStr::new(&named))), LineFormat::Journal);
        for other in [None, Some("1:2"), Some("")] {
            assert_eq!(line_format(other.map(OsStr::new)), LineFormat::Plain);
        }
    }
}
