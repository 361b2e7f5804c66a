//! The post office: who is registered, what waits for them, and the gateway's signature.
//!
//! *Trusts*: `mix-ingress` and `client-edge` with what their links' doc blocks say, and no more; its disk.
//!
//! *Holds*: the Ed25519 identity key, the client ledger with every session key, the inboxes; for `mix-ingress`, the marks
//! of packets seen, which say nothing to it. The single authority on what is in an inbox and who is attached.
//!
//! *May do*: read and write its three directories (ledger, inboxes, marks); speak to its two peers. No network at all.
//!
//! *On compromise*: mail at rest (end-to-end encrypted by the clients) and the ledger. Can talk to nobody but its peers.
//!
//! Inside: [`mailbox`] is what is on disk, and `mail` the files of the messages in it; [`office`] decides, without I/O and on
//! one thread; [`service`] carries out what the office decides; [`registrar`] does the arithmetic of registration; [`replay`]
//! keeps marks; `clock` says when to doubt the machine's clock.

#[cfg(all(feature = "ack-before-commit", not(debug_assertions)))]
compile_error!("the feature `ack-before-commit` loses mail; it is for the tests alone, never for a release");

mod clock;
pub mod counters;
mod disk;
pub mod identity;
mod mail;
pub mod mailbox;
pub mod office;
pub mod registrar;
pub mod replay;
pub mod service;
#[cfg(test)]
mod simulation;
