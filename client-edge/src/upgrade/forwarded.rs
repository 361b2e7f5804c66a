//! The addresses that HTTP proxies name in `Forwarded` (RFC 7239) and `X-Forwarded-For`.

use std::net::{IpAddr, SocketAddr};

/// The addresses in one line of `Forwarded`, the client's first. None stands for a hop without an address.
pub fn forwarded(line: &str) -> impl DoubleEndedIterator<Item = Option<IpAddr>> {
    line.split(',').map(|hop| {
        let mut pairs = hop.split(';').filter_map(|pair| pair.split_once('='));
        let (_, node) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
        address(node)
    })
}

/// The addresses in one line of `X-Forwarded-For`, in the same form.
pub fn x_forwarded_for(line: &str) -> impl DoubleEndedIterator<Item = Option<IpAddr>> {
    line.split(',').map(address)
}

/// An address with or without quotes, brackets and port.
fn address(node: &str) -> Option<IpAddr> {
    let node = node.trim().trim_matches('"');
    let bare = node.strip_prefix('[').and_then(|node| node.strip_suffix(']')).unwrap_or(node);
    bare.parse().ok().or_else(|| node.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_form_of_an_address_is_read() {
        let v4: IpAddr = "192.0.2.7".parse().unwrap();
        let v6: IpAddr = "2001:db8::9".parse().unwrap();
        let line =
            r#"for=192.0.2.7, For="[2001:db8::9]:4711";proto=https , by=x;for="192.0.2.7:80", for=unknown, by=x"#;
        assert!(forwarded(line).eq([Some(v4), Some(v6), Some(v4), None, None]));
        let line = "192.0.2.7, 2001:db8::9,[2001:db8::9]:1, 192.0.2.7:80, unknown,";
        assert!(x_forwarded_for(line).eq([Some(v4), Some(v6), Some(v6), Some(v4), None, None]));
    }

    proptest! {
        #[test]
        fn any_line_is_read_to_its_end(line in ".*") {
            let hops = line.split(',').count();
            prop_assert_eq!((forwarded(&line).count(), x_forwarded_for(&line).count()), (hops, hops));
        }
    }
}
