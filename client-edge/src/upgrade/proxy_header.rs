//! The PROXY protocol, versions 1 and 2, with which a proxy names the client that it connects for.
//!
//! *Trusts* nothing of the bytes; the caller passes only those of trusted proxies.
//!
//! *Promises*: a header is complete or invalid within [`HEADER_LIMIT`] bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes that a header may have. Proxies send about 50, and up to a few hundred if they describe the client's TLS.
pub const HEADER_LIMIT: usize = 2 * 1024;

const V1_BEGINNING: &[u8] = b"PROXY ";
/// Bytes that a header of version 1 may have.
const V1_LIMIT: usize = 107;
const V2_BEGINNING: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of a header of version 2 before its addresses.
const V2_FIXED: usize = 16;

/// What is at the beginning of a proxy's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// No header.
    Absent,
    /// The beginning of a header.
    Incomplete,
    /// A header.
    Complete {
        /// Length of the header, in bytes.
        len: usize,
        /// The client; none if the proxy connects for itself or does not know.
        source: Option<IpAddr>,
    },
    /// A header that breaks the rules.
    Invalid,
}

impl ProxyHeader {
    /// Reads the beginning of `bytes`.
    pub fn read(bytes: &[u8]) -> Self {
        let begins = |beginning: &[u8]| {
            let common = bytes.len().min(beginning.len());
            bytes.get(..common) == beginning.get(..common)
        };
        if begins(V1_BEGINNING) {
            version_1(bytes)
        } else if begins(V2_BEGINNING) {
            version_2(bytes).unwrap_or(Self::Incomplete)
        } else {
            Self::Absent
        }
    }
}

fn version_1(bytes: &[u8]) -> ProxyHeader {
    let within = bytes.get(..V1_LIMIT).unwrap_or(bytes);
    let Some(end) = within.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < V1_LIMIT { ProxyHeader::Incomplete } else { ProxyHeader::Invalid };
    };
    let text = within.get(..end).and_then(|line| str::from_utf8(line).ok()).unwrap_or_default();
    let mut words = text.split(' ').skip(1);
    let (family, source) = (words.next(), words.next().unwrap_or_default());
    let source = match family {
        Some("TCP4") => source.parse().map(IpAddr::V4).map(Some),
        Some("TCP6") => source.parse().map(IpAddr::V6).map(Some),
        Some("UNKNOWN") => Ok(None),
        _ => return ProxyHeader::Invalid,
    };
    source.map_or(ProxyHeader::Invalid, |source| ProxyHeader::Complete { len: end + 2, source })
}

/// None while the header is incomplete.
fn version_2(bytes: &[u8]) -> Option<ProxyHeader> {
    let (fixed, rest) = bytes.split_first_chunk::<V2_FIXED>()?;
    let [.., version_and_command, family, high, low] = *fixed;
    let following = usize::from(u16::from_be_bytes([high, low]));
    let len = V2_FIXED + following;
    if len > HEADER_LIMIT {
        return Some(ProxyHeader::Invalid);
    }
    let addresses = rest.get(..following)?;
    let source = match (version_and_command, family >> 4) {
        // The proxy connects for itself, or the client's address is neither IPv4 nor IPv6.
        (0x20, _) | (0x21, 0 | 3) => Some(None),
        (0x21, 1) if following >= 12 => {
            addresses.first_chunk::<4>().map(|source| Some(IpAddr::V4(Ipv4Addr::from(*source))))
        }
        (0x21, 2) if following >= 36 => {
            addresses.first_chunk::<16>().map(|source| Some(IpAddr::V6(Ipv6Addr::from(*source))))
        }
        _ => None,
    };
    Some(source.map_or(ProxyHeader::Invalid, |source| ProxyHeader::Complete { len, source }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let len = u16::try_from(addresses.len()).unwrap().to_be_bytes();
        [&V2_BEGINNING[..], &[command, family], &len, addresses].concat()
    }

    fn examples() -> Vec<(Vec<u8>, Option<IpAddr>)> {
        let v4 = [192, 0, 2, 7, 10, 0, 0, 1, 0x1f, 0x90, 0, 80];
        let v6: Vec<u8> = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[9], &[0; 20]].concat();
        let with_more = [&v4[..], &[4; 100]].concat();
        vec![
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 8080 80\r\n".to_vec(), Some("192.0.2.7".parse().unwrap())),
            (b"PROXY TCP6 2001:db8::9 ::1 8080 80\r\n".to_vec(), Some("2001:db8::9".parse().unwrap())),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (v2(0x21, 0x11, &v4), Some("192.0.2.7".parse().unwrap())),
            (v2(0x21, 0x11, &with_more), Some("192.0.2.7".parse().unwrap())),
            (v2(0x21, 0x21, &v6), Some("2001:db8::9".parse().unwrap())),
            (v2(0x20, 0, &[]), None),
        ]
    }

    #[test]
    fn headers_of_both_versions_name_the_client() {
        for (header, source) in examples() {
            let complete = ProxyHeader::Complete { len: header.len(), source };
            assert_eq!(ProxyHeader::read(&[&header[..], b"GET / HTTP/1.1\r\n"].concat()), complete);
            for cut in 1..header.len() {
                assert_eq!(ProxyHeader::read(&header[..cut]), ProxyHeader::Incomplete, "{cut}");
            }
        }
    }

    #[test]
    fn headers_that_break_the_rules_are_invalid() {
        let endless = [&V2_BEGINNING[..], &[0x21, 0x11, 0xff, 0xff]].concat();
        for header in [
            b"PROXY TCP4 example 10.0.0.1 1 2\r\n".to_vec(),
            b"PROXY TCP4 ::1 ::1 1 2\r\n".to_vec(),
            b"PROXY UDP4 192.0.2.7 10.0.0.1 1 2\r\n".to_vec(),
            [&b"PROXY TCP4 "[..], &[b'1'; 100]].concat(),
            v2(0x21, 0x11, &[1; 11]),
            v2(0x22, 0x11, &[1; 12]),
            v2(0x11, 0x11, &[1; 12]),
            endless,
        ] {
            assert_eq!(ProxyHeader::read(&header), ProxyHeader::Invalid, "{header:?}");
        }
        assert_eq!(ProxyHeader::read(b"GET / HTTP/1.1\r\n"), ProxyHeader::Absent);
    }

    proptest! {
        #[test]
        fn any_header_ends_within_its_limit(v2 in any::<bool>(), rest in proptest::collection::vec(any::<u8>(), 0..3_000)) {
            let bytes = if v2 { [V2_BEGINNING, &rest[..]].concat() } else { [V1_BEGINNING, &rest[..]].concat() };
            match ProxyHeader::read(&bytes) {
                ProxyHeader::Incomplete => prop_assert!(bytes.len() < HEADER_LIMIT),
                ProxyHeader::Complete { len, .. } => prop_assert!(len <= bytes.len().min(HEADER_LIMIT)),
                ProxyHeader::Invalid => {}
                ProxyHeader::Absent => prop_assert!(false),
            }
        }
    }
}
