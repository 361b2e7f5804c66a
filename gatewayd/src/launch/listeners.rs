//! The listening sockets. They stay open here while a worker is replaced, so that no connection is refused meanwhile.

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener},
    os::fd::AsRawFd,
    thread,
    time::{Duration, Instant},
};

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind as bind_socket, listen, setsockopt, socket,
    sockopt::{Ipv6V6Only, ReuseAddr},
};
use socket2::SockRef;

use super::{
    late_address,
    listener_settings::{CLIENTS, HTTP, ListenerSettings, METRICS, MIX},
    passed::{PassedError, PassedListeners},
    predecessor::PREDECESSOR,
};
use crate::config::{Config, MetricsAddress};

/// Connections that the kernel holds until a worker accepts them.
const BACKLOG: i32 = 1024;
/// The pause between two attempts to bind a port that a predecessor may still hold.
const PAUSE: Duration = Duration::from_millis(50);

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another process listens there.
    #[error(
        "cannot listen on {address}: port {} is in use by another process; stop that process, or choose another port with {by} \
         in config.toml", address.port()
    )]
    InUse {
        /// Where.
        address: SocketAddr,
        /// What changes it.
        by: &'static str,
    },
    /// This machine does not have the address.
    #[error(
        "cannot listen on {address}: this machine has no address {}; set one that it has, or 0.0.0.0 for all, with {by} in \
         config.toml", address.ip()
    )]
    NotOurs {
        /// Where.
        address: SocketAddr,
        /// What changes it.
        by: &'static str,
    },
    /// The port is below 1024, and this account may not use it.
    #[error(
        "cannot listen on {address}: this account may not use port {}; choose one from 1024 up with {by} in \
         config.toml, or grant CAP_NET_BIND_SERVICE", address.port()
    )]
    Denied {
        /// Where.
        address: SocketAddr,
        /// What changes it.
        by: &'static str,
    },
    /// What a service manager passes does not fit.
    #[error(transparent)]
    Passed(#[from] PassedError),
    /// Anything else.
    #[error("cannot listen on {address} ({key} in config.toml): {source}")]
    Other {
        /// Where.
        address: SocketAddr,
        /// The key that changes it.
        key: &'static str,
        /// What the operating system answered.
        source: io::Error,
    },
}

/// The listening socket that a service manager has passed for this address. If it passes none, one is opened.
///
/// # Errors
/// With the setting to change.
pub(super) fn open(
    address: SocketAddr,
    setting: ListenerSettings,
    passed: &mut PassedListeners,
) -> Result<TcpListener, ListenError> {
    let Some(listener) = passed.claim(address, setting)? else { return bind(address, setting) };
    // As `try_bind` makes them.
    let adapted = listener.set_nonblocking(true).and_then(|()| {
        if let Some(bytes) = setting.unsent {
            SockRef::from(&listener).set_tcp_notsent_lowat(bytes)?;
        }
        Ok(listen(&listener, Backlog::new(BACKLOG)?)?)
    });
    adapted.map_err(|source| ListenError::Other { address, key: setting.key, source })?;
    Ok(listener)
}

/// A listening socket, non-blocking and closed on exec. `::` takes connections of both families.
///
/// # Errors
/// With the setting to change.
fn bind(address: SocketAddr, setting: ListenerSettings) -> Result<TcpListener, ListenError> {
    let give_up_at = Instant::now() + PREDECESSOR;
    let bound = loop {
        match late_address::wait_for(address, || try_bind(address, setting.unsent)) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < give_up_at => {
                thread::sleep(PAUSE)
            }
            bound => break bound,
        }
    };
    bound.map_err(|source| refusal(source, address, setting))
}

/// Whether the port of this address could be listened on now. It is free again once the socket is dropped.
///
/// # Errors
/// With the setting to change.
fn try_port(address: SocketAddr, setting: ListenerSettings) -> Result<TcpListener, ListenError> {
    try_bind(address, setting.unsent).map_err(|source| refusal(source, address, setting))
}

/// Tries the ports of `config`, all of them at once. `tried_as` says what is tried in the place of an address, if anything.
pub(crate) fn try_ports(
    config: &Config,
    tried_as: impl Fn(SocketAddr) -> Option<SocketAddr>,
) -> Vec<Result<TcpListener, ListenError>> {
    let mut ports = vec![(config.mix.listen, MIX), (config.clients.listen, CLIENTS)];
    if config.node.enabled {
        ports.push((config.node.http_bind_address, HTTP));
    }
    if let Some(MetricsAddress::Port(address)) = config.metrics.listen {
        ports.push((address, METRICS));
    }
    ports.into_iter().filter_map(|(address, setting)| Some(try_port(tried_as(address)?, setting))).collect()
}

fn refusal(source: io::Error, address: SocketAddr, setting: ListenerSettings) -> ListenError {
    let ListenerSettings { host_by, port_by, key, .. } = setting;
    match source.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse { address, by: port_by },
        io::ErrorKind::AddrNotAvailable => ListenError::NotOurs { address, by: host_by },
        io::ErrorKind::PermissionDenied => ListenError::Denied { address, by: port_by },
        _ => ListenError::Other { address, key, source },
    }
}

fn try_bind(address: SocketAddr, unsent: Option<u32>) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(family, SockType::Stream, flags, None)?;
    // Connections of a former run may linger. They must not keep the port from being bound again.
    setsockopt(&socket, ReuseAddr, &true)?;
    if address.ip() == IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED) {
        setsockopt(&socket, Ipv6V6Only, &false)?;
    }
    if let Some(bytes) = unsent {
        // Every connection inherits this option.
        SockRef::from(&socket).set_tcp_notsent_lowat(bytes)?;
    }
    bind_socket(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    listen(&socket, Backlog::new(BACKLOG)?)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, net::TcpStream};

    use nix::sys::socket::{connect, sockopt::RcvBuf};

    use super::{super::listener_settings, *};

    #[test]
    fn a_port_in_use_names_the_port_the_flag_and_the_key() {
        let first = bind("127.0.0.1:0".parse().unwrap(), MIX).unwrap();
        let address = first.local_addr().unwrap();
        assert_ne!(address.port(), 0);
        let port = address.port();
        for (setting, flag, key) in [
            (MIX, "--mix-port", "mixnet_endpoint.listening_address"),
            (CLIENTS, "--clients-port", "clients_endpoint.listening_address"),
        ] {
            let error = bind(address, setting).unwrap_err().to_string();
            assert!(error.starts_with(&format!("cannot listen on 127.0.0.1:{port}: port {port} is in use")), "{error}");
            assert!(error.contains(flag) && error.contains(key), "{error}");
        }
    }

    #[test]
    fn the_kernel_takes_so_much_for_a_client_that_reads_nothing() {
        const NEARLY_NOTHING: usize = 4 * 1024;
        let listener = bind("127.0.0.1:0".parse().unwrap(), CLIENTS).unwrap();
        let client = socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None).unwrap();
        setsockopt(&client, RcvBuf, &NEARLY_NOTHING).unwrap();
        connect(client.as_raw_fd(), &SockaddrStorage::from(listener.local_addr().unwrap())).unwrap();
        listener.set_nonblocking(false).unwrap();
        let (mut connection, _) = listener.accept().unwrap();
        connection.set_nonblocking(true).unwrap();
        let mut held = 0;
        while let Ok(written) = connection.write(&[0; 40]) {
            held += written;
        }
        let unsent = listener_settings::UNSENT as usize;
        assert!((unsent..unsent + 32 * NEARLY_NOTHING).contains(&held), "{held} bytes");
    }

    #[test]
    fn ports_that_a_dying_gateway_still_holds_are_waited_for() {
        let first = bind("127.0.0.1:0".parse().unwrap(), MIX).unwrap();
        let address = first.local_addr().unwrap();
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let second = thread::spawn(move || {
            tell.send(()).unwrap();
            bind(address, MIX).map(|_| ())
        });
        told.recv().unwrap();
        drop(first);
        second.join().unwrap().unwrap();
    }

    #[test]
    fn an_address_of_another_machine_names_the_flag() {
        let error = bind("192.0.2.1:0".parse().unwrap(), CLIENTS).unwrap_err().to_string();
        assert!(error.contains("no address 192.0.2.1") && error.contains("--clients-host"), "{error}");
    }

    #[test]
    fn any_address_of_ipv6_takes_ipv4_too() {
        let Ok(listener) = bind("[::]:0".parse().unwrap(), MIX) else {
            assert!(!std::path::Path::new("/proc/net/if_inet6").exists(), "there is IPv6, so it must work");
            return;
        };
        let port = listener.local_addr().unwrap().port();
        let _client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        listener.set_nonblocking(false).unwrap();
        let (_, from) = listener.accept().unwrap();
        assert_eq!(from.ip().to_canonical(), IpAddr::from([127, 0, 0, 1]));
    }
}
