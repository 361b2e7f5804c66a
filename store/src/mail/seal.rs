//! Gives a segment that is full an index of its own, so that a start need not hop from frame to frame.

use std::{
    io,
    sync::{Arc, PoisonError},
};

use super::{
    Log,
    frame::{FrameBuffer, FrameHeader, Kind},
    index::State,
    millis, scan,
    segment::{BLOCK, Slot, TRAILER, Trailer},
    shelf::{SegmentFile, Shelf},
};
use crate::clock;

impl<S: Shelf> Log<S> {
    /// A segment that is full and has no index yet.
    pub(super) fn next_to_seal(&self) -> Option<Slot> {
        self.to_seal.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Writes the index of a segment that is full, and its trailer. All in it is proved.
    pub(super) fn seal(&self, slot: Slot) -> io::Result<()> {
        let (file, seal, end, len) = {
            let index = self.index();
            let Some(segment) = index.segment(slot).filter(|segment| segment.state == State::Closed) else {
                return Ok(());
            };
            (Arc::clone(&segment.file), segment.seal.clone(), segment.end, segment.len)
        };
        let found = scan::scan(file.as_ref(), &seal, end)?;
        let (ordinal, written) = (found.ordinal + 1, millis(clock::now()));
        let header = FrameHeader { ordinal, batch: 0, entries: 0, blocks: 0, kind: Kind::Index, written };
        let mut buffer = FrameBuffer::default();
        let header = buffer.index(&seal, header, &found.facts);
        // A damaged segment gets no index, so that the next start finds the damage, too.
        let is_whole = found.holes.is_empty() && found.end == end;
        if found.is_sealed || !is_whole || end + header.len() + BLOCK > len {
            return Ok(());
        }
        file.write_at(buffer.bytes(), end)?;
        let trailer = Trailer { index: end, entries: header.entries };
        file.write_at(&trailer.encode(&seal), len - TRAILER as u64)?;
        file.sync()
    }

    /// Closes and seals the open segments, so that the next start has no doubt about them.
    pub(super) fn close(&self) {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).close();
        let copier = self.lock_copier().close();
        self.are_full(writer.into_iter().chain(copier).collect());
        let full = std::mem::take(&mut *self.to_seal.lock().unwrap_or_else(PoisonError::into_inner));
        for slot in full {
            if let Err(error) = self.seal(slot) {
                tracing::warn!(id = "GWD-S048", %error, "an index of a segment of mail cannot be written");
            }
        }
    }
}
