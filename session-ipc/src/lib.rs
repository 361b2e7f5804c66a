//! Link `store` ↔ `client-edge`: sessions, mail and receipts.
//!
//! *store trusts client-edge* only with the clients that are attached: `client-edge` may drop or falsely confirm *their* pushed mail.
//! It cannot attach a session without the client's proof, which `store` checks itself, nor confirm mail that was not pushed
//! in that session. *client-edge trusts store* to give it the key of each attached client and no other.
//!
//! What may be asked depends on the phase of the session: see [`Phase`]. What a peer can do against the rules is a [`Rule`].

mod answer;
mod attached_key;
mod id;
mod phase;
mod request;
mod rule;

pub use answer::{AuthenticationRefusal, EndReason, RegistrationRefusal, SessionAnswer, StoreToEdge};
pub use attached_key::AttachedKey;
pub use id::{Sequence, SessionId};
pub use phase::{Admission, Phase};
pub use request::{EdgeToStore, SessionRequest};
pub use rule::Rule;

/// Bytes of memory that a waiting message takes beside its content.
pub const MESSAGE_OVERHEAD: u64 = 256;

/// Bytes that a message of `len` bytes takes of a memory budget, at both ends of the link.
pub const fn message_cost(len: usize) -> u64 {
    (len as u64).saturating_add(MESSAGE_OVERHEAD)
}

#[cfg(test)]
mod tests;
