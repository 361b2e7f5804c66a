//! The version that a header names, which decides how the payload key is made.

/// Versions whose packets are encrypted with the full payload key; in all others its first 16 bytes are a seed.
///
/// A version is the last two of three bytes that first were a semantic version: 256 is 0.1.0, which the whole network
/// of 2021 speaks, 257 is 0.1.1, 512 is 0.2.0, which was never released; then 258 was simply the next number. 1 is what
/// newer libraries took 0.1.0 for.
const FULL_PAYLOAD_KEY_VERSIONS: [u16; 5] = [1, 256, 257, 258, 512];

/// A version. Unknown versions are treated like the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version(u16);

impl Version {
    /// The length in a header.
    pub(super) const LEN: usize = 3;

    /// The first byte has no meaning.
    pub(super) const fn from_bytes([_, high, low]: [u8; Self::LEN]) -> Self {
        Self(u16::from_be_bytes([high, low]))
    }

    pub(super) fn has_full_payload_key(self) -> bool {
        FULL_PAYLOAD_KEY_VERSIONS.contains(&self.0)
    }
}
