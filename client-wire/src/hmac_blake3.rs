//! HMAC (RFC 2104) over unkeyed BLAKE3-256: block 64 bytes, tag 32 bytes. The network never uses BLAKE3's own keyed
//! mode.

use hmac::{KeyInit, SimpleHmac};
use zeroize::Zeroizing;

pub(super) type HmacBlake3 = SimpleHmac<blake3::Hasher>;

/// HMAC's block, and so the longest key it takes without hashing the key first.
const BLOCK_LEN: usize = 64;

/// Starts an HMAC under a key of at most one block, which every key of the client protocol is.
pub(super) fn keyed<const N: usize>(key: &[u8; N]) -> HmacBlake3 {
    const { assert!(N <= BLOCK_LEN) };
    let mut block = Zeroizing::new([0; BLOCK_LEN]);
    for (padded, byte) in block.iter_mut().zip(key) {
        *padded = *byte;
    }
    HmacBlake3::new((&*block).into())
}
