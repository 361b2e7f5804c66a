//! The messages that processes say to each other, put together from the calls that carried them.

use anyhow::Result;
use bincode::Decode;
use ipc::codec::{self, FRAME_HEADER_LEN};

use super::call::Call;

/// A pair of connected sockets, seen from one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Link {
    pub(super) here: u64,
    pub(super) there: u64,
}

impl Link {
    /// What a trace calls a descriptor, if that is one end of a link.
    pub(super) fn of(target: &str) -> Option<Self> {
        let (here, there) = target.strip_prefix("UNIX-STREAM:[")?.strip_suffix(']')?.split_once("->")?;
        Some(Self { here: here.parse().ok()?, there: there.parse().ok()? })
    }

    /// The same, seen from the other end.
    #[must_use]
    pub const fn turned(self) -> Self {
        Self { here: self.there, there: self.here }
    }
}

/// The messages that these calls carried, each with the line on which the call that carried its last byte began or returned; and whether
/// they ended with the end of a message.
pub(super) fn messages<'a, M: Decode<()>>(
    calls: impl Iterator<Item = &'a Call>,
    when_returned: bool,
) -> Result<(Vec<(usize, M)>, bool)> {
    let mut messages = Vec::new();
    let mut bytes: Vec<u8> = Vec::new();
    for call in calls {
        bytes.extend(&call.bytes);
        let when = if when_returned { call.returned } else { call.began };
        while let Some((header, rest)) = bytes.split_first_chunk::<FRAME_HEADER_LEN>() {
            let Some((body, rest)) = rest.split_at_checked(codec::body_len(*header)?) else { break };
            messages.extend(codec::decode_body(body)?.into_iter().map(|message| (when, message)));
            bytes = rest.to_vec();
        }
    }
    Ok((messages, bytes.is_empty()))
}
