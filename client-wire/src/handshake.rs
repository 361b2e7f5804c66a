//! The bytes of the registration handshake, for both sides. [`ClientInit`] and [`GatewayReply`] are for every version.

mod transcript;
mod unsalted;

pub use transcript::{ClientInit, GatewayReply};
pub use unsalted::{
    EphemeralKeys, FINISHED, GatewayMaterial, HandshakeError, HandshakeInit, PublicKey, SIGNATURE_LEN, Signature,
    derive_key, open_signature, seal_signature,
};
