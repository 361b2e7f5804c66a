//! The header of the PROXY protocol before a request.
#![no_main]

use client_edge::upgrade::proxy_header::{HEADER_LIMIT, ProxyHeader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match ProxyHeader::read(bytes) {
        ProxyHeader::Complete { len, source } => {
            assert!(len <= bytes.len() && len <= HEADER_LIMIT);
            // What is behind it changes nothing, and it is not complete any sooner.
            assert_eq!(ProxyHeader::read(&bytes[..len]), ProxyHeader::Complete { len, source });
            assert_eq!(ProxyHeader::read(&bytes[..len - 1]), ProxyHeader::Incomplete);
        }
        ProxyHeader::Incomplete => assert!(bytes.len() < HEADER_LIMIT),
        ProxyHeader::Invalid | ProxyHeader::Absent => {}
    }
});
