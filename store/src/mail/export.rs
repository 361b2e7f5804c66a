//! Reads whole inboxes for a backup, a page at a time, while they change.
//!
//! *Promises*: a message that is on the medium before the first page is read, and is not removed meanwhile, is on a page, wherever cleaning
//! moves it. Memory is bounded by one page, and the index is locked for no longer than it takes to note the places of a page.

use std::collections::BTreeMap;

use session_ipc::Sequence;
use wire::address::ClientAddress;

use super::{Log, MailLog, TakenOver, shelf::Shelf};
use crate::mailbox::PageLimit;

/// Messages and bytes of one page.
const PAGE: PageLimit = PageLimit { messages: 256, bytes: 1024 * 1024 };

impl<S: Shelf> MailLog<S> {
    /// Messages of an inbox from this place on, and where to go on. A message that cannot be read is left out.
    pub(crate) fn export(&self, client: &ClientAddress, from: Sequence) -> (Vec<TakenOver>, Option<Sequence>) {
        self.log.export(client, from)
    }
}

impl<S: Shelf> Log<S> {
    fn export(&self, client: &ClientAddress, from: Sequence) -> (Vec<TakenOver>, Option<Sequence>) {
        let facts: BTreeMap<_, _> = {
            let index = self.index();
            let Some(inbox) = index.inbox(client) else { return (Vec::new(), None) };
            let page = inbox.range(from.0..u64::MAX).take(PAGE.messages);
            page.map(|(number, message)| (Sequence(number), (message.arrival(), message.ack()))).collect()
        };
        let Some((Sequence(last), _)) = facts.last_key_value() else { return (Vec::new(), None) };
        let page = self.peek(client, (from, Sequence(last + 1)), PAGE);
        if !page.unreadable.is_empty() {
            tracing::warn!(
                id = "GWD-S039",
                messages = page.unreadable.len(),
                "messages that cannot be read are not in the backup"
            );
        }
        let messages = page.messages.into_iter().filter_map(|(number, body)| {
            let (arrival, ack) = facts.get(&number).copied()?;
            Some(TakenOver { client: *client, number, arrival, ack, body })
        });
        (messages.collect(), Some(page.end))
    }
}
