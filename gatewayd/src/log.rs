//! How the gateway logs: what the operator asks for with `RUST_LOG`, and what standard error is.

use std::{ffi::OsStr, io, os::fd::AsFd};

use ipc::log::{DEFAULT_FILTER, LogSettings, Look};
use logging::{Complaint, Filter};
use nix::sys::stat::fstat;

/// Starts the log of this process, and says what of `RUST_LOG` means nothing. Returns what the workers are to be told.
pub(crate) fn begin() -> LogSettings {
    let (filter, complaints) = read(std::env::var_os("RUST_LOG").as_deref());
    let settings =
        LogSettings { filter: filter.to_string(), look: look(std::env::var_os("JOURNAL_STREAM").as_deref()) };
    logging::init("gatewayd", &settings);
    for complaint in complaints {
        tracing::warn!("{complaint}; it has no effect");
    }
    if filter.names_peers() {
        tracing::warn!("RUST_LOG asks for trace: the log names the addresses of peers");
    }
    settings
}

fn read(rust_log: Option<&OsStr>) -> (Filter, Vec<Complaint>) {
    Filter::parse(&rust_log.map_or(DEFAULT_FILTER.into(), OsStr::to_string_lossy))
}

/// Standard error is the journal if it is the file that systemd names (systemd.exec(5)).
fn look(journal_stream: Option<&OsStr>) -> Look {
    let Ok(stat) = fstat(io::stderr().as_fd()) else { return Look::Plain };
    let ours = format!("{}:{}", stat.st_dev, stat.st_ino);
    if journal_stream.is_some_and(|named| named == ours.as_str()) { Look::Journal } else { Look::Plain }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_error_is_the_journal_only_where_systemd_says_so() {
        let stat = fstat(io::stderr().as_fd()).unwrap();
        let named = format!("{}:{}", stat.st_dev, stat.st_ino);
        assert_eq!(look(Some(OsStr::new(&named))), Look::Journal);
        for other in [None, Some("1:2"), Some("")] {
            assert_eq!(look(other.map(OsStr::new)), Look::Plain);
        }
    }
}
