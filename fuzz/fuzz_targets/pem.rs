//! Key files. What is read as a key is written as a file that holds the same key.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pem::KeyTag;

fuzz_target!(|file: &[u8]| {
    for tag in [KeyTag::Ed25519Private, KeyTag::Ed25519Public, KeyTag::X25519Private, KeyTag::X25519Public] {
        if let Ok(key) = pem::decode(tag, file) {
            let again = pem::encode(tag, &key);
            assert_eq!(*pem::decode(tag, again.as_bytes()).unwrap(), *key);
        }
    }
});
