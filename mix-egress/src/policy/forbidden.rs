//! Why a next hop is refused.

use thiserror::Error;

/// The reason against a next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Forbidden {
    /// Port 0.
    #[error("port 0 is no port to connect to")]
    PortZero,
    /// `0.0.0.0` or `::`.
    #[error("the unspecified address names no host")]
    Unspecified,
    /// `255.255.255.255`.
    #[error("the broadcast address is no single host")]
    Broadcast,
    /// `224.0.0.0/4` or `ff00::/8`.
    #[error("a multicast address is no single host")]
    Multicast,
    /// Reserved for documentation, measurements or the future, or not assigned.
    #[error("the address is reserved and no host of the Internet has it")]
    Reserved,
    /// `127.0.0.0/8` or `::1`.
    #[error("the address is this host's own loopback; set allow_private if it is meant")]
    Loopback,
    /// RFC 1918, `fc00::/7`, or the old site-local `fec0::/10`.
    #[error("the address is in a private network; set allow_private if it is meant")]
    Private,
    /// `100.64.0.0/10`, shared between a provider and its customers (RFC 6598).
    #[error("the address is in a provider's shared network; set allow_private if it is meant")]
    Shared,
    /// `169.254.0.0/16` or `fe80::/10`.
    #[error("the address is link-local; set allow_private if it is meant")]
    LinkLocal,
    /// An address of this machine, at a port at which the gateway takes no Sphinx packets.
    #[error("the address is this machine's own")]
    Own,
    /// A port that is not in the list.
    #[error("the port is not among `ports` in the section [egress] of config.toml")]
    Port,
}

impl Forbidden {
    /// Whether `allow_private` lifts this reason.
    pub(super) const fn is_private(self) -> bool {
        match self {
            Self::Loopback | Self::Private | Self::Shared | Self::LinkLocal => true,
            Self::PortZero
            | Self::Unspecified
            | Self::Broadcast
            | Self::Multicast
            | Self::Reserved
            | Self::Own
            | Self::Port => false,
        }
    }
}
