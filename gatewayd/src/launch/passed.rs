//! Listening sockets that a service manager has opened and passes on, as sd_listen_fds(3) describes it: `LISTEN_PID`, `LISTEN_FDS` and
//! `LISTEN_FDNAMES` in the environment, and descriptors from 3 on. They outlive the gateway, so that nobody is refused while it restarts.
//! A supervisor that has become another program hands its own sockets over in the same way, each by its name.
//!
//! *Trusts*: the service manager to pass sockets that nobody else reads. *Promises*: each passed socket listens on an address that the
//! configuration names, for TCP, and is used for that; if any is passed, none is opened here. Anything else ends the start with what
//! to change. Workers and other programs inherit none of them.

mod error;

use std::{
    ffi::OsString,
    fs, io,
    net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener},
    os::fd::{AsFd, AsRawFd as _, OwnedFd, RawFd},
};

use nix::sys::socket::{
    SockType, getsockopt,
    sockopt::{AcceptConn, Ipv6V6Only, SockType as TypeOfSocket},
};

pub use self::error::PassedError;
use super::listener_settings::ListenerSettings;

/// The number of the first passed descriptor.
const FIRST: i32 = 3;
/// More than a gateway has ports.
const MOST: usize = 16;

/// A passed socket.
#[derive(Debug)]
struct Passed {
    name: String,
    address: SocketAddr,
    listener: TcpListener,
}

/// Who passes sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Source {
    /// Nobody.
    #[default]
    Nobody,
    /// A service manager, which may name them as it likes.
    ServiceManager,
    /// The program that this process was before. It gives them our names, and some have a port that the kernel has chosen.
    Predecessor,
}

/// The sockets that were passed and are not used yet.
#[derive(Debug, Default)]
pub(crate) struct PassedListeners {
    source: Source,
    left: Vec<Passed>,
}

/// What the environment says about passed sockets.
#[derive(Debug, Default)]
struct Announced {
    count: usize,
    names: Vec<String>,
}

impl Announced {
    /// What is announced to this process; nothing if it was meant for another.
    fn read(variable: impl Fn(&str) -> Option<OsString>, own_pid: u32) -> Result<Self, PassedError> {
        let text = |name| variable(name).map(|value| value.to_string_lossy().into_owned());
        // A program that was started by the one that was meant.
        if text("LISTEN_PID").is_none_or(|pid| pid.parse() != Ok(own_pid)) {
            return Ok(Self::default());
        }
        let Some(count) = text("LISTEN_FDS") else { return Ok(Self::default()) };
        let count = count.parse().ok().filter(|count| *count <= MOST);
        let count = count.ok_or_else(|| PassedError::Malformed(format!("LISTEN_FDS is no number up to {MOST}")))?;
        let names: Vec<String> = match text("LISTEN_FDNAMES") {
            Some(names) => names.split(':').map(str::to_owned).collect(),
            None => vec!["unknown".to_owned(); count],
        };
        if names.len() != count {
            return Err(PassedError::Malformed(format!(
                "LISTEN_FDNAMES has {} names for {count} sockets",
                names.len()
            )));
        }
        Ok(Self { count, names })
    }
}

impl PassedListeners {
    /// No socket was passed.
    pub(crate) fn none() -> Self {
        Self::default()
    }

    /// Takes the sockets that were passed to this process. To be called once, before the process opens anything for long.
    ///
    /// # Errors
    /// If what was passed is not what a service manager passes.
    pub(crate) fn take() -> Result<Self, PassedError> {
        let announced = Announced::read(|name| std::env::var_os(name), std::process::id())?;
        if announced.count == 0 {
            return Ok(Self::none());
        }
        // A number that is no socket may be a file that this process has opened itself, and must not get a second owner.
        for number in (FIRST..).take(announced.count) {
            let is_socket = fs::read_link(format!("/proc/self/fd/{number}"))
                .is_ok_and(|target| target.to_string_lossy().starts_with("socket:"));
            if !is_socket {
                return Err(PassedError::Malformed(format!("descriptor {number} is no socket")));
            }
        }
        let numbers: Vec<RawFd> = (FIRST..).take(announced.count).collect();
        let sockets = link::descriptor::inherited(&numbers);
        let sockets = sockets.map_err(|error| PassedError::Malformed(format!("they cannot be taken: {error}")))?;
        let left = all_listening((FIRST..).zip(announced.names).zip(sockets))?;
        tracing::info!(sockets = left.len(), "the service manager passes the listening sockets");
        Ok(Self { source: Source::ServiceManager, left })
    }

    /// The sockets that the program hands over which this process was before.
    ///
    /// # Errors
    /// If one is no listening socket.
    pub(crate) fn handed_over(sockets: Vec<(String, OwnedFd)>) -> Result<Self, PassedError> {
        let left = all_listening(sockets.into_iter().map(|(name, socket)| ((socket.as_raw_fd(), name), socket)))?;
        Ok(Self { source: Source::Predecessor, left })
    }

    /// The socket for this address; nothing if none were passed at all.
    pub(super) fn claim(
        &mut self,
        address: SocketAddr,
        setting: ListenerSettings,
    ) -> Result<Option<TcpListener>, PassedError> {
        let ListenerSettings { key, name: wanted, .. } = setting;
        let is_it = |passed: &Passed| match self.source {
            Source::Nobody | Source::ServiceManager => passed.address == address,
            Source::Predecessor => passed.name == wanted && passed.listens_for(address),
        };
        if self.source == Source::Nobody {
            return Ok(None);
        }
        let Some(place) = self.left.iter().position(is_it) else {
            let passed: Vec<String> = self.left.iter().map(|passed| passed.address.to_string()).collect();
            let passed = if passed.is_empty() { "no other".to_owned() } else { passed.join(", ") };
            return Err(PassedError::Missing { address, key, passed });
        };
        let Passed { name, listener, .. } = self.left.swap_remove(place);
        if name != wanted && ListenerSettings::NAMES.contains(&name.as_str()) {
            return Err(PassedError::Misnamed { address, name, wanted, key });
        }
        let is_for_all = address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        if is_for_all && getsockopt(&listener, Ipv6V6Only).unwrap_or(true) {
            return Err(PassedError::Ipv6Only(address));
        }
        Ok(Some(listener))
    }

    /// Checks that every socket was used.
    pub(super) fn finish(self) -> Result<(), PassedError> {
        self.left.first().map_or(Ok(()), |passed| Err(PassedError::Surplus(passed.address)))
    }
}

/// All of these sockets, with their numbers and names.
fn all_listening(sockets: impl Iterator<Item = ((RawFd, String), OwnedFd)>) -> Result<Vec<Passed>, PassedError> {
    let listening = |((number, name), socket): ((RawFd, String), OwnedFd)| {
        Passed::new(socket, name.clone()).ok_or(PassedError::NotListening { number, name })
    };
    sockets.map(listening).collect()
}

impl Passed {
    /// Whether it is what opening `address` would give. Port 0 stands for any.
    fn listens_for(&self, address: SocketAddr) -> bool {
        self.address.ip() == address.ip() && (address.port() == 0 || self.address.port() == address.port())
    }

    /// Nothing if it is no listening TCP socket.
    fn new(socket: OwnedFd, name: String) -> Option<Self> {
        let is = |fd: &OwnedFd| -> io::Result<bool> {
            Ok(getsockopt(&fd.as_fd(), TypeOfSocket)? == SockType::Stream && getsockopt(&fd.as_fd(), AcceptConn)?)
        };
        if !is(&socket).unwrap_or(false) {
            return None;
        }
        let listener = TcpListener::from(socket);
        // A Unix socket has no such address.
        let address = listener.local_addr().ok()?;
        Some(Self { name, address, listener })
    }
}

#[cfg(test)]
mod tests {
    use std::{net::UdpSocket, os::unix::net::UnixListener};

    use super::{super::listener_settings, *};

    fn announced(pid: &str, count: &str, names: Option<&str>) -> Result<Announced, PassedError> {
        let variable = |name: &str| match name {
            "LISTEN_PID" => Some(pid.into()),
            "LISTEN_FDS" => Some(count.into()),
            "LISTEN_FDNAMES" => names.map(Into::into),
            _ => None,
        };
        Announced::read(variable, 7)
    }

    fn passing(names: &[&str]) -> (PassedListeners, Vec<SocketAddr>) {
        let left: Vec<Passed> = names
            .iter()
            .map(|name| Passed::new(TcpListener::bind("127.0.0.1:0").unwrap().into(), (*name).to_owned()).unwrap())
            .collect();
        let addresses = left.iter().map(|passed| passed.address).collect();
        (PassedListeners { source: Source::ServiceManager, left }, addresses)
    }

    #[test]
    fn sockets_for_another_process_are_not_taken() {
        assert_eq!(announced("8", "2", None).unwrap().count, 0);
        assert_eq!(announced("7", "2", Some("mix:clients")).unwrap().names, ["mix", "clients"]);
        assert_eq!(announced("7", "1", None).unwrap().names, ["unknown"]);
        assert_eq!(Announced::read(|_| None, 7).unwrap().count, 0);
        for (count, names) in [("x", None), ("-1", None), ("17", None), ("2", Some("mix"))] {
            assert!(matches!(announced("7", count, names), Err(PassedError::Malformed(_))), "{count}");
        }
    }

    #[test]
    fn each_socket_is_used_for_the_address_that_it_has() {
        let (mut passed, addresses) = passing(&["gatewayd@one.socket", "clients"]);
        let mix = passed.claim(addresses[0], listener_settings::MIX).unwrap().unwrap();
        assert_eq!(mix.local_addr().unwrap(), addresses[0]);
        passed.claim(addresses[1], listener_settings::CLIENTS).unwrap().unwrap();
        passed.finish().unwrap();
        assert!(PassedListeners::none().claim(addresses[0], listener_settings::MIX).unwrap().is_none());
    }

    #[test]
    fn a_socket_that_is_handed_over_is_known_by_its_name() {
        let sockets =
            ["clients", "mix"].map(|name| (name.to_owned(), TcpListener::bind("127.0.0.1:0").unwrap().into()));
        let mut passed = PassedListeners::handed_over(sockets.into()).unwrap();
        let mix_port = passed.left[1].address.port();
        let any_port = "127.0.0.1:0".parse().unwrap();
        let mix = passed.claim(any_port, listener_settings::MIX).unwrap().unwrap();
        assert_eq!(mix.local_addr().unwrap().port(), mix_port);
        let other = "127.0.0.2:0".parse().unwrap();
        assert!(matches!(passed.claim(other, listener_settings::CLIENTS), Err(PassedError::Missing { .. })));
        let file = fs::File::open("/dev/null").unwrap();
        let refused = PassedListeners::handed_over(vec![("mix".to_owned(), file.into())]);
        assert!(matches!(refused, Err(PassedError::NotListening { .. })));
    }

    #[test]
    fn what_does_not_fit_the_configuration_is_told_with_both() {
        let (mut passed, addresses) = passing(&["clients", "other"]);
        let error = passed.claim(addresses[0], listener_settings::MIX).unwrap_err().to_string();
        for part in [&addresses[0].to_string(), "\"clients\"", "\"mix\"", "mixnet_endpoint.listening_address"] {
            assert!(error.contains(part), "{error}");
        }
        let wanted = "127.0.0.1:1".parse().unwrap();
        let error = passed.claim(wanted, listener_settings::MIX).unwrap_err().to_string();
        assert!(error.contains("ListenStream=127.0.0.1:1") && error.contains(&addresses[1].to_string()), "{error}");
        let error = passed.finish().unwrap_err().to_string();
        assert!(error.contains(&addresses[1].to_string()) && error.contains("remove it"), "{error}");
    }

    #[test]
    fn what_is_no_listening_tcp_socket_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let unix = UnixListener::bind(folder.path().join("socket")).unwrap();
        let client = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let others: [OwnedFd; 3] = [UdpSocket::bind("127.0.0.1:0").unwrap().into(), unix.into(), client.into()];
        for other in others {
            assert!(Passed::new(other, "mix".to_owned()).is_none());
        }
    }

    #[test]
    fn a_socket_for_all_addresses_must_take_ipv4_too() {
        let Ok(socket) = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None) else { return };
        socket.set_only_v6(true).unwrap();
        if socket.bind(&"[::]:0".parse::<SocketAddr>().unwrap().into()).is_err() {
            // This machine has no IPv6.
            return;
        }
        socket.listen(1).unwrap();
        let passed = Passed::new(OwnedFd::from(socket), "mix".to_owned()).unwrap();
        let address = passed.address;
        let mut passed = PassedListeners { source: Source::ServiceManager, left: vec![passed] };
        assert!(matches!(passed.claim(address, listener_settings::MIX), Err(PassedError::Ipv6Only(_))));
    }
}
