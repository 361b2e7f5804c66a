//! Why passed sockets cannot be used, each with what to change.

use std::net::SocketAddr;

/// Why passed sockets cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PassedError {
    /// The variables contradict each other or what is there.
    #[error(
        "the service manager says that it passes sockets, but {0}; correct the .socket unit, or stop it to let the gateway open its ports"
    )]
    Malformed(String),
    /// A descriptor is something else.
    #[error(
        "descriptor {number} ({name}), which the service manager passes, is no listening TCP socket; the .socket unit must have \
         ListenStream= with an address and a port, and Accept=no"
    )]
    NotListening {
        /// Its number.
        number: i32,
        /// Its name.
        name: String,
    },
    /// No socket was passed for an address of the configuration.
    #[error(
        "the service manager passes sockets, and none that listens on {address} ({key} in config.toml); add ListenStream={address} \
         to the .socket unit (`systemctl edit --full gatewayd@<id>.socket`), or correct the address in config.toml; it passes {passed}"
    )]
    Missing {
        /// The address.
        address: SocketAddr,
        /// The setting that names it.
        key: &'static str,
        /// What was passed.
        passed: String,
    },
    /// A socket has a name for another port.
    #[error(
        "the socket on {address} is named {name:?} by the service manager (FileDescriptorName=), and {key} in config.toml says that it is \
         for {wanted:?}; correct one of them"
    )]
    Misnamed {
        /// Where it listens.
        address: SocketAddr,
        /// Its name.
        name: String,
        /// What it is for by the configuration.
        wanted: &'static str,
        /// The setting that says so.
        key: &'static str,
    },
    /// A socket on all addresses takes IPv6 only.
    #[error(
        "the socket on {0} that the service manager passes takes IPv6 only; set BindIPv6Only=both in the .socket unit"
    )]
    Ipv6Only(SocketAddr),
    /// A socket belongs to nothing.
    #[error(
        "the service manager passes a socket that listens on {0}, which config.toml does not name; remove it from the .socket unit, or \
         correct the address in config.toml"
    )]
    Surplus(SocketAddr),
}
