//! The policy for next hops: which addresses and ports are allowed.
//!
//! *Trusts* nobody: any client may name any next hop, and without this check the gateway would carry packets into the operator's own
//! network, and into services of the gateway's own machine.
//!
//! At an address of this machine, the ports at which the gateway takes Sphinx packets are always allowed, because a SURB-ack may name
//! the gateway itself. The gateway's other ports are never allowed. Every other port of such an address is refused if the address is
//! public. If the address is private, `allow_private` decides, as for any private address.
//!
//! *Promises*: no way of writing an IPv4 address inside an IPv6 one changes the verdict to a milder one.

mod address;
mod forbidden;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipc::{control::OwnAddresses, ports::PortRange};

use address::{Embedded, reason_v4, reason_v6};
pub use forbidden::Forbidden;

/// The rules for next hops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextHopPolicy {
    /// Allow loopback, private, shared and link-local addresses: for a gateway whose own mix address is private.
    pub allow_private: bool,
    /// The allowed ports. The gateway's own mix ports are allowed besides.
    pub ports: Vec<PortRange>,
    /// The addresses and ports of this machine.
    pub own: OwnAddresses,
}

impl NextHopPolicy {
    /// Whether packets may be sent to `next_hop`.
    ///
    /// # Errors
    /// The reason why the next hop is refused.
    pub fn check(&self, next_hop: SocketAddr) -> Result<(), Forbidden> {
        let port = next_hop.port();
        if port == 0 {
            return Err(Forbidden::PortZero);
        }
        let is_own_mix_port = match next_hop.ip() {
            IpAddr::V4(address) => self.check_v4(address, port),
            IpAddr::V6(address) => self.check_v6(address, port),
        }?;
        let is_listed = self.ports.iter().any(|range| range.contains(port));
        if is_own_mix_port || is_listed { Ok(()) } else { Err(Forbidden::Port) }
    }

    /// Returns whether this is a mix port of this machine, which need not be listed.
    fn check_v4(&self, address: Ipv4Addr, port: u16) -> Result<bool, Forbidden> {
        self.judge(address.into(), port, reason_v4(address))
    }

    fn check_v6(&self, address: Ipv6Addr, port: u16) -> Result<bool, Forbidden> {
        if address.is_unspecified() || address.is_loopback() {
            return self.judge(address.into(), port, reason_v6(address));
        }
        match Embedded::in_address(address) {
            Embedded::None => self.judge(address.into(), port, reason_v6(address)),
            Embedded::One(inner) => self.check_v4(inner, port),
            Embedded::Teredo { server, client } => self.check_all([server, client], port),
            Embedded::AnyOf(readings) => self.check_all(readings, port),
        }
    }

    fn check_all<const N: usize>(&self, addresses: [Ipv4Addr; N], port: u16) -> Result<bool, Forbidden> {
        addresses.into_iter().try_fold(true, |all, address| Ok(self.check_v4(address, port)? && all))
    }

    /// `reason` is the objection to the address, whatever the port.
    fn judge(&self, address: IpAddr, port: u16, reason: Option<Forbidden>) -> Result<bool, Forbidden> {
        if let Some(reason) = reason
            && !(self.allow_private && reason.is_private())
        {
            return Err(reason);
        }
        if self.own.addresses.contains(&address) || address.is_loopback() {
            let is_private = reason.is_some();
            if self.own.mix_ports.contains(&port) {
                return Ok(true);
            }
            if !is_private || self.own.other_ports.contains(&port) {
                return Err(Forbidden::Own);
            }
        }
        Ok(false)
    }
}
