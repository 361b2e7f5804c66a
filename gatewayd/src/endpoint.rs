//! Where the gateway listens and what it announces.
//!
//! Listening is on an address, never on a name: the gateway asks no resolver. Announcing takes both. Everything here
//! parses text of the operator (flags and `config.toml`) and prints the forms that other nodes and clients parse.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    num::NonZeroU16,
    str::FromStr,
};

/// A host to listen on: `ip`, `ip:port`, `::1`, `[::1]` or `[::1]:4000`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenHost {
    /// The address; `::` means every address of both families.
    pub ip: IpAddr,
    /// The port, if the text has one.
    pub port: Option<NonZeroU16>,
}

/// The text is no host to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidListenHost {
    /// A name or nonsense.
    #[error(
        "not an IP address: give the address this machine listens on, such as 203.0.113.5, 203.0.113.5:4000, ::1 or \
         [::1]:4000 (a host name can only be announced)"
    )]
    NotAnAddress,
    /// `ip:0`.
    #[error("port 0 is no port to listen on: give one from 1 to 65535")]
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

/// `[::1]` without its brackets; other text as it is.
fn bare(text: &str) -> &str {
    text.strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .filter(|inner| inner.parse::<Ipv6Addr>().is_ok())
        .unwrap_or(text)
}

/// A host in an announced address. Prints an IPv6 address in brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// An address.
    Ip(IpAddr),
    /// A name for others to resolve.
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

/// The text is no address to announce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAnnounce {
    /// Neither an IP address nor a DNS name.
    #[error(
        "not a host others could reach: give an IP address or a DNS name, with or without a port, such as \
         203.0.113.5, [2001:db8::5]:4000 or gateway.example:4000"
    )]
    Host,
    /// Not 1 to 65535.
    #[error("the port after the `:` is not a number from 1 to 65535")]
    Port,
    /// `http://`, for example.
    #[error("clients speak websocket: begin the address with ws:// or wss://, or give the host alone")]
    Scheme,
    /// A path with spaces or control characters.
    #[error("the part after the host has characters that no URL has: leave it out or percent-encode them")]
    Path,
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

fn host_and_port(text: &str) -> Result<(Host, Option<NonZeroU16>), InvalidAnnounce> {
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

/// What mix nodes are told: `host` or `host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MixAnnounce {
    /// The host.
    pub host: Host,
    /// The port; without one, the port the gateway listens on.
    pub port: Option<NonZeroU16>,
}

impl FromStr for MixAnnounce {
    type Err = InvalidAnnounce;

    fn from_str(text: &str) -> Result<Self, InvalidAnnounce> {
        let (host, port) = host_and_port(text)?;
        Ok(Self { host, port })
    }
}

impl MixAnnounce {
    /// Announces the listening address itself.
    pub fn listening(listen: SocketAddr) -> Self {
        Self { host: Host::Ip(listen.ip()), port: NonZeroU16::new(listen.port()) }
    }

    /// With everything that depends on the listening address filled in: prints as `host:port`.
    pub fn complete(mut self, listen: SocketAddr) -> Self {
        self.port = self.port.or(NonZeroU16::new(listen.port()));
        self
    }

    /// Moves each part that equals the old listening address to the new one; what was chosen on purpose stays.
    pub fn follow(&mut self, old: SocketAddr, new: SocketAddr) {
        follow(&mut self.host, &mut self.port, old, new);
    }
}

impl fmt::Display for MixAnnounce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.host.fmt(f)?;
        with_colon(f, self.port)
    }
}

fn with_colon(f: &mut fmt::Formatter<'_>, port: Option<NonZeroU16>) -> fmt::Result {
    port.map_or(Ok(()), |port| write!(f, ":{port}"))
}

/// How clients connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Plain websocket, which is what the gateway serves.
    Ws,
    /// Behind the operator's own TLS proxy.
    Wss,
}

/// What clients are told: a websocket URL, `ws://host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientsAnnounce {
    /// Plain or TLS.
    pub scheme: Scheme,
    /// The host; `None` only for the `ws:<port>` that nym-gateway 0.10.1 wrote for `--clients-announce-port` by mistake.
    pub host: Option<Host>,
    /// The port; without one, the port the gateway listens on (`ws`) or that of TLS (`wss`).
    pub port: Option<NonZeroU16>,
    /// Empty, or a path that begins with `/`.
    pub path: String,
}

impl FromStr for ClientsAnnounce {
    type Err = InvalidAnnounce;

    fn from_str(text: &str) -> Result<Self, InvalidAnnounce> {
        if let Some(port) = text.strip_prefix("ws:").and_then(|port| port.parse().ok()) {
            return Ok(Self { scheme: Scheme::Ws, host: None, port: Some(port), path: String::new() });
        }
        let (scheme, rest) = match text.split_once("://") {
            Some(("ws", rest)) => (Scheme::Ws, rest),
            Some(("wss", rest)) => (Scheme::Wss, rest),
            Some(_) => return Err(InvalidAnnounce::Scheme),
            None => (Scheme::Ws, text),
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidAnnounce::Path);
        }
        let (host, port) = host_and_port(authority)?;
        Ok(Self { scheme, host: Some(host), port, path: path.to_owned() })
    }
}

impl ClientsAnnounce {
    /// Announces the listening address itself.
    pub fn listening(listen: SocketAddr) -> Self {
        Self {
            scheme: Scheme::Ws,
            host: Some(Host::Ip(listen.ip())),
            port: NonZeroU16::new(listen.port()),
            path: String::new(),
        }
    }

    /// With everything that depends on the listening address filled in: prints as a URL.
    pub fn complete(mut self, listen: SocketAddr) -> Self {
        self.host.get_or_insert(Host::Ip(listen.ip()));
        if self.scheme == Scheme::Ws {
            self.port = self.port.or(NonZeroU16::new(listen.port()));
        }
        self
    }

    /// Moves each part that equals the old listening address to the new one; what was chosen on purpose stays.
    pub fn follow(&mut self, old: SocketAddr, new: SocketAddr) {
        if let Some(host) = &mut self.host {
            follow(host, &mut self.port, old, new);
        }
    }
}

impl fmt::Display for ClientsAnnounce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.scheme {
            Scheme::Ws => "ws",
            Scheme::Wss => "wss",
        })?;
        if let Some(host) = &self.host {
            write!(f, "://{host}")?;
        }
        with_colon(f, self.port)?;
        f.write_str(&self.path)
    }
}

fn follow(host: &mut Host, port: &mut Option<NonZeroU16>, old: SocketAddr, new: SocketAddr) {
    if *host == Host::Ip(old.ip()) {
        *host = Host::Ip(new.ip());
    }
    if port.is_some() && *port == NonZeroU16::new(old.port()) {
        *port = NonZeroU16::new(new.port());
    }
}

/// Whether other machines on the Internet cannot reach `ip`: loopback, private, shared or link-local. An IPv6 address
/// that maps an IPv4 one is judged by it.
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn listen(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn listening_hosts_are_addresses() {
        let cases = [
            ("127.0.0.1", "127.0.0.1", None),
            ("127.0.0.1:4000", "127.0.0.1", Some(4000)),
            ("::", "::", None),
            ("::1", "::1", None),
            ("[::1]", "::1", None),
            ("[::1]:4000", "::1", Some(4000)),
            // Without brackets this is an address, not a port.
            ("::1:4000", "::1:4000", None),
        ];
        for (text, ip, port) in cases {
            let host: ListenHost = text.parse().unwrap();
            assert_eq!(host.ip, ip.parse::<IpAddr>().unwrap(), "{text}");
            assert_eq!(host.port.map(NonZeroU16::get), port, "{text}");
        }
        for text in ["", "foo.example", "localhost", "1.2.3", "1.2.3.4:x", "1.2.3.4:70000", "[1.2.3.4]", "[::1"] {
            assert_eq!(text.parse::<ListenHost>(), Err(InvalidListenHost::NotAnAddress), "{text}");
        }
        assert_eq!("[::1]:0".parse::<ListenHost>(), Err(InvalidListenHost::PortZero));
    }

    #[test]
    fn mix_announcements_are_completed_from_the_listening_port() {
        let cases = [
            ("nym.example", "nym.example:1789"),
            ("nym.example:5000", "nym.example:5000"),
            ("203.0.113.5", "203.0.113.5:1789"),
            ("2001:db8::5", "[2001:db8::5]:1789"),
            ("[2001:db8::5]", "[2001:db8::5]:1789"),
            ("[2001:db8::5]:5000", "[2001:db8::5]:5000"),
        ];
        for (text, complete) in cases {
            let announce: MixAnnounce = text.parse().unwrap();
            assert_eq!(announce.complete(listen("0.0.0.0:1789")).to_string(), complete);
        }
        for text in [
            "",
            " ",
            "a b",
            "nym.example:",
            "nym.example:x",
            "nym.example:0",
            "ws://a",
            "a/b",
            "a..b",
            "1.2.3",
            "1.2.3.256",
            "\u{1b}[m",
        ] {
            assert!(text.parse::<MixAnnounce>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn client_announcements_are_urls() {
        let cases = [
            ("nym.example", "ws://nym.example:9000"),
            ("wsgateway.example", "ws://wsgateway.example:9000"),
            ("ws://nym.example", "ws://nym.example:9000"),
            ("ws://nym.example:5001", "ws://nym.example:5001"),
            ("wss://nym.example", "wss://nym.example"),
            ("wss://nym.example:444/gw", "wss://nym.example:444/gw"),
            ("::1", "ws://[::1]:9000"),
            ("ws://[::1]:5001", "ws://[::1]:5001"),
            ("ws:5001", "ws://[::]:5001"),
        ];
        for (text, complete) in cases {
            let announce: ClientsAnnounce = text.parse().unwrap();
            assert_eq!(announce.complete(listen("[::]:9000")).to_string(), complete);
        }
        assert_eq!("http://a".parse::<ClientsAnnounce>(), Err(InvalidAnnounce::Scheme));
        assert_eq!("ws://a/b c".parse::<ClientsAnnounce>(), Err(InvalidAnnounce::Path));
        assert_eq!("ws://".parse::<ClientsAnnounce>(), Err(InvalidAnnounce::Host));
    }

    #[test]
    fn only_what_was_the_listening_address_follows_it() {
        let (old, new) = (listen("10.0.0.1:1789"), listen("[::1]:4000"));
        for (before, after) in [
            ("10.0.0.1:1789", "[::1]:4000"),
            ("nym.example:1789", "nym.example:4000"),
            ("10.0.0.1:5000", "[::1]:5000"),
            ("nym.example:5000", "nym.example:5000"),
        ] {
            let mut mix: MixAnnounce = before.parse().unwrap();
            mix.follow(old, new);
            assert_eq!(mix.to_string(), after);
            let mut clients: ClientsAnnounce = before.parse().unwrap();
            clients.follow(old, new);
            assert_eq!(clients.to_string(), format!("ws://{after}"));
        }
    }

    #[test]
    fn private_addresses() {
        for ip in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.0.1",
            "169.254.1.1",
            "100.64.0.1",
            "::1",
            "fd00::1",
            "fe80::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(is_private(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["203.0.113.5", "100.128.0.1", "0.0.0.0", "::", "2001:db8::1", "::ffff:203.0.113.5"] {
            assert!(!is_private(ip.parse().unwrap()), "{ip}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,24}|[a-z0-9.:/\\[\\]]{0,24}") {
            let _ = text.parse::<ListenHost>();
            let _ = text.parse::<MixAnnounce>();
            let _ = text.parse::<ClientsAnnounce>();
        }

        #[test]
        fn complete_announcements_round_trip(ip in any::<IpAddr>(), port in 1_u16..) {
            let address = SocketAddr::new(ip, port);
            let mix = MixAnnounce::listening(address);
            prop_assert_eq!(&mix.to_string().parse::<MixAnnounce>().unwrap(), &mix);
            let clients = ClientsAnnounce::listening(address);
            prop_assert_eq!(&clients.to_string().parse::<ClientsAnnounce>().unwrap(), &clients);
        }
    }
}
