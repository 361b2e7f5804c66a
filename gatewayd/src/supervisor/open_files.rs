//! How many descriptors each process may have, and what that means for the connections that the configuration allows.

use std::io;

use ipc::control::possible_connections;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::config::Limits;

/// Every descriptor the hard limit allows; returns how many.
pub(super) fn raise() -> io::Result<u64> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    Ok(most)
}

/// One warning for both ports, if a process may not have as many descriptors as it is to take connections.
pub(super) fn warn_if_few(limits: &Limits) -> io::Result<()> {
    let (open_files, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if let Some(warning) = warning(open_files, limits) {
        tracing::warn!("{warning}");
    }
    Ok(())
}

fn warning(open_files: u64, limits: &Limits) -> Option<String> {
    let settings = [
        ("max_mix_connections", limits.max_mix_connections.get()),
        ("max_client_connections", limits.max_client_connections.get()),
    ];
    let too_many = |(name, wanted): (&str, u32)| {
        let possible = possible_connections(open_files, wanted);
        (possible < wanted).then(|| format!("{name} = {wanted} is taken for {possible}"))
    };
    let short: Vec<String> = settings.into_iter().filter_map(too_many).collect();
    (!short.is_empty()).then(|| {
        format!(
            "each process may open {open_files} files, which is fewer than [limits] asks for: {}; raise the limit \
             (LimitNOFILE= in systemd, `ulimit -n`), or lower these numbers",
            short.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_warning_has_the_limit_and_both_numbers() {
        let limits = Limits::default();
        let text = warning(256, &limits).unwrap();
        for part in ["open 256 files", "max_client_connections = 20000 is taken for 210", "max_mix_connections = "] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(warning(1 << 20, &limits), None);
    }
}
