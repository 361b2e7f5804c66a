//! This machine as a next hop: its addresses, and the ports at which the gateway listens.
//!
//! The addresses are read once, at the start. An address that an interface gets later, or that is announced only by a DNS name, is not
//! among them.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU16,
};

use ipc::{control::OwnAddresses, ports::PortRange};
use nix::{ifaddrs::getifaddrs, sys::socket::SockaddrStorage};

use crate::{
    config::{Config, EgressSection},
    endpoint::Host,
};

/// The most ports for which the kernel gets a rule.
const FEW_PORTS: usize = 64;

/// The addresses and ports of a gateway that listens at `mix` and `clients`, and perhaps for readers over HTTP.
pub(super) fn find(
    config: &Config,
    mix: SocketAddr,
    clients: SocketAddr,
    http: [Option<SocketAddr>; 2],
) -> OwnAddresses {
    let ip = |host: &Host| match host {
        Host::Ip(ip) => Some(*ip),
        _ => None,
    };
    let announced = [Some(&config.mix.announce.host), config.clients.announce.host.as_ref()];
    let mut addresses: Vec<IpAddr> = of_interfaces();
    addresses.extend(announced.into_iter().flatten().filter_map(ip));
    addresses.extend([mix.ip(), clients.ip()]);
    addresses.extend(http.iter().flatten().map(SocketAddr::ip));
    addresses.extend(&config.node.public_ips);
    let mut addresses: Vec<IpAddr> = addresses.into_iter().map(|address| address.to_canonical()).collect();
    addresses.retain(|address| !address.is_unspecified());
    addresses.sort_unstable();
    addresses.dedup();
    let mut mix_ports = vec![mix.port()];
    mix_ports.extend(config.mix.announce.port.map(|port| port.get()).filter(|port| *port != mix.port()));
    // At the announced port, a proxy in front of the gateway may accept clients on this machine.
    let mut other_ports = vec![clients.port()];
    other_ports.extend(config.clients.announce.port.map(|port| port.get()).filter(|port| *port != clients.port()));
    other_ports.extend(http.iter().flatten().map(SocketAddr::port));
    other_ports.extend(config.node.announce_wss_port.map(NonZeroU16::get));
    OwnAddresses { addresses, mix_ports, other_ports }
}

fn of_interfaces() -> Vec<IpAddr> {
    let ip = |address: SockaddrStorage| {
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
    };
    match getifaddrs() {
        Ok(interfaces) => interfaces.filter_map(|interface| interface.address.and_then(ip)).collect(),
        Err(error) => {
            tracing::warn!(
                id = "GWD-G008",
                %error,
                "the addresses of this machine cannot be read: clients can send packets to services of this machine at addresses that \
                 are not in config.toml"
            );
            Vec::new()
        }
    }
}

/// The only ports to which the kernel is to let `mix-egress` connect. Empty, for no rule, if they are too many.
pub(super) fn ports_to_enforce(egress: &EgressSection, own: &OwnAddresses) -> Vec<u16> {
    let mut ports: Vec<u16> = egress.ports.iter().copied().flat_map(PortRange::ports).take(FEW_PORTS + 1).collect();
    if ports.len() > FEW_PORTS {
        return Vec::new();
    }
    ports.extend(&own.mix_ports);
    ports.sort_unstable();
    ports.dedup();
    ports
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::fixtures::config;

    #[test]
    fn listening_announced_and_interface_addresses_are_found() {
        let home = tempfile::tempdir().unwrap();
        let mut config = config(home.path());
        config.mix.announce = "1.2.3.4:444".parse().unwrap();
        config.clients.announce = "wss://[2606:4700::7]:443".parse().unwrap();
        config.node.public_ips = vec!["7.7.7.7".parse().unwrap()];
        let [mix, clients, http, metrics] =
            ["0.0.0.0:1789", "9.9.9.9:9000", "8.8.8.8:8080", "127.0.0.1:9100"].map(|at| at.parse().unwrap());
        let own = find(&config, mix, clients, [Some(http), Some(metrics)]);
        for address in ["127.0.0.1", "1.2.3.4", "2606:4700::7", "9.9.9.9", "8.8.8.8", "7.7.7.7"] {
            assert!(own.addresses.contains(&address.parse().unwrap()), "{address} is not in {own:?}");
        }
        assert!(!own.addresses.iter().any(IpAddr::is_unspecified));
        assert_eq!((own.mix_ports, own.other_ports), (vec![1789, 444], vec![9000, 443, 8080, 9100]));
    }

    #[test]
    fn few_ports_are_enforced_and_many_are_not() {
        let own = OwnAddresses { mix_ports: vec![444, 1789], ..OwnAddresses::default() };
        let enforced = |ports: &[&str]| {
            let ports = ports.iter().map(|range| range.parse().unwrap()).collect();
            ports_to_enforce(&EgressSection { ports, ..EgressSection::default() }, &own)
        };
        assert_eq!(enforced(&["1789"]), [444, 1789]);
        assert_eq!(enforced(&["4000-4001", "1789"]), [444, 1789, 4000, 4001]);
        assert_eq!(enforced(&["1-64"]).len(), 66);
        assert!(enforced(&["1-65"]).is_empty());
        assert!(enforced(&["1024-65535"]).is_empty());
    }
}
