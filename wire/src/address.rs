//! The address of a client: the 32 bytes of its Ed25519 identity public key, shown as base58 (Bitcoin alphabet).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The destination of a message: the 32 raw bytes of a client's Ed25519 public key.
///
/// Any 32 bytes are an address. Only the ledger knows whether a client is registered under it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClientAddress(pub [u8; ClientAddress::LEN]);

impl ClientAddress {
    /// Length in bytes.
    pub const LEN: usize = 32;

    /// The raw bytes.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bs58::encode(self.0).into_string())
    }
}

impl fmt::Debug for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientAddress({self})")
    }
}

/// The text is not the base58 form of exactly 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a client address: expected the base58 form of 32 bytes")]
pub struct InvalidAddress;

impl FromStr for ClientAddress {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let mut bytes = [0; Self::LEN];
        match bs58::decode(text).onto(&mut bytes) {
            Ok(Self::LEN) => Ok(Self(bytes)),
            _ => Err(InvalidAddress),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base58_text_round_trips() {
        let text = "Gj7jCwwZmPiMbgxAvJZ3CPfscKmCr3v9xvrEsBgGaNMM";
        let address: ClientAddress = text.parse().unwrap();
        assert_eq!(address.to_string(), text);
        assert_eq!(address.0[..2], [0xe9, 0xa9]);
    }

    #[test]
    fn anything_but_32_bytes_is_refused() {
        for text in ["", "abc", "0OIl", "1thX6LZfHDZZKUs92febYZhYRcXddmzfzF2NvTkPNEaa"] {
            assert_eq!(text.parse::<ClientAddress>(), Err(InvalidAddress), "{text}");
        }
    }
}
