//! What the files say, in memory: every inbox, and how much of every segment is alive.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    ops::Range,
    sync::Arc,
};

use wire::address::ClientAddress;

use super::{
    entry::{ENTRY, Fact, Gone, Put},
    inbox::Inbox,
    message::{Message, Spot, weight},
    segment::{BLOCK, Seal, SegmentNumber, Slot},
};

/// A segment that is there.
#[derive(Debug)]
pub(super) struct Segment<F> {
    pub(super) number: SegmentNumber,
    pub(super) seal: Seal,
    pub(super) file: Arc<F>,
    /// Bytes of the file.
    pub(super) len: u64,
    /// Where the proved frames end; nothing is read behind it.
    pub(super) end: u64,
    pub(super) state: State,
    /// Bytes of it that are alive.
    pub(super) alive: u64,
    /// Messages of it that are alive.
    pub(super) messages: u32,
    /// Bytes of its facts about gone messages that cleaning rewrote because they were still needed.
    pub(super) kept: u64,
    /// When it was made, in Unix milliseconds.
    pub(super) made: u64,
    /// Owners of messages that were written when a sync failed, and may be in the file.
    pub(super) unproved: Vec<ClientAddress>,
}

/// What may be done with a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It is being written.
    Open,
    /// It is not written any more.
    Closed,
    /// Closed by the death of its process. What is alive in it is copied elsewhere first.
    Doubtful,
    /// As doubtful, because a write or a sync of it has failed. Its file is never written again.
    Failed,
    /// As closed, with a message that cannot be read: the segment stays until that message is gone.
    Unreadable,
}

/// Everything that is known.
#[derive(Debug)]
pub(super) struct Index<F> {
    inboxes: BTreeMap<ClientAddress, Inbox>,
    segments: Vec<Option<Segment<F>>>,
    /// The first number of an inbox that the index does not know: no file names it, and none did since the start.
    floor: u64,
    /// Bytes that are alive in all segments.
    alive: u64,
}

impl<F> Default for Index<F> {
    fn default() -> Self {
        Self { inboxes: BTreeMap::new(), segments: Vec::new(), floor: 0, alive: 0 }
    }
}

/// Bytes of a fact that says which messages are gone: its entry, and its entry in the segment's index.
pub(super) const GONE_WEIGHT: u64 = 2 * ENTRY as u64;
/// No more segments fit the index.
pub(super) const MAX_SEGMENTS: usize = 1 << u16::BITS;

impl<F> Index<F> {
    /// Takes a segment in. Nothing if there is no place left.
    pub(super) fn add_segment(&mut self, segment: Segment<F>) -> Option<Slot> {
        let free = self.segments.iter().position(Option::is_none).unwrap_or(self.segments.len());
        let slot = u16::try_from(free).ok().map(Slot)?;
        match self.segments.get_mut(free) {
            Some(place) => *place = Some(segment),
            None => self.segments.push(Some(segment)),
        }
        Some(slot)
    }

    /// Whether one more segment can be taken in.
    pub(super) fn has_place(&self) -> bool {
        self.segments.len() < MAX_SEGMENTS || self.segments.iter().any(Option::is_none)
    }

    /// Takes in as many segments as there can be.
    #[cfg(test)]
    pub(super) fn fill(&mut self, segment: impl FnMut() -> Segment<F>) {
        let mut segment = segment;
        self.segments.resize_with(MAX_SEGMENTS, || Some(segment()));
    }

    pub(super) fn segment(&self, slot: Slot) -> Option<&Segment<F>> {
        self.segments.get(usize::from(slot.0))?.as_ref()
    }

    pub(super) fn segment_mut(&mut self, slot: Slot) -> Option<&mut Segment<F>> {
        self.segments.get_mut(usize::from(slot.0))?.as_mut()
    }

    /// Takes a segment out.
    pub(super) fn take_segment(&mut self, slot: Slot) -> Option<Segment<F>> {
        self.segments.get_mut(usize::from(slot.0))?.take()
    }

    pub(super) fn segments(&self) -> impl Iterator<Item = (Slot, &Segment<F>)> {
        let slots = (0..=u16::MAX).map(Slot);
        slots.zip(&self.segments).filter_map(|(slot, segment)| Some((slot, segment.as_ref()?)))
    }

    /// Bytes that messages which are alive take in segments, and that facts about gone ones may take.
    pub(super) fn alive(&self) -> u64 {
        self.alive + self.inboxes.len() as u64 * GONE_WEIGHT
    }

    /// The same, and all of the segments that cannot be cleaned.
    pub(super) fn occupied(&self) -> u64 {
        let stuck = self.segments().filter(|(_, segment)| segment.state == State::Unreadable);
        self.alive() + stuck.map(|(_, segment)| segment.len - segment.alive).sum::<u64>()
    }

    pub(super) const fn floor(&self) -> u64 {
        self.floor
    }

    /// Numbers before this are spent in every inbox that is not known.
    pub(super) fn raise_floor(&mut self, floor: u64) {
        self.floor = self.floor.max(floor);
    }

    pub(super) fn inbox(&self, client: &ClientAddress) -> Option<&Inbox> {
        self.inboxes.get(client)
    }

    /// The inboxes behind this one, in order of address.
    pub(super) fn inboxes_from(
        &self,
        range: impl std::ops::RangeBounds<ClientAddress>,
    ) -> impl Iterator<Item = (&ClientAddress, &Inbox)> {
        self.inboxes.range(range)
    }

    /// In every inbox, the next number is so much later.
    pub(super) fn leap(&mut self, numbers: u64) {
        self.floor = self.floor.saturating_add(numbers);
        for inbox in self.inboxes.values_mut() {
            inbox.spend(inbox.next().saturating_add(numbers));
        }
    }

    /// Whether a message with this number may be put: none that is as late was.
    pub(super) fn takes(&self, client: &ClientAddress, number: u64) -> bool {
        self.inboxes.get(client).is_none_or(|inbox| inbox.takes(number))
    }

    /// A message is in a segment, and proved.
    pub(super) fn put(&mut self, put: &Put, slot: Slot) {
        let floor = self.floor.min(put.number);
        self.inboxes.entry(put.inbox).or_insert_with(|| Inbox::beginning_at(floor)).push(put, slot);
        self.alive += weight(put.len);
        self.is_alive(slot, put.len);
    }

    /// A message has come to life in a segment.
    fn is_alive(&mut self, slot: Slot, len: u32) {
        if let Some(segment) = self.segment_mut(slot) {
            segment.alive += weight(len);
            segment.messages += 1;
        }
    }

    /// A message was written in vain, or may have been: it is dead.
    pub(super) fn put_in_vain(&mut self, client: &ClientAddress, number: u64) {
        let inbox = self.inboxes.entry(*client).or_default();
        inbox.spend(number + 1);
        inbox.add_dead(1);
    }

    /// So many messages of an inbox were found dead, and no number before `next` is to be used.
    pub(super) fn found(&mut self, client: &ClientAddress, dead: u32, next: u64) {
        let inbox = self.inboxes.entry(*client).or_default();
        inbox.spend(next);
        inbox.add_dead(dead);
        self.let_go_of(client);
    }

    /// The messages with these numbers are gone.
    pub(super) fn gone(&mut self, client: &ClientAddress, numbers: Range<u64>) {
        let Self { inboxes, segments, alive, .. } = self;
        let Some(inbox) = inboxes.get_mut(client) else { return self.raise_floor(numbers.end) };
        inbox.spend(numbers.end);
        inbox.remove(numbers, |message| {
            *alive -= message.weight();
            bury(segments, message.spot().slot, message);
        });
        self.let_go_of(client);
    }

    /// Forgets an inbox without messages, alive or dead.
    fn let_go_of(&mut self, client: &ClientAddress) {
        if let Entry::Occupied(entry) = self.inboxes.entry(*client)
            && entry.get().is_nothing()
        {
            let next = entry.remove().next();
            self.raise_floor(next);
        }
    }

    /// A copy of a message is in a segment, and proved. If the message is still alive, the copy takes its place and the original is dead;
    /// otherwise the copy is dead.
    pub(super) fn copied(&mut self, put: &Put, to: Spot) {
        let Some(inbox) = self.inboxes.get_mut(&put.inbox) else {
            return self.put_in_vain(&put.inbox, put.number);
        };
        inbox.add_dead(1);
        if let Some(from) = inbox.relocate(put.number, to) {
            if let Some(segment) = self.segment_mut(from.slot) {
                segment.alive -= weight(put.len);
                segment.messages -= 1;
            }
            self.is_alive(to.slot, put.len);
        }
    }

    /// Whether this message is alive, and here.
    pub(super) fn lives_at(&self, put: &Put, slot: Slot) -> bool {
        let here = Spot { slot, place: put.place };
        self.inboxes
            .get(&put.inbox)
            .and_then(|inbox| inbox.get(put.number))
            .is_some_and(|message| message.spot() == here)
    }

    /// The facts about an inbox that are needed while any message of it that is dead is in a file.
    pub(super) fn all_gone(&self, client: &ClientAddress) -> Vec<Fact> {
        self.inboxes.get(client).map(|inbox| inbox.all_gone(*client)).unwrap_or_default()
    }

    /// A fact that covers this one and everything around it that is gone.
    pub(super) fn widened(&self, gone: &Gone) -> Option<Gone> {
        let gap = self.inboxes.get(&gone.inbox)?.gap_around(gone.first);
        (gap.start < gap.end).then_some(Gone { inbox: gone.inbox, first: gap.start, end: gap.end })
    }

    /// Messages in files that are dead.
    pub(super) fn dead(&self, client: &ClientAddress) -> u32 {
        self.inboxes.get(client).map_or(0, Inbox::dead)
    }

    /// A file that held so many dead messages of an inbox is gone for good.
    pub(super) fn dead_are_away(&mut self, client: &ClientAddress, messages: u32) {
        if let Some(inbox) = self.inboxes.get_mut(client) {
            inbox.sub_dead(messages);
            self.let_go_of(client);
        }
    }
}

fn bury<F>(segments: &mut [Option<Segment<F>>], slot: Slot, message: &Message) {
    if let Some(Some(segment)) = segments.get_mut(usize::from(slot.0)) {
        segment.alive -= message.weight();
        segment.messages -= 1;
    }
}

impl<F> Segment<F> {
    /// Bytes of frames in it.
    pub(super) const fn written(&self) -> u64 {
        self.end - BLOCK
    }
}
