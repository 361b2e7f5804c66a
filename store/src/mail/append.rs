//! Writes facts to the end of the open segment, and to the next ones if they do not fit, and returns when they are on the medium.
//!
//! *Promises*: what [`Appender::append`] returned `Ok` for is on the medium, in files and under names that are. A file of which a
//! write or a sync has failed is never written or synced again: the kernel reports such an error once, and readers see bytes that it
//! could not write. What the failed file should have held is rewritten into another, once.

use std::{io, sync::Arc};

use worker::counter::count;

use super::{
    Log,
    entry::{ENTRY, Fact},
    frame::{FrameBuffer, FrameHeader, HEADER, Kind, MAX_ENTRIES, MAX_FRAME},
    index::{Segment, State},
    message::Spot,
    segment::{BLOCK, Seal, SegmentHeader, SegmentId, Slot, Stream},
    shelf::{SegmentFile, Shelf},
    spares::Spare,
};

/// While there is no spare, new mail leaves this part of the open segment to removals.
const KEPT_BACK: u64 = 16;

/// A fact to be written, and the body if it is a message.
pub(super) type Item<'a> = (Fact, &'a [u8]);

/// Writes one stream of segments.
#[derive(Debug)]
pub(super) struct Appender<S: Shelf> {
    stream: Stream,
    open: Option<OpenSegment<S::File>>,
    buffer: FrameBuffer,
    batch: u32,
}

/// The segment that is being written.
#[derive(Debug)]
struct OpenSegment<F> {
    slot: Slot,
    seal: Seal,
    file: Arc<F>,
    /// Its header, until it is written with the first frame.
    header: Option<Vec<u8>>,
    /// Bytes of the file.
    len: u64,
    /// Bytes that what is written now must leave.
    kept_back: u64,
    /// Where the next frame begins.
    end: u64,
    ordinal: u32,
    /// Entries of all frames so far.
    entries: usize,
}

/// What became of the facts.
#[derive(Debug, Default)]
pub(super) struct Appended {
    /// Where each fact is; only the places of messages mean something.
    pub(super) spots: Vec<Spot>,
    /// Messages that were written, or may have been, to a place that cannot be relied on; by their place in the batch.
    pub(super) in_vain: Vec<usize>,
    /// Segments that are full.
    pub(super) full: Vec<Slot>,
}

/// Nothing can be promised.
#[derive(Debug)]
pub(super) struct AppendError {
    pub(super) error: io::Error,
    /// What was written before the failure: all messages with a place were written in vain, too.
    pub(super) done: Appended,
}

impl<S: Shelf> Appender<S> {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream, open: None, buffer: FrameBuffer::default(), batch: 0 }
    }

    /// The segment that is open.
    pub(super) fn slot(&self) -> Option<Slot> {
        self.open.as_ref().map(|open| open.slot)
    }

    /// Writes these facts, and returns when they are on the medium. `now` is in Unix milliseconds.
    pub(super) fn append(&mut self, log: &Log<S>, items: &[Item<'_>], now: u64) -> Result<Appended, AppendError> {
        self.batch = self.batch.wrapping_add(1);
        let mut done = Appended::default();
        let mut second_try = false;
        while done.spots.len() < items.len() {
            let makes_room = self.stream == Stream::Copies || is_removal(items);
            let rest = items.get(done.spots.len()..).unwrap_or_default();
            if let Some(open) = &mut self.open {
                open.kept_back = if makes_room || log.spares.has(self.stream) { 0 } else { open.len / KEPT_BACK };
            }
            if !self.open.as_ref().is_some_and(|open| open.takes(rest)) {
                // The open segment stays open until there is another: it may have room for less.
                match log.spare(self.stream, makes_room) {
                    Ok(spare) => {
                        done.full.extend(self.close());
                        if let Err(error) = self.begin(log, spare, now) {
                            return Err(AppendError { error, done });
                        }
                        continue;
                    }
                    Err(error) => return Err(AppendError { error, done }),
                }
            }
            let first = done.spots.len();
            let outcome = self.fill(items, &mut done.spots, now);
            let Some(open) = &mut self.open else { continue };
            let is_written = done.spots.len() > first;
            let outcome = outcome.and_then(|()| if is_written { open.file.sync() } else { Ok(()) });
            if let Err(error) = outcome {
                let written = first..done.spots.len();
                done.spots.truncate(first);
                if !self.fail(log, items, written.clone()) {
                    done.in_vain.extend(written.filter(|item| matches!(items.get(*item), Some((Fact::Put(_), _)))));
                }
                if second_try || is_full(&error) {
                    return Err(AppendError { error, done });
                }
                tracing::warn!(
                    id = "GWD-S030", %error,
                    "a segment of mail failed; what it should have held is written to another"
                );
                second_try = true;
                continue;
            }
            log.index_mut().segment_mut(open.slot).into_iter().for_each(|segment| segment.end = open.end);
        }
        Ok(done)
    }

    /// Writes an empty frame and syncs it, to find out whether that works.
    pub(super) fn try_out(&mut self, log: &Log<S>, now: u64) -> io::Result<()> {
        if self.open.is_none() {
            let spare = log.spare(self.stream, false)?;
            self.begin(log, spare, now)?;
        }
        self.batch = self.batch.wrapping_add(1);
        let Some(open) = &mut self.open else { return Ok(()) };
        let outcome = open.write(&mut self.buffer, &[], self.batch, now).and_then(|()| open.file.sync());
        if outcome.is_err() {
            self.fail(log, &[], 0..0);
        }
        outcome
    }

    /// Takes a spare into use.
    fn begin(&mut self, log: &Log<S>, spare: Spare<S::File>, now: u64) -> io::Result<()> {
        let id = SegmentId::random();
        let seal = Seal::new(id, spare.number);
        let blocks = u32::try_from(spare.len / BLOCK).unwrap_or(u32::MAX);
        let header = SegmentHeader { number: spare.number, id, blocks, made: now, stream: self.stream };
        let file = Arc::new(spare.file);
        let segment = Segment {
            number: spare.number,
            seal: seal.clone(),
            file: Arc::clone(&file),
            len: spare.len,
            end: BLOCK,
            state: State::Open,
            alive: 0,
            messages: 0,
            kept: 0,
            made: now,
            unproved: Vec::new(),
        };
        let slot = log.index_mut().add_segment(segment);
        let slot = slot.ok_or_else(|| io::Error::new(io::ErrorKind::StorageFull, "there are too many segments"))?;
        let (header, len) = (Some(header.encode()), spare.len);
        self.open =
            Some(OpenSegment { slot, seal, file, header, len, kept_back: 0, end: BLOCK, ordinal: 0, entries: 0 });
        Ok(())
    }

    /// Writes as many of the facts from `spots.len()` on as fit the segment, and notes where they are.
    fn fill(&mut self, items: &[Item<'_>], spots: &mut Vec<Spot>, now: u64) -> io::Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        while let Some(rest) = items.get(spots.len()..).filter(|rest| !rest.is_empty()) {
            let fitting = open.fitting(rest);
            if fitting == 0 && open.ordinal == 0 {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "a message is too large for a segment"));
            }
            let Some(facts) = rest.get(..fitting).filter(|facts| !facts.is_empty()) else { return Ok(()) };
            let mut place = open.end + (HEADER + facts.len() * ENTRY) as u64;
            for (fact, _) in facts {
                spots.push(Spot {
                    slot: open.slot,
                    place: u32::try_from(place / super::entry::PLACE_UNIT).unwrap_or(u32::MAX),
                });
                place += room_of(fact);
            }
            open.write(&mut self.buffer, facts, self.batch, now)?;
        }
        Ok(())
    }

    /// Closes the open segment, and returns it. It counts as open until the index knows all that is in it ([`Log::are_full`]): cleaning
    /// would take a message that the index does not know for dead.
    pub(super) fn close(&mut self) -> Option<Slot> {
        self.open.take().map(|open| open.slot)
    }

    /// A write or a sync of the open segment has failed: it is not trusted behind its proved frames. Without such frames it is removed, so
    /// that a disk that fails for long is not filled with failed segments. Says whether it is gone for good.
    fn fail(&mut self, log: &Log<S>, items: &[Item<'_>], written: std::ops::Range<usize>) -> bool {
        let Some(open) = self.open.take() else { return false };
        count(&log.counters.mail_segments_failed);
        let puts = items.get(written).unwrap_or_default().iter().filter(|(fact, _)| matches!(fact, Fact::Put(_)));
        let taken = {
            let mut index = log.index_mut();
            let Some(segment) = index.segment_mut(open.slot) else { return false };
            segment.state = State::Failed;
            segment.unproved.extend(puts.map(|(fact, _)| *fact.inbox()));
            if segment.end > BLOCK { None } else { index.take_segment(open.slot) }
        };
        let Some(segment) = taken else { return false };
        if log.shelf.remove(&segment.number.name()).is_err() {
            log.index_mut().add_segment(segment);
            return false;
        }
        log.shelf.sync_names().is_ok()
    }
}

impl<F: SegmentFile> OpenSegment<F> {
    /// Whether it has room for some of these facts. A new segment always has: a message that fits no segment is refused when it is
    /// written.
    fn takes(&self, items: &[Item<'_>]) -> bool {
        self.ordinal == 0 || self.fitting(items) > 0
    }

    /// How many of these facts fit into the next frame.
    fn fitting(&self, items: &[Item<'_>]) -> usize {
        let largest = MAX_FRAME.min(self.len / 4);
        let mut bytes = HEADER as u64;
        let mut count = 0;
        for (fact, _) in items.iter().take(MAX_ENTRIES) {
            bytes += ENTRY as u64 + room_of(fact);
            let index = (HEADER + (self.entries + count + 1) * ENTRY) as u64;
            let end = self.end + bytes.next_multiple_of(BLOCK) + index.next_multiple_of(BLOCK) + BLOCK;
            if (bytes > largest && count > 0) || end > self.len - self.kept_back {
                break;
            }
            count += 1;
        }
        count
    }

    fn write(&mut self, buffer: &mut FrameBuffer, facts: &[Item<'_>], batch: u32, now: u64) -> io::Result<()> {
        let ordinal = self.ordinal + 1;
        let header = FrameHeader { ordinal, batch, entries: 0, blocks: 0, kind: Kind::Mail, written: now };
        buffer.clear();
        let start = match &self.header {
            Some(header) => {
                buffer.append(header);
                0
            }
            None => self.end,
        };
        let header = buffer.frame(&self.seal, header, self.end, facts.iter().copied());
        self.file.write_at(buffer.bytes(), start)?;
        self.header = None;
        self.end += header.len();
        self.ordinal = ordinal;
        self.entries += facts.len();
        Ok(())
    }
}

/// Bytes of a fact's body in a frame.
const fn room_of(fact: &Fact) -> u64 {
    match fact {
        Fact::Put(put) => put.room(),
        Fact::Gone(_) => 0,
    }
}

/// Whether nothing is put.
fn is_removal(items: &[Item<'_>]) -> bool {
    items.iter().all(|(fact, _)| matches!(fact, Fact::Gone(_)))
}

/// Whether a write to another file would fail as well.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::ReadOnlyFilesystem
    )
}
