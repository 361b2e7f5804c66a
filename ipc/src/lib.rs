//! What the processes say to each other: one file per link, one enum per direction, `<Verb><Object>` names.
//!
//! *Trusts* nothing that arrives, since a peer may have been taken over. Each file says who trusts whom for what and which
//! message is allowed when. *Promises*: the encoding is pinned by golden bytes; a message that does not decode exactly
//! is refused by [`codec`]. The formats know no runtime; the crate `link` carries them. The link about clients' sessions is a crate
//! of its own, `session-ipc`, since its messages hold keys and proofs of clients.

pub mod backup;
pub mod codec;
pub mod control;
pub mod credit;
pub mod egress;
pub mod http_api;
pub mod ingress_store;
pub mod jail;
pub mod log;
pub mod node_check;
pub mod operator;
pub mod ports;
pub mod probe;
pub mod replay_settings;
pub mod signer;
pub mod trusted_network;
pub mod validator_query;

use bincode::{Decode, Encode};
use bytes::Bytes;

/// The build of this program. Two programs with the same build have the same messages and the same figures.
pub const BUILD: &str = env!("GATEWAYD_BUILD");

/// The only argument of a program that is asked for its [`BUILD`]. It writes that to standard output, and ends.
pub const ASK_BUILD: &str = "--build";

/// Bytes that are carried and never looked into: a Sphinx packet or a client's message.
///
/// Cloning shares the buffer. Encoded as a length and the bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Opaque(pub Bytes);

impl std::fmt::Debug for Opaque {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opaque({} bytes)", self.0.len())
    }
}

impl Encode for Opaque {
    fn encode<E: bincode::enc::Encoder>(&self, encoder: &mut E) -> Result<(), bincode::error::EncodeError> {
        self.0.as_ref().encode(encoder)
    }
}

impl<Context> Decode<Context> for Opaque {
    fn decode<D: bincode::de::Decoder<Context = Context>>(
        decoder: &mut D,
    ) -> Result<Self, bincode::error::DecodeError> {
        Ok(Self(Bytes::from(Vec::<u8>::decode(decoder)?)))
    }
}

bincode::impl_borrow_decode!(Opaque);

/// The five workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub enum Role {
    /// Reads the mixnet port.
    MixIngress,
    /// Sends to mix nodes.
    MixEgress,
    /// Serves the clients' websockets.
    ClientEdge,
    /// Keeps ledger, inboxes and identity.
    Store,
    /// Describes the gateway to today's network, over HTTP. Runs only if the operator wants it.
    HttpApi,
}

impl Role {
    /// Every worker, in the order in which they are started.
    pub const ALL: [Self; 5] = [Self::Store, Self::MixEgress, Self::ClientEdge, Self::MixIngress, Self::HttpApi];

    /// The name of the process and of its binary.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MixIngress => "mix-ingress",
            Self::MixEgress => "mix-egress",
            Self::ClientEdge => "client-edge",
            Self::Store => "store",
            Self::HttpApi => "http-api",
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_called_as_its_program() {
        let names = Role::ALL.map(|role| role.to_string());
        assert_eq!(names, ["store", "mix-egress", "client-edge", "mix-ingress", "http-api"]);
        assert_eq!(names, Role::ALL.map(Role::name));
    }
}
