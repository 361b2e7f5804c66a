//! The announced addresses: for mix nodes a host and a port, for clients the URL of a websocket.

use std::{fmt, net::SocketAddr, num::NonZeroU16, str::FromStr};

use super::host::{Host, InvalidAnnounce, host_and_port};

/// The address that mix nodes are told: `host` or `host:port`.
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

/// The scheme of a websocket URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// A plain websocket, as the gateway serves it.
    Ws,
    /// A websocket over TLS, for a gateway behind the operator's own proxy.
    Wss,
}

/// The address that clients are told: a websocket URL, `ws://host:port`.
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
