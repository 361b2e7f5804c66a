//! The address on which the gateway listens. It is never a name, so that no resolver is asked.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU16,
    str::FromStr,
};

use super::host::bare;

/// A host to listen on: `ip`, `ip:port`, `::1`, `[::1]` or `[::1]:4000`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenHost {
    /// The address; `::` means every address of both families.
    pub ip: IpAddr,
    /// The port, if the text has one.
    pub port: Option<NonZeroU16>,
}

/// Why a text is no host to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidListenHost {
    /// It is a name, or no address at all.
    #[error(
        "not an IP address: give the address on which this machine listens, such as 203.0.113.5, 203.0.113.5:4000, ::1 or [::1]:4000 (a \
         host name can only be announced)"
    )]
    NotAnAddress,
    /// `ip:0`.
    #[error("port 0 cannot be listened on: give one from 1 to 65535")]
    PortZero,
}

impl FromStr for ListenHost {
    type Err = InvalidListenHost;

    fn from_str(text: &str) -> Result<Self, InvalidListenHost> {
        if let Ok(ip) = bare(text).parse() {
            return Ok(Self { ip, port: None });
        }
        let address: SocketAddr = text.parse().map_err(|_| InvalidListenHost::NotAnAddress)?;
        match NonZeroU16::new(address.port()) {
            Some(port) => Ok(Self { ip: address.ip(), port: Some(port) }),
            None => Err(InvalidListenHost::PortZero),
        }
    }
}
