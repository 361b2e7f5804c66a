//! The messages that processes say to each other, put together from the calls that carried them.

use std::collections::BTreeSet;

use anyhow::Result;
use bincode::Decode;
use ipc::codec::{self, FRAME_HEADER_LEN};

use super::{Call, SENDING, Trace};

/// A pair of connected sockets, seen from one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Link {
    here: u64,
    there: u64,
}

impl Link {
    /// What a trace calls a descriptor, if that is one end of a link.
    fn of(target: &str) -> Option<Self> {
        let (here, there) = target.strip_prefix("UNIX-STREAM:[")?.strip_suffix(']')?.split_once("->")?;
        Some(Self { here: here.parse().ok()?, there: there.parse().ok()? })
    }

    /// The same, seen from the other end.
    #[must_use]
    pub const fn turned(self) -> Self {
        Self { here: self.there, there: self.here }
    }
}

impl Trace {
    /// What a process with some of these sockets said to one with some of those, on all links between them, and when the call that
    /// sent the last byte of it began. What was cut off by the end of a process was never said.
    ///
    /// # Errors
    /// If that are no links.
    pub fn said<M: Decode<()>>(&self, from: &BTreeSet<u64>, to: &BTreeSet<u64>) -> Result<Vec<(usize, (Link, M))>> {
        let sends = || {
            let sends = self.calls().iter().filter(|call| SENDING.contains(&call.name.as_str()));
            sends.filter_map(|call| Some((Link::of(&call.target)?, call)))
        };
        let is_between = |link: &Link| from.contains(&link.here) && to.contains(&link.there);
        let links: BTreeSet<Link> = sends().map(|(link, _)| link).filter(is_between).collect();
        let mut said = Vec::new();
        for link in links {
            let calls = sends().filter(|(of, _)| *of == link).map(|(_, call)| call);
            let (messages, _) = messages(calls, false)?;
            said.extend(messages.into_iter().map(|(when, message)| (when, (link, message))));
        }
        said.sort_by_key(|(when, _)| *when);
        Ok(said)
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
