//! Derives a session key from an X25519 output: HKDF (RFC 5869) over HMAC-BLAKE3, empty info, 32 bytes.

use hmac::Mac;
use zeroize::Zeroizing;

use super::hmac_blake3::keyed;

/// The salt that clients send with their handshake since protocol version 3.
pub type Salt = [u8; 16];

/// Derives the 32 bytes of the session key from the raw X25519 output, as both ends do. Clients before protocol version 3 have no salt;
/// HKDF then uses 32 zero bytes.
pub fn derive(shared_secret: &[u8; 32], salt: Option<&Salt>) -> Zeroizing<[u8; 32]> {
    let extract = match salt {
        Some(salt) => keyed(salt),
        None => keyed(&[0; 32]),
    };
    let pseudorandom_key = Zeroizing::new(extract.chain_update(shared_secret).finalize().into_bytes().0);
    // 32 bytes are exactly one block of HKDF-Expand: T(1) = HMAC(PRK, info || 0x01).
    Zeroizing::new(keyed(&pseudorandom_key).chain_update([1]).finalize().into_bytes().0)
}

#[cfg(test)]
mod tests {
    use hkdf::SimpleHkdf;
    use proptest::prelude::*;

    use super::*;
    use crate::vectors;

    #[test]
    fn unsalted_is_what_2021_derives() {
        let okm = derive(&vectors::bytes("/hkdf/dh_output"), None);
        assert_eq!(*okm, vectors::bytes("/hkdf/okm32"));
    }

    #[test]
    fn salted_is_what_today_derives() {
        let secret = vectors::bytes("/hkdf_salted/x25519_shared");
        let okm = derive(&secret, Some(&vectors::bytes("/hkdf_salted/salt")));
        assert_eq!(*okm, vectors::bytes("/hkdf_salted/okm32"));
    }

    proptest! {
        #[test]
        fn agrees_with_an_independent_hkdf(secret: [u8; 32], salt: Option<[u8; 16]>) {
            let mut expected = [0; 32];
            SimpleHkdf::<blake3::Hasher>::new(salt.as_ref().map(|salt| &salt[..]), &secret)
                .expand(&[], &mut expected)
                .unwrap();
            prop_assert_eq!(*derive(&secret, salt.as_ref()), expected);
        }
    }
}
