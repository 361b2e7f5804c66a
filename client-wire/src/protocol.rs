//! The differences between the versions of the protocol, in one place. All other code asks here.
//!
//! | version | era | session key | answers carry |
//! |---|---|---|---|
//! | none | May 2021 | [`KeyKind::CtrHmac`] | a status |
//! | 1, 2 | 2022 to 2024 | [`KeyKind::CtrHmac`] | version and bandwidth too |
//! | 3 to 6 (0, if a client did not say) | since October 2024 | [`KeyKind::GcmSiv`] | upgrade mode too |
//!
//! A [`Protocol`] is the protocol of a connection. The kind of key decides how messages are sealed and how a client is refused
//! ([`refusal`]); the version is echoed. [`EntryRequest`] finds out which protocol a client's text belongs to; a
//! [`GatewaySession`](crate::session::GatewaySession) is a protocol with a key.
//!
//! *Promises*: a version that does not fit its kind of key is not representable.

mod entry;
pub mod refusal;
mod version;

pub use entry::{EntryRequest, Eras, RejectedRequest};
pub use version::{BANDWIDTH, Protocol, ProtocolVersion};
