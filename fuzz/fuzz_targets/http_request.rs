//! What a connection to the clients port begins with. Input: whether it is a trusted proxy's, the bytes that have come.
#![no_main]

use std::sync::LazyLock;

use client_edge::upgrade::http_request::{Answer, RequestHead};
use ipc::trusted_network::TrustedNetwork;
use libfuzzer_sys::fuzz_target;

static PROXIES: LazyLock<[TrustedNetwork; 2]> =
    LazyLock::new(|| ["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()]);

fuzz_target!(|data: &[u8]| {
    let Some((is_proxied, bytes)) = data.split_first() else { return };
    let proxies = if is_proxied % 2 == 1 { &PROXIES[..] } else { &[] };
    let Some(head) = RequestHead::read(bytes, proxies) else { return };
    assert!(head.len <= bytes.len());
    let answer = head.answer.to_bytes();
    assert!(answer.starts_with(b"HTTP/1.1 ") && answer.windows(4).any(|end| end == b"\r\n\r\n"));
    if proxies.is_empty() {
        assert_eq!(head.client, None, "nobody but a proxy names a client");
    }
    if let Some(client) = head.client {
        assert!(!proxies.iter().any(|proxy| proxy.contains(client)));
    }
    // Only what is refused is judged before it has come whole.
    if !matches!(head.answer, Answer::BadRequest | Answer::TooLarge) {
        assert_eq!(RequestHead::read(&bytes[..head.len], proxies), Some(head.clone()));
        assert_eq!(RequestHead::read(&bytes[..head.len - 1], proxies), None);
    }
});
