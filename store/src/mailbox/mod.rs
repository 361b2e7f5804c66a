//! What the core needs of storage, behind one trait, so that another engine can take sled's place.
//!
//! *Promises*: what [`Mailbox::commit_mail`] and [`Mailbox::commit_ledger`] took is on the medium when they return `Ok`. A batch of
//! mail that was not taken may be there in part, which costs a repetition at the most.
//!
//! | file | has |
//! |---|---|
//! | `batch`, `commit` | changes to inboxes, and the proof that they are on the medium |
//! | `engine` | the calls |
//! | `entry` | changes of the ledger |
//! | `view` | what can be read: inboxes in numbers, pages of mail and of clients |
//! | `error` | what is full, and what has failed |

mod batch;
mod commit;
mod engine;
mod entry;
mod error;
#[cfg(test)]
pub(crate) mod remembered;
mod view;

pub(crate) use batch::Change;
pub use batch::MailBatch;
pub use commit::{Committed, Uncommitted, commit};
pub use engine::Mailbox;
pub use entry::LedgerEntry;
pub use error::{Lack, LedgerRoom, MailboxError};
pub use view::{Class, Filling, InboxSize, Measure, OldMail, Page, PageLimit, Position, SeenClients, Summary};
