//! The host of an announced address.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU16,
    str::FromStr,
};

/// A host in an announced address. Prints an IPv6 address in brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// An address.
    Ip(IpAddr),
    /// A name, which others resolve.
    Name(String),
}

/// The longest DNS name in bytes.
const MAX_NAME_LEN: usize = 253;

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V4(ip)) => ip.fmt(f),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// Why a text is no address to announce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAnnounce {
    /// Neither an IP address nor a DNS name.
    #[error(
        "not a host that others can reach: give an IP address or a DNS name, with or without a port, such as 203.0.113.5, \
         [2001:db8::5]:4000 or gateway.example:4000"
    )]
    Host,
    /// Not 1 to 65535.
    #[error("the port after the `:` is not a number from 1 to 65535")]
    Port,
    /// `http://`, for example.
    #[error("clients connect to a websocket: begin the address with ws:// or wss://, or give the host alone")]
    Scheme,
    /// A path with spaces or control characters.
    #[error(
        "the part after the host has characters that a URL must not have: leave the part out, or percent-encode the characters"
    )]
    Path,
}

/// `[::1]` without its brackets; other text as it is.
pub(super) fn bare(text: &str) -> &str {
    text.strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .filter(|inner| inner.parse::<Ipv6Addr>().is_ok())
        .unwrap_or(text)
}

impl FromStr for Host {
    type Err = InvalidAnnounce;

    fn from_str(text: &str) -> Result<Self, InvalidAnnounce> {
        if let Ok(ip) = bare(text).parse() {
            return Ok(Self::Ip(ip));
        }
        let labels_are_fine = text.trim_end_matches('.').split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        });
        // A last label of digits only is a mistyped IPv4 address, never a name.
        let last_is_number =
            text.rsplit('.').next().is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()));
        if labels_are_fine && !last_is_number && text.len() <= MAX_NAME_LEN {
            Ok(Self::Name(text.to_owned()))
        } else {
            Err(InvalidAnnounce::Host)
        }
    }
}

/// `host` or `host:port`.
pub(super) fn host_and_port(text: &str) -> Result<(Host, Option<NonZeroU16>), InvalidAnnounce> {
    if let Ok(host) = text.parse() {
        return Ok((host, None));
    }
    let (host, port) = text.rsplit_once(':').ok_or(InvalidAnnounce::Host)?;
    // `::1:4000` would be ambiguous; with a port, IPv6 needs its brackets.
    if host.contains(':') && !host.starts_with('[') {
        return Err(InvalidAnnounce::Host);
    }
    let host = host.parse()?;
    let port = port.parse().map_err(|_| InvalidAnnounce::Port)?;
    Ok((host, Some(port)))
}

/// Whether the Internet cannot reach `ip`, because it is loopback, private, shared or link-local. An IPv6 address that maps an IPv4 address
/// is judged by the IPv4 address.
pub fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [first, second, ..] = ip.octets();
            let shared = first == 100 && second & 0b1100_0000 == 64;
            ip.is_loopback() || ip.is_private() || ip.is_link_local() || shared
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// Whether the Internet can reach `ip`. IPv6 addresses that carry an IPv4 address for a tunnel or a translator are none to announce.
pub fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [first, second, third, _] = ip.octets();
            // 0/8 is this network, 192.0.0/24 is for protocols, 198.18/15 for measurements, 240/4 for the future.
            let special = first == 0 || [first, second, third] == [192, 0, 0] || (first == 198 && second & 0xfe == 18);
            !(is_private(ip.into()) || special || first >= 240 || ip.is_multicast() || ip.is_documentation())
        }
        IpAddr::V6(ip) => {
            let [first, second, ..] = ip.segments();
            let is_unicast = first & 0xe000 == 0x2000;
            // Documentation, Teredo, 6to4.
            let special = [first, second] == [0x2001, 0xdb8]
                || first == 0x3fff
                || [first, second] == [0x2001, 0]
                || first == 0x2002;
            is_unicast && !special
        }
    }
}
