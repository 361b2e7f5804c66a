//! Changes to inboxes that are committed together.

use std::{
    collections::{BTreeMap, BTreeSet},
    iter, mem,
    ops::Bound,
};

use bytes::Bytes;
use ipc::ingress_store::Ack;
use session_ipc::Sequence;
use wire::address::ClientAddress;

use super::view::PageLimit;

/// What becomes of one place in an inbox.
#[derive(Debug)]
pub(crate) enum Change {
    /// A message is put there.
    Put(Bytes, Ack),
    /// Nothing is left there.
    Remove,
    /// Nothing is left there, because what was there is too old.
    Expire,
    /// Nothing is left there; what was there, and is no message, is kept apart for the operator.
    SetAside,
}

/// Changes to inboxes that are committed together.
#[derive(Debug, Default)]
pub struct MailBatch {
    pub(super) changes: BTreeMap<(ClientAddress, Sequence), Change>,
    /// Inboxes of which nothing is to be left. This overrides every other change of such an inbox.
    pub(super) erased: BTreeSet<ClientAddress>,
    /// Number and bytes of the messages that the batch puts.
    puts: Puts,
}

/// Messages to be put.
#[derive(Clone, Copy, Debug, Default)]
struct Puts {
    messages: usize,
    bytes: usize,
}

impl Puts {
    const fn add(&mut self, len: usize) {
        self.messages += 1;
        self.bytes += len;
    }

    const fn sub(&mut self, len: usize) {
        self.messages -= 1;
        self.bytes -= len;
    }

    const fn fit(&self, limit: PageLimit) -> bool {
        self.messages <= limit.messages && self.bytes <= limit.bytes
    }
}

impl MailBatch {
    /// Puts a message. If it is not known how the message came, it counts as if it came with a SURB-ack.
    pub fn put(&mut self, client: ClientAddress, sequence: Sequence, message: Bytes, ack: Ack) {
        self.puts.add(message.len());
        self.change((client, sequence), Change::Put(message, ack));
    }

    /// Removes a message. One that this very batch was to put is not written at all.
    pub fn remove(&mut self, client: ClientAddress, sequence: Sequence) {
        match self.changes.remove(&(client, sequence)) {
            Some(Change::Put(message, _)) => self.puts.sub(message.len()),
            _ => self.change((client, sequence), Change::Remove),
        }
    }

    /// Sets what becomes of a place. This replaces any earlier change of the place.
    fn change(&mut self, place: (ClientAddress, Sequence), change: Change) {
        if let Some(Change::Put(message, _)) = self.changes.insert(place, change) {
            self.puts.sub(message.len());
        }
    }

    /// Removes a message that is too old.
    pub fn expire(&mut self, client: ClientAddress, sequence: Sequence) {
        self.change((client, sequence), Change::Expire);
    }

    /// Takes a record that is no message out of its inbox.
    pub fn set_aside(&mut self, client: ClientAddress, sequence: Sequence) {
        self.change((client, sequence), Change::SetAside);
    }

    /// Leaves nothing of an inbox.
    pub fn erase(&mut self, client: ClientAddress) {
        let puts = &mut self.puts;
        self.changes.retain(|(owner, _), change| {
            if let (true, Change::Put(message, _)) = (*owner == client, &*change) {
                puts.sub(message.len());
            }
            *owner != client
        });
        self.erased.insert(client);
    }

    /// Takes out what one commit is to bring, with no more puts than `limit`, but for one message that is larger. The limit bounds the
    /// memory that a commit takes, however long it lasts.
    ///
    /// The inboxes behind `last` have their turn first, and of each the oldest messages, so that none waits for ever and
    /// nothing is on disk without what came before it. `last` is set to the one that came last.
    pub fn take_part(&mut self, limit: PageLimit, last: &mut Option<ClientAddress>) -> Self {
        if self.puts.fit(limit) {
            return mem::take(self);
        }
        let mut part = Self { erased: mem::take(&mut self.erased), ..Self::default() };
        while part.puts.messages < limit.messages && part.puts.bytes < limit.bytes {
            let Some(client) = self.next_client(*last) else { break };
            *last = Some(client);
            if !self.move_changes(client, &mut part, limit) {
                break;
            }
        }
        part
    }

    /// The first inbox behind this one that is changed, or the first of all.
    fn next_client(&self, last: Option<ClientAddress>) -> Option<ClientAddress> {
        let behind = last.and_then(|last| {
            let after = (Bound::Excluded((last, Sequence(u64::MAX))), Bound::Unbounded);
            self.changes.range(after).next()
        });
        behind.or_else(|| self.changes.first_key_value()).map(|((client, _), _)| *client)
    }

    /// Moves the changes of an inbox, with as many of its messages as fit. Says whether all fit.
    fn move_changes(&mut self, client: ClientAddress, part: &mut Self, limit: PageLimit) -> bool {
        let places: Vec<_> =
            self.changes.range((client, Sequence(0))..=(client, Sequence(u64::MAX))).map(|(at, _)| *at).collect();
        let mut left = Puts::default();
        for place in places {
            let Some(change) = self.changes.remove(&place) else { continue };
            let Change::Put(message, ack) = change else {
                part.changes.insert(place, change);
                continue;
            };
            let mut with_it = part.puts;
            with_it.add(message.len());
            // Once a message has to wait, all later ones of the inbox wait too.
            if left.messages == 0 && (with_it.fit(limit) || part.puts.messages == 0) {
                self.puts.sub(message.len());
                part.put(place.0, place.1, message, ack);
            } else {
                left.add(message.len());
                self.changes.insert(place, Change::Put(message, ack));
            }
        }
        left.messages == 0
    }

    /// Bytes of the messages that it puts.
    #[cfg(test)]
    pub(crate) const fn bytes(&self) -> u64 {
        self.puts.bytes as u64
    }

    /// What becomes of each place, in order of inbox and number.
    pub(crate) fn changes(&self) -> impl Iterator<Item = ((ClientAddress, Sequence), &Change)> {
        self.changes.iter().map(|(place, change)| (*place, change))
    }

    /// Whether what is there is no message, and is kept for the operator.
    pub(crate) fn is_set_aside(&self, client: &ClientAddress, number: u64) -> bool {
        matches!(self.changes.get(&(*client, Sequence(number))), Some(Change::SetAside))
    }

    /// Whether nothing is to be left of an inbox.
    pub(crate) fn is_erased(&self, client: &ClientAddress) -> bool {
        self.erased.contains(client)
    }

    /// The inboxes of which nothing is left.
    pub fn erased(&self) -> impl Iterator<Item = &ClientAddress> {
        self.erased.iter()
    }

    /// Whether there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.erased.is_empty()
    }

    /// Messages that the batch puts, removes or sets aside.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether the batch changes anything in the client's inbox.
    pub fn touches(&self, client: &ClientAddress) -> bool {
        let changes = (*client, Sequence(0))..=(*client, Sequence(u64::MAX));
        self.erased.contains(client) || self.changes.range(changes).next().is_some()
    }

    /// The inboxes in which the batch changes something, but for those that it erases.
    pub fn clients(&self) -> impl Iterator<Item = ClientAddress> {
        let mut next = self.changes.first_key_value().map(|((client, _), _)| *client);
        iter::from_fn(move || {
            let client = next?;
            let behind = (Bound::Excluded((client, Sequence(u64::MAX))), Bound::Unbounded);
            next = self.changes.range(behind).next().map(|((client, _), _)| *client);
            Some(client)
        })
    }

    /// The places where the batch puts messages.
    pub fn puts(&self) -> impl Iterator<Item = (ClientAddress, Sequence)> {
        self.places(|change| matches!(change, Change::Put(..)))
    }

    /// The places of messages that are removed because they were received, or refused.
    pub fn removals(&self) -> impl Iterator<Item = (ClientAddress, Sequence)> {
        self.places(|change| matches!(change, Change::Remove))
    }

    /// The places of messages that are removed because they are too old.
    pub fn expirations(&self) -> impl Iterator<Item = (ClientAddress, Sequence)> {
        self.places(|change| matches!(change, Change::Expire))
    }

    /// The places of records that are no messages.
    pub fn set_asides(&self) -> impl Iterator<Item = (ClientAddress, Sequence)> {
        self.places(|change| matches!(change, Change::SetAside))
    }

    fn places(&self, which: impl Fn(&Change) -> bool) -> impl Iterator<Item = (ClientAddress, Sequence)> {
        self.changes.iter().filter(move |(_, change)| which(change)).map(|(place, _)| *place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_removed_before_its_commit_is_never_written() {
        let client = ClientAddress([1; 32]);
        let mut batch = MailBatch::default();
        batch.put(client, Sequence(1), Bytes::from_static(b"a"), Ack::Owed);
        batch.remove(client, Sequence(1));
        assert!(batch.is_empty());
        batch.remove(client, Sequence(2));
        assert!(!batch.is_empty());
        assert_eq!(batch.puts().count(), 0);
    }

    fn clients<const N: usize>() -> [ClientAddress; N] {
        std::array::from_fn(|n| ClientAddress([n as u8 + 1; 32]))
    }

    /// Puts so many messages of ten bytes into an inbox.
    fn put_tens(batch: &mut MailBatch, client: ClientAddress, messages: u64) {
        for n in 0..messages {
            batch.put(client, Sequence(n), Bytes::from_static(b"ten bytes."), Ack::Owed);
        }
    }

    fn of(places: impl Iterator<Item = (ClientAddress, Sequence)>) -> Vec<(ClientAddress, Sequence)> {
        places.collect()
    }

    #[test]
    fn a_batch_says_what_becomes_of_each_place() {
        let [first, second, erased, other] = clients();
        let mut batch = MailBatch::default();
        batch.erase(erased);
        assert!(!batch.is_empty());
        batch.put(first, Sequence(1), Bytes::from_static(b"a"), Ack::Owed);
        batch.remove(first, Sequence(2));
        batch.expire(second, Sequence(3));
        batch.set_aside(second, Sequence(4));
        assert_eq!((of(batch.puts()), of(batch.removals())), (vec![(first, Sequence(1))], vec![(first, Sequence(2))]));
        assert_eq!(of(batch.expirations()), [(second, Sequence(3))]);
        assert_eq!(of(batch.set_asides()), [(second, Sequence(4))]);
        assert_eq!((batch.len(), batch.changes().count()), (4, 4));
        assert_eq!([3, 4].map(|number| batch.is_set_aside(&second, number)), [false, true]);
        assert_eq!([first, erased].map(|client| batch.is_erased(&client)), [false, true]);
        assert_eq!(batch.erased().collect::<Vec<_>>(), [&erased]);
        assert_eq!(batch.clients().collect::<Vec<_>>(), [first, second]);
        assert_eq!([first, second, erased, other].map(|client| batch.touches(&client)), [true, true, true, false]);
    }

    #[test]
    fn an_erased_inbox_loses_its_changes_and_no_other_does() {
        let [first, second] = clients();
        let mut batch = MailBatch::default();
        put_tens(&mut batch, first, 2);
        put_tens(&mut batch, second, 1);
        batch.remove(first, Sequence(9));
        batch.erase(first);
        assert_eq!((of(batch.puts()), batch.len()), (vec![(second, Sequence(0))], 1));
        assert_eq!((batch.puts.messages, batch.puts.bytes), (1, 10));
    }

    #[test]
    fn a_later_change_of_a_place_replaces_the_earlier() {
        let [client] = clients();
        let mut batch = MailBatch::default();
        put_tens(&mut batch, client, 2);
        batch.put(client, Sequence(0), Bytes::from_static(b"a"), Ack::Owed);
        batch.expire(client, Sequence(1));
        assert_eq!((of(batch.puts()), of(batch.expirations()).len()), (vec![(client, Sequence(0))], 1));
        assert_eq!((batch.puts.messages, batch.puts.bytes), (1, 1));
    }

    #[test]
    fn a_part_ends_at_either_of_its_limits() {
        let [first, second, third, erased] = clients();
        for limit in [(2, 999), (9, 20), (2, 20)].map(|(messages, bytes)| PageLimit { messages, bytes }) {
            let mut batch = MailBatch::default();
            put_tens(&mut batch, first, 2);
            batch.remove(second, Sequence(1));
            put_tens(&mut batch, third, 1);
            batch.erase(erased);
            let mut last = None;
            let part = batch.take_part(limit, &mut last);
            assert_eq!(of(part.puts()), [0, 1].map(|n| (first, Sequence(n))));
            assert_eq!((last, of(part.removals()).len()), (Some(first), 0));
            assert!(part.is_erased(&erased) && !batch.is_erased(&erased), "erasing an inbox takes no memory");
            let part = batch.take_part(limit, &mut last);
            assert_eq!((of(part.puts()).len(), of(part.removals()).len()), (1, 1));
        }
    }

    #[test]
    fn a_part_brings_inboxes_until_it_is_full() {
        let [first, second, third] = clients();
        let mut batch = MailBatch::default();
        put_tens(&mut batch, first, 1);
        put_tens(&mut batch, second, 2);
        put_tens(&mut batch, third, 2);
        let mut last = Some(first);
        let part = batch.take_part(PageLimit { messages: 4, bytes: 40 }, &mut last);
        assert_eq!(part.clients().collect::<Vec<_>>(), [second, third], "the inboxes behind the last come first");
        assert_eq!((last, of(part.puts()).len(), of(batch.puts()).len()), (Some(third), 4, 1));
        let part = batch.take_part(PageLimit { messages: 1, bytes: 10 }, &mut last);
        assert_eq!((of(part.puts()), batch.is_empty()), (vec![(first, Sequence(0))], true));
    }

    #[test]
    fn a_part_holds_the_oldest_of_each_in_turn() {
        const LIMIT: PageLimit = PageLimit { messages: 3, bytes: 100 };
        let [first, second] = [1, 2].map(|n| ClientAddress([n; 32]));
        let mut batch = MailBatch::default();
        for n in 0..5 {
            batch.put(first, Sequence(n), Bytes::from_static(b"ten bytes."), Ack::Owed);
        }
        batch.remove(first, Sequence(9));
        batch.put(second, Sequence(1), vec![0; 200].into(), Ack::Owed);
        let mut last = None;
        let part = batch.take_part(LIMIT, &mut last);
        assert_eq!(part.puts().collect::<Vec<_>>(), [0, 1, 2].map(|n| (first, Sequence(n))));
        assert_eq!(part.removals().count(), 1);
        let part = batch.take_part(LIMIT, &mut last);
        assert_eq!(part.puts().collect::<Vec<_>>(), [(second, Sequence(1))], "a giant goes alone");
        batch.remove(first, Sequence(3));
        let part = batch.take_part(LIMIT, &mut last);
        assert_eq!(part.puts().collect::<Vec<_>>(), [(first, Sequence(4))]);
        assert!(batch.is_empty() && batch.puts.messages == 0 && batch.puts.bytes == 0);
    }
}
