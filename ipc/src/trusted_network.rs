//! Addresses of proxies as an operator names them: single ones and networks.

use std::{fmt, net::IpAddr, str::FromStr};

use bincode::{Decode, Encode};

/// A network, or a single address, which is a network of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct TrustedNetwork {
    base: IpAddr,
    /// Bits of `base` that count.
    len: u8,
}

/// The text names no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither an address like '192.0.2.7' nor a network like '10.0.0.0/8'")]
pub struct InvalidNetwork(String);

impl TrustedNetwork {
    /// Whether the address lies in the network. An IPv4 address that is mapped into IPv6 counts as the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                let differing = u32::from(base) ^ u32::from(address);
                differing.checked_shr(32_u32.saturating_sub(self.len.into())).unwrap_or(0) == 0
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                let differing = u128::from(base) ^ u128::from(address);
                differing.checked_shr(128_u32.saturating_sub(self.len.into())).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl FromStr for TrustedNetwork {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let no_network = || InvalidNetwork(text.to_owned());
        let (base, len) = text.split_once('/').map_or((text, None), |(base, len)| (base, Some(len)));
        let base = base.parse::<IpAddr>().map_err(|_| no_network())?.to_canonical();
        let longest = if base.is_ipv4() { 32 } else { 128 };
        let len = len.map_or(Ok(longest), str::parse).map_err(|_| no_network())?;
        if len > longest { Err(no_network()) } else { Ok(Self { base, len }) }
    }
}

impl fmt::Display for TrustedNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_its_addresses_and_no_others() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("127.0.0.1", "::ffff:127.0.0.1", "127.0.0.2"),
            ("0.0.0.0/0", "203.0.113.1", "2001:db8::1"),
            ("2001:db8::/32", "2001:db8:1::1", "2001:db9::1"),
            ("::1", "::1", "::2"),
            ("::/0", "2001:db8::1", "10.0.0.1"),
        ] {
            let network: TrustedNetwork = network.parse().unwrap();
            assert!(
                network.contains(inside.parse().unwrap()) && !network.contains(outside.parse().unwrap()),
                "{network}"
            );
        }
    }

    #[test]
    fn a_network_is_shown_with_its_length() {
        for (text, shown) in [("10.0.0.0/8", "10.0.0.0/8"), ("::ffff:192.0.2.7", "192.0.2.7/32"), ("::1", "::1/128")] {
            assert_eq!(text.parse::<TrustedNetwork>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn a_text_that_is_no_network_is_refused() {
        for text in ["", "proxy", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/-1", "10.0.0", "10.0.0.1:80"] {
            assert!(text.parse::<TrustedNetwork>().is_err(), "{text}");
        }
    }
}
