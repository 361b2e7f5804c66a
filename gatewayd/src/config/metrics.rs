//! `[metrics]`: where the operator's own programs read metrics, and which of them may.

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr};

use ipc::trusted_network::TrustedNetwork;
use serde::Deserialize;

use super::values;

/// What fits into an address of a Unix socket (`sun_path`, unix(7)), in bytes.
const LONGEST_PATH: usize = 107;

/// `[metrics]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsSection {
    /// Where to listen; nothing listens without it.
    #[serde(deserialize_with = "values::parsed")]
    pub listen: Option<MetricsAddress>,
    /// Who may connect to an address, beside this machine.
    #[serde(deserialize_with = "values::networks")]
    pub allow: Vec<TrustedNetwork>,
}

impl MetricsSection {
    /// Why the address cannot be used: others could connect to it and nobody said who may, or nobody can connect to it.
    pub(super) fn fault(&self) -> Option<String> {
        match &self.listen {
            Some(MetricsAddress::Path(path)) if path.as_os_str().len() > LONGEST_PATH => Some(format!(
                "the path {} is longer than {LONGEST_PATH} bytes, and no program can connect to such a socket: choose a shorter one",
                path.display()
            )),
            Some(MetricsAddress::Port(address))
                if !address.ip().to_canonical().is_loopback() && self.allow.is_empty() =>
            {
                Some(format!(
                    "{address} can be reached from other machines: say in `allow` of [metrics] which of them may read, or listen on \
                     127.0.0.1, or at the path of a socket"
                ))
            }
            _ => None,
        }
    }
}

/// Where metrics are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetricsAddress {
    /// A Unix socket.
    Path(PathBuf),
    /// A TCP port.
    Port(SocketAddr),
}

/// The text is neither.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` is neither the path of a socket like '/run/gatewayd/one/metrics.sock' nor an address like '127.0.0.1:9179'"
)]
pub struct InvalidMetricsAddress(String);

impl FromStr for MetricsAddress {
    type Err = InvalidMetricsAddress;

    fn from_str(text: &str) -> Result<Self, InvalidMetricsAddress> {
        if text.starts_with('/') {
            return Ok(Self::Path(text.into()));
        }
        text.parse().map(Self::Port).map_err(|_| InvalidMetricsAddress(text.escape_debug().to_string()))
    }
}

impl fmt::Display for MetricsAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Port(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<MetricsSection, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn metrics_are_off_unless_they_are_given_a_place() {
        assert_eq!(read("").unwrap(), MetricsSection::default());
        assert_eq!(read("listen = ''").unwrap().listen, None);
        let path = read("listen = '/run/metrics.sock'").unwrap().listen;
        assert_eq!(path, Some(MetricsAddress::Path("/run/metrics.sock".into())));
        assert!(read("listen = '[::1]:9179'").unwrap().listen.is_some());
    }

    #[test]
    fn an_address_that_others_reach_needs_a_list() {
        for open in ["0.0.0.0:9179", "192.0.2.7:9179", "[::]:9179"] {
            let fault = read(&format!("listen = '{open}'")).unwrap().fault().unwrap();
            assert!(fault.contains("allow") && fault.contains(open), "{fault}");
            assert_eq!(read(&format!("listen = '{open}'\nallow = ['192.0.2.0/24']")).unwrap().fault(), None);
        }
        for closed in ["127.0.0.1:9179", "[::1]:9179", "[::ffff:127.0.0.1]:9179", "/run/x.sock", ""] {
            assert_eq!(read(&format!("listen = '{closed}'")).unwrap().fault(), None, "{closed}");
        }
        for bad in ["metrics.sock", "9179", "localhost:9179"] {
            assert!(read(&format!("listen = '{bad}'")).unwrap_err().contains("neither"), "{bad}");
        }
    }
}
