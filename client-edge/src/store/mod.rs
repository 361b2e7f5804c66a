//! The link to `store`, and each session's share of it: its way there, its mail, its key.

pub(crate) mod dispatch;
pub(crate) mod handle;
pub mod keys;
pub(crate) mod mail;
