//! What the messages name: a session, and a message of an inbox.

use bincode::{Decode, Encode};

/// Names one session of one `client-edge`: one connection of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct SessionId(pub u64);

/// Position of a message in its inbox. Counts up; no position is used twice while the inbox holds a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Sequence(pub u64);
