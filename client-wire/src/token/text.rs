//! The base58 fields of a token.

/// A field is not the base58 form of the right number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenTextError {
    /// `address`, 32 bytes.
    #[error("an authentication request has no readable address; it must be the base58 form of 32 bytes")]
    Address,
    /// `enc_address`, 32 bytes; 48 in version 3.
    #[error(
        "an authentication request has no readable encrypted address; it must be base58 of 32 bytes (version 3: 48)"
    )]
    EncryptedAddress,
    /// `iv`, 16 bytes; 12 in version 3.
    #[error("an authentication request has no readable IV; it must be base58 of 16 bytes (version 3: 12)")]
    Iv,
}

pub(super) fn from_base58<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    (bs58::decode(text).onto(&mut bytes) == Ok(N)).then_some(bytes)
}
