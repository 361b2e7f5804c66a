//! One inbox in memory: its messages, and what must be known of those that are gone.

use std::{collections::VecDeque, ops::Range};

use super::{
    entry::{Fact, Gone, Put},
    message::{Message, Spot},
    segment::Slot,
};
use ipc::ingress_store::Ack;
use wire::address::ClientAddress;

/// One inbox.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// The number from which the messages' are counted.
    base: u64,
    /// No number from here on was ever written.
    next: u64,
    /// Bytes of the bodies that came with a SURB-ack.
    bytes: u64,
    /// Messages that came without.
    ackless: u32,
    /// Messages in any file that are not alive: a fact that says they are gone is needed until this is 0.
    dead: u32,
    /// In order of number.
    messages: VecDeque<Message>,
}

/// What an inbox holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holding {
    pub(super) next: u64,
    /// Messages that came with a SURB-ack.
    pub(super) messages: u64,
    /// Their bytes.
    pub(super) bytes: u64,
    /// Messages that came without.
    pub(super) ackless: u64,
}

impl Inbox {
    /// Messages are never counted from a later number than this.
    pub(super) fn beginning_at(next: u64) -> Self {
        Self { next, ..Self::default() }
    }

    pub(super) fn holding(&self) -> Holding {
        let ackless = u64::from(self.ackless);
        Holding { next: self.next, messages: self.messages.len() as u64 - ackless, bytes: self.bytes, ackless }
    }

    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    /// Numbers before this are spent.
    pub(super) fn spend(&mut self, end: u64) {
        self.next = self.next.max(end);
    }

    pub(super) const fn dead(&self) -> u32 {
        self.dead
    }

    /// More messages in files are dead.
    pub(super) const fn add_dead(&mut self, messages: u32) {
        self.dead = self.dead.saturating_add(messages);
    }

    /// A file with so many dead ones is gone for good.
    pub(super) const fn sub_dead(&mut self, messages: u32) {
        self.dead = self.dead.saturating_sub(messages);
    }

    /// Whether no file holds a message of it, alive or dead.
    pub(super) fn is_nothing(&self) -> bool {
        self.messages.is_empty() && self.dead == 0
    }

    pub(super) fn messages(&self) -> impl DoubleEndedIterator<Item = (u64, &Message)> {
        self.messages.iter().map(|message| (self.number(message), message))
    }

    fn number(&self, message: &Message) -> u64 {
        self.base + u64::from(message.delta)
    }

    /// The messages with these numbers.
    pub(super) fn range(&self, numbers: Range<u64>) -> impl Iterator<Item = (u64, &Message)> {
        self.messages.range(self.places(numbers)).map(|message| (self.number(message), message))
    }

    fn places(&self, numbers: Range<u64>) -> Range<usize> {
        let place = |end: u64| self.messages.partition_point(|message| self.number(message) < end);
        let first = place(numbers.start);
        first..place(numbers.end).max(first)
    }

    pub(super) fn get(&self, number: u64) -> Option<&Message> {
        let place = self.messages.partition_point(|message| self.number(message) < number);
        self.messages.get(place).filter(|message| self.number(message) == number)
    }

    /// Whether a message with this number can be added: the number is not spent, and not too far from the first.
    pub(super) fn takes(&self, number: u64) -> bool {
        let first = self.messages.front().map_or(number, |first| self.number(first));
        number >= self.next && number - first <= u64::from(u32::MAX)
    }

    /// Adds a message behind all others.
    pub(super) fn push(&mut self, put: &Put, slot: Slot) {
        match self.messages.front() {
            None => self.base = put.number,
            Some(_) if put.number - self.base > u64::from(u32::MAX) => self.rebase(),
            Some(_) => {}
        }
        if self.messages.len() == self.messages.capacity() {
            self.messages.reserve_exact(2.max(self.messages.len() / 8));
        }
        let [a, b, c, d, e, f, ..] = put.arrival.to_le_bytes();
        let [g, h, i, _] = put.len.to_le_bytes();
        self.messages.push_back(Message {
            delta: u32::try_from(put.number - self.base).unwrap_or(u32::MAX),
            place: put.place,
            len: [g, h, i],
            ack: put.ack,
            checksum: put.checksum,
            arrival: [a, b, c, d, e, f],
            slot,
        });
        match put.ack {
            Ack::Owed => self.bytes += u64::from(put.len),
            Ack::NotOwed => self.ackless += 1,
        }
        self.spend(put.number + 1);
    }

    fn rebase(&mut self) {
        let Some(first) = self.messages.front().map(|first| first.delta) else { return };
        for message in &mut self.messages {
            message.delta -= first;
        }
        self.base += u64::from(first);
    }

    /// Takes the messages with these numbers out. In the files they are dead from now on.
    pub(super) fn remove(&mut self, numbers: Range<u64>, mut each: impl FnMut(&Message)) {
        let places = self.places(numbers);
        self.add_dead(u32::try_from(places.len()).unwrap_or(u32::MAX));
        for message in self.messages.drain(places) {
            match message.ack {
                Ack::Owed => self.bytes -= u64::from(message.len()),
                Ack::NotOwed => self.ackless -= 1,
            }
            each(&message);
        }
        if self.messages.capacity() > 16 + 4 * self.messages.len() {
            self.messages.shrink_to(self.messages.len() + self.messages.len() / 8);
        }
    }

    /// Moves a message that is still alive. Says where it was.
    pub(super) fn relocate(&mut self, number: u64, to: Spot) -> Option<Spot> {
        let place = self.messages.partition_point(|message| self.number(message) < number);
        let base = self.base;
        let message = self.messages.get_mut(place).filter(|message| base + u64::from(message.delta) == number)?;
        let from = message.spot();
        (message.slot, message.place) = (to.slot, to.place);
        Some(from)
    }

    /// The message as a fact.
    pub(super) fn put(&self, inbox: ClientAddress, number: u64, message: &Message) -> Put {
        let (arrival, ack, len) = (message.arrival(), message.ack, message.len());
        Put { inbox, number, arrival, ack, len, checksum: message.checksum, place: message.place }
    }

    /// The ranges that are gone once these numbers, in rising order, are gone. Each range takes in its neighbours that are gone already,
    /// so that one fact takes the place of many.
    pub(super) fn ranges_without(&self, numbers: &[u64]) -> Vec<Range<u64>> {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for number in numbers {
            // A number that was never written needs no fact, and a fact must not cover what is being put.
            if *number >= self.next || ranges.last().is_some_and(|last| last.contains(number)) {
                continue;
            }
            let place = self.messages.partition_point(|message| self.number(message) < *number);
            let before = place.checked_sub(1).and_then(|before| self.messages.get(before));
            let start = before.map_or(0, |message| self.number(message) + 1);
            let behind = self.messages.range(place..).map(|message| self.number(message));
            let end = behind.into_iter().find(|behind| numbers.binary_search(behind).is_err());
            ranges.push(start..end.unwrap_or(self.next));
        }
        ranges
    }

    /// The range around a number that is gone, and nothing in it is alive.
    pub(super) fn gap_around(&self, number: u64) -> Range<u64> {
        let place = self.messages.partition_point(|message| self.number(message) < number);
        let before = place.checked_sub(1).and_then(|before| self.messages.get(before));
        let behind = self.messages.get(place).map_or(self.next, |message| self.number(message));
        before.map_or(0, |message| self.number(message) + 1)..behind
    }

    /// All that is gone.
    pub(super) fn all_gone(&self, inbox: ClientAddress) -> Vec<Fact> {
        let mut first = 0;
        let mut facts = Vec::new();
        for end in self.messages().map(|(number, _)| number).chain([self.next]) {
            if first < end {
                facts.push(Fact::Gone(Gone { inbox, first, end }));
            }
            first = end.saturating_add(1);
        }
        facts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CLIENT: ClientAddress = ClientAddress([1; 32]);

    /// Every third message came without a SURB-ack.
    fn put(number: u64) -> Put {
        let ack = if number.is_multiple_of(3) { Ack::NotOwed } else { Ack::Owed };
        Put { inbox: CLIENT, number, arrival: 1, ack, len: 10, checksum: 0, place: 1 }
    }

    fn inbox(numbers: &[u64]) -> Inbox {
        let mut inbox = Inbox::default();
        for number in numbers {
            inbox.push(&put(*number), Slot(0));
        }
        inbox
    }

    #[test]
    fn a_receipt_of_the_first_ones_is_one_range() {
        let inbox = inbox(&[2, 3, 5, 9]);
        let gone = |numbers: &[u64]| -> Vec<(u64, u64)> {
            inbox.ranges_without(numbers).into_iter().map(|range| (range.start, range.end)).collect()
        };
        assert_eq!(gone(&[2, 3, 5]), [(0, 9)]);
        assert_eq!(gone(&[2, 3, 5, 9]), [(0, 10)]);
        assert_eq!(gone(&[3]), [(3, 5)]);
        assert_eq!(gone(&[2, 5]), [(0, 3), (4, 9)]);
        assert_eq!(gone(&[4]), [(4, 5)], "one that is not there may be in a file");
        assert_eq!(gone(&[10, 12]), [], "what was never written needs no fact");
    }

    #[test]
    fn a_new_inbox_spends_no_number_before_its_first() {
        let inbox = Inbox::beginning_at(7);
        assert_eq!((inbox.next(), inbox.takes(6), inbox.takes(7)), (7, false, true));
    }

    #[test]
    fn the_gap_around_a_number_reaches_to_its_neighbours() {
        let inbox = inbox(&[2, 3, 5, 9]);
        let gaps = [0, 1, 4, 7, 10].map(|number| inbox.gap_around(number));
        assert_eq!(gaps, [0..2, 0..2, 4..5, 6..9, 10..10]);
    }

    #[test]
    fn an_inbox_takes_little_more_memory_than_its_messages() {
        let mut inbox = inbox(&(0..1_000).collect::<Vec<_>>());
        assert!(inbox.messages.capacity() <= 1_125, "{}", inbox.messages.capacity());
        inbox.remove(0..990, |_| {});
        assert_eq!(inbox.messages.capacity(), 11);
        (1_000..1_190).for_each(|number| inbox.push(&put(number), Slot(0)));
        inbox.remove(1_000..1_190, |_| {});
        assert_eq!(inbox.messages.capacity(), 11);
        // What is about to be filled again is kept.
        let numbers: Vec<_> = (0..50).collect();
        let mut inbox = self::inbox(&numbers);
        let before = inbox.messages.capacity();
        inbox.remove(0..40, |_| {});
        assert_eq!(inbox.messages.capacity(), before);
    }

    #[test]
    fn an_inbox_far_from_its_first_number_counts_anew() {
        let mut inbox = inbox(&[0, 5]);
        inbox.remove(0..1, |_| {});
        let far = u64::from(u32::MAX) + 5;
        assert!(inbox.takes(far) && !inbox.takes(far + 1));
        inbox.push(&put(far), Slot(0));
        assert_eq!(inbox.messages().map(|(number, _)| number).collect::<Vec<_>>(), [5, far]);
    }

    proptest! {
        #[test]
        fn what_is_gone_and_what_lives_is_everything(
            numbers in prop::collection::btree_set(0..60_u64, 0..20),
            gone in prop::collection::btree_set(0..60_u64, 0..20),
        ) {
            let numbers: Vec<_> = numbers.into_iter().collect();
            let gone: Vec<_> = gone.into_iter().collect();
            let mut inbox = inbox(&numbers);
            let mut left: Vec<_> = numbers.iter().filter(|number| !gone.contains(number)).copied().collect();
            for range in inbox.ranges_without(&gone) {
                prop_assert!(left.iter().all(|number| !range.contains(number)) && range.end <= inbox.next());
                inbox.remove(range, |_| {});
            }
            prop_assert_eq!(inbox.messages().map(|(number, _)| number).collect::<Vec<_>>(), left.clone());
            let ackless = left.iter().filter(|number| number.is_multiple_of(3)).count() as u64;
            let messages = left.len() as u64 - ackless;
            prop_assert_eq!(inbox.holding(), Holding { next: inbox.next(), messages, bytes: 10 * messages, ackless });
            prop_assert_eq!(inbox.dead() as usize, numbers.len() - left.len());
            for fact in inbox.all_gone(CLIENT) {
                let Fact::Gone(gone) = fact else { panic!("not gone") };
                prop_assert!(gone.first < gone.end);
                left.extend(gone.first..gone.end);
            }
            left.sort_unstable();
            prop_assert_eq!(left, (0..inbox.next()).collect::<Vec<_>>());
        }
    }
}
