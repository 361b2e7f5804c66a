//! Takes in messages that were stored elsewhere, under the numbers that they had, where these are not spent.

use std::{collections::BTreeMap, sync::PoisonError};

use bytes::Bytes;
use ipc::ingress_store::Ack;
use session_ipc::Sequence;
use wire::address::ClientAddress;

use super::{
    Log, MailLog,
    append::Item,
    entry::{Fact, Put},
    inbox::Inbox,
    millis,
    shelf::Shelf,
};
use crate::{clock, mailbox::MailboxError};

/// A message that was stored elsewhere.
#[derive(Debug)]
pub(crate) struct TakenOver {
    pub(crate) client: ClientAddress,
    pub(crate) number: Sequence,
    /// Unix milliseconds.
    pub(crate) arrival: u64,
    /// Whether it came with a SURB-ack.
    pub(crate) ack: Ack,
    pub(crate) body: Bytes,
}

impl MailLog {
    /// Takes in these messages, but for those that are there already, and returns when they are on the medium. Those of an inbox
    /// come in order. Says how many there were.
    ///
    /// # Errors
    /// If that cannot be promised.
    pub(crate) fn take_over(&self, messages: &[TakenOver]) -> Result<u64, MailboxError> {
        self.log.take_over(messages, millis(clock::now()))
    }
}

impl<S: Shelf> Log<S> {
    pub(super) fn take_over(&self, messages: &[TakenOver], now: u64) -> Result<u64, MailboxError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut facts: Vec<Item<'_>> = Vec::new();
        {
            let index = self.index();
            let mut next: BTreeMap<&ClientAddress, u64> = BTreeMap::new();
            for TakenOver { client, number, arrival, ack, body } in messages {
                let inbox = index.inbox(client);
                let put = Put::new(*client, *number, *arrival, *ack, body);
                if inbox.and_then(|inbox| inbox.get(number.0)).is_some_and(|found| found.is(&put)) {
                    continue;
                }
                // Its own number may be spent by a part of an earlier attempt, or by other mail.
                let next = next.entry(client).or_insert_with(|| inbox.map_or(0, Inbox::next));
                let number = number.0.max(*next);
                *next = number + 1;
                facts.push((Fact::Put(Put::new(*client, Sequence(number), *arrival, *ack, body)), body));
            }
        }
        self.write(&mut writer, &facts, now)?;
        Ok(messages.len() as u64)
    }
}
