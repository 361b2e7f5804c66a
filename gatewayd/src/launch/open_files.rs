//! The limit on descriptors of each process, and the connections that this limit makes possible.

use std::io;

use ipc::control::possible_connections;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::config::LimitsSection;

/// Raises the soft limit to the hard limit, and returns the hard limit.
pub(super) fn raise() -> io::Result<u64> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    Ok(most)
}

/// Logs one warning for both ports, if the limit on descriptors is below the configured number of connections.
pub(crate) fn warn_if_few(limits: &LimitsSection) -> io::Result<()> {
    let (open_files, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if let Some(warning) = warning(open_files, limits) {
        tracing::warn!(id = "GWD-G007", "{warning}");
    }
    Ok(())
}

fn warning(open_files: u64, limits: &LimitsSection) -> Option<String> {
    shortage_of_files(open_files, limits).map(|shortage| {
        format!("{shortage}; raise the limit (LimitNOFILE= in systemd, `ulimit -n`), or lower these settings")
    })
}

/// What a limit on descriptors keeps the gateway from, if it does.
pub(crate) fn shortage_of_files(open_files: u64, limits: &LimitsSection) -> Option<String> {
    let settings = [
        ("max_mix_connections", limits.max_mix_connections.get()),
        ("max_client_connections", limits.max_client_connections.get()),
    ];
    let too_many = |(name, wanted): (&str, u32)| {
        let possible = possible_connections(open_files, wanted);
        (possible < wanted).then(|| format!("{possible} is used for {name} = {wanted}"))
    };
    let short: Vec<String> = settings.into_iter().filter_map(too_many).collect();
    (!short.is_empty()).then(|| {
        format!(
            "each process may open {open_files} files, which is too few for the settings in [limits]: {}",
            short.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_warning_has_the_limit_and_both_numbers() {
        let limits = LimitsSection::default();
        let text = warning(256, &limits).unwrap();
        for part in ["open 256 files", "210 is used for max_client_connections = 20000", "max_mix_connections = "] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(warning(1 << 20, &limits), None);
    }
}
