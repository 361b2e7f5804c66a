//! Lines of `Forwarded` and `X-Forwarded-For`.
#![no_main]

use client_edge::upgrade::forwarded::{forwarded, x_forwarded_for};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|line: &str| {
    let hops = line.split(',').count();
    assert_eq!(forwarded(line).count(), hops);
    let addresses: Vec<_> = x_forwarded_for(line).collect();
    assert_eq!(addresses.len(), hops);
    // Whatever form an address has come in, in its usual one it is the same.
    for address in addresses.into_iter().flatten() {
        assert!(x_forwarded_for(&address.to_string()).eq([Some(address)]));
        assert!(forwarded(&format!("for=\"[{address}]:80\"")).eq([address.is_ipv6().then_some(address)]));
    }
});
