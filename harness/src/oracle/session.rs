//! A client's sessions, and what came in each.

use std::{collections::HashMap, time::Instant};

use super::names::{Inbox, Stream};

/// A session, from the client's side.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// When the client last read a message in it.
    pub(super) last_read: Option<Instant>,
    /// When the message was sent that was sent last of those that came, for each connection of a mix node.
    pub(super) newest: HashMap<Stream, Instant>,
}

/// When a message has come, and in which of its client's sessions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Coming {
    pub(super) session: usize,
    pub(super) at: Instant,
}

/// A message has come again.
#[derive(Debug)]
pub(super) struct Again {
    pub(super) number: u64,
    pub(super) inbox: Inbox,
    pub(super) before: Coming,
    pub(super) now: Coming,
    /// It came behind a message of its connection that had been sent later.
    pub(super) goes_back: bool,
}
