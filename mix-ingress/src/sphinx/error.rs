//! Why a packet cannot be unwrapped.

/// Why a packet has no destination here. Packets that fail are dropped; nobody is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnwrapError {
    /// No Sphinx packet has this many bytes.
    #[error("a packet of {0} bytes is no Sphinx packet")]
    WrongLength(usize),
    /// The header was not made for our key, or was altered.
    #[error("the packet's header does not fit this gateway's Sphinx key")]
    BadMac,
    /// The header is authentic but says neither "forward" nor "deliver".
    #[error("the packet's header holds an unknown routing flag")]
    UnknownFlag,
    /// The packet is for another node behind us. A gateway is the last hop, not a mix node.
    #[error("the packet wants to be forwarded to another mix node")]
    ForwardHop,
    /// The decrypted payload does not begin with zeros or has no end: it was altered, or made for another version.
    #[error("the packet's payload does not decrypt to a padded plaintext")]
    BadPadding,
}
