//! The store: which clients are registered, what waits for them, and the gateway's signature.
//!
//! *Trusts*: `mix-ingress` and `client-edge` with what their links' doc blocks say, and no more; its disk.
//!
//! *Holds*: the Ed25519 identity key, the client ledger with every session key, the inboxes; for `mix-ingress`, the marks
//! of packets seen, whose meaning it does not know. It alone decides what is in an inbox and which client is attached.
//!
//! *May do*: read and write its three directories (ledger, inboxes, marks); speak to its peers. No network at all.
//!
//! *On compromise*: mail at rest (end-to-end encrypted by the clients) and the ledger are lost. It can talk only to its peers.
//!
//! | room | does |
//! |---|---|
//! | [`service`] | threads, links and blocking jobs: tells the core what happens, and carries out what it decides |
//! | [`core`] | decides, without I/O and on one thread |
//! | [`mailbox`] | what the core needs of storage: a trait and its types |
//! | [`disk_mailbox`] | the trait over real files: the ledger on sled, imports, the reserve on disk |
//! | `mail` | the log of messages: segments, index, cleaning |
//! | [`registrar`], [`identity`] | the arithmetic of registration, and the gateway's key |
//! | [`backup`] | all of it, written to a socket while it is in use |
//! | [`replay`] | marks of packets seen, for `mix-ingress` |
//! | `announcement` | the signed host information, for `http-api` |
//! | `clock`, `disk`, `plain_file` | whether the clock is believed; free space; files without links |

#[cfg(all(feature = "ack-before-commit", not(debug_assertions)))]
compile_error!("the feature `ack-before-commit` loses mail; it is for the tests alone, never for a release");

mod announcement;
pub mod backup;
mod clock;
pub mod core;
pub mod counters;
mod disk;
pub mod disk_mailbox;
mod mail;
pub mod mailbox;
mod plain_file;
pub mod registrar;
pub mod replay;
pub mod service;
#[cfg(test)]
mod simulation;
