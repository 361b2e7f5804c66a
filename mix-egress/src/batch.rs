//! The frames that are being written, and how far the writing has come.
//!
//! *Promises*: a frame leaves the batch exactly once, written whole, cut off, or dropped.

use std::{collections::VecDeque, io::IoSlice};

use figures::Raised;

use crate::{budget::TakenBytes, frame::OutgoingFrame};

/// Frames in one batch at the most.
pub(crate) const MAX_FRAMES: usize = 64;

/// A frame, and the bytes that it takes of a budget.
#[derive(Debug)]
pub(crate) struct QueuedFrame {
    pub(crate) frame: OutgoingFrame,
    pub(crate) _bytes: TakenBytes,
    /// Shows the packet as waiting.
    pub(crate) _waiting: Raised,
}

/// The frames that are being written, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    frames: VecDeque<QueuedFrame>,
    /// How many bytes of the first frame are written. Always fewer than the frame has.
    written: usize,
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(crate) fn push(&mut self, frame: QueuedFrame) {
        self.frames.push_back(frame);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.frames.len() >= MAX_FRAMES
    }

    /// Passes the unwritten bytes to `write`, as the parts of one vectored write.
    pub(crate) fn with_unwritten<R>(&self, write: impl FnOnce(&[IoSlice<'_>]) -> R) -> R {
        let mut parts: Vec<_> = self.frames.iter().flat_map(|queued| queued.frame.parts()).map(IoSlice::new).collect();
        let mut unwritten = parts.as_mut_slice();
        IoSlice::advance_slices(&mut unwritten, self.written);
        write(unwritten)
    }

    /// Records that `bytes` more were written. Returns how many frames are complete by that.
    pub(crate) fn advance(&mut self, bytes: usize) -> usize {
        self.written += bytes;
        let before = self.frames.len();
        while let Some(len) = self.frames.front().map(|first| first.frame.wire_len())
            && self.written >= len
        {
            self.written -= len;
            self.frames.pop_front();
        }
        before - self.frames.len()
    }

    /// For the end of the connection: drops the first frame if a part of it is written. Returns how many frames were dropped.
    pub(crate) fn drop_cut_off(&mut self) -> usize {
        if self.written == 0 {
            return 0;
        }
        self.written = 0;
        self.frames.pop_front().map_or(0, |_| 1)
    }

    /// Drops all frames. Returns how many there were.
    pub(crate) fn clear(&mut self) -> usize {
        self.written = 0;
        let frames = self.frames.len();
        self.frames.clear();
        frames
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use wire::{
        framing::{FrameHeader, Framing},
        packet::{PacketSize, PacketType},
    };

    use super::*;
    use crate::budget::{HopBudget, HopBytes};

    fn batch(lengths: &[usize]) -> (Batch, Vec<u8>) {
        let budget = HopBudget::new(usize::MAX, 1, Default::default());
        let hop = HopBytes::default();
        let mut batch = Batch::default();
        let mut wire = Vec::new();
        for (number, &len) in lengths.iter().enumerate() {
            let packet = Bytes::from(vec![number as u8; len]);
            wire.extend([1, 0]);
            wire.extend(&packet);
            let header = FrameHeader { framing: Framing::Unversioned(PacketType::Mix), size: PacketSize::Regular };
            let frame = OutgoingFrame::of_any_length(header, packet);
            batch.push(QueuedFrame {
                frame,
                _bytes: budget.take(&hop, len).unwrap(),
                _waiting: figures::Number::default().raise(),
            });
        }
        (batch, wire)
    }

    fn unwritten(batch: &Batch) -> Vec<u8> {
        batch.with_unwritten(|parts| parts.iter().flat_map(|part| part.to_vec()).collect())
    }

    proptest! {
        #[test]
        fn any_partition_into_writes_puts_the_same_bytes_on_the_wire(
            lengths in prop::collection::vec(0_usize..40, 1..MAX_FRAMES),
            steps in prop::collection::vec(1_usize..100, 1..200),
        ) {
            let (mut batch, expected) = batch(&lengths);
            let mut wire = Vec::new();
            let mut completed = 0;
            for step in steps.into_iter().cycle() {
                if batch.is_empty() {
                    break;
                }
                let bytes = unwritten(&batch);
                let taken = step.min(bytes.len());
                wire.extend_from_slice(&bytes[..taken]);
                completed += batch.advance(taken);
            }
            prop_assert_eq!(wire, expected);
            prop_assert_eq!(completed, lengths.len());
        }
    }

    #[test]
    fn only_a_frame_cut_in_the_middle_is_lost_with_its_connection() {
        let (mut batch, wire) = batch(&[10, 10, 10]);
        assert_eq!(batch.advance(12), 1);
        assert_eq!(batch.drop_cut_off(), 0, "the second frame was not begun");
        assert_eq!(batch.advance(1), 0);
        assert_eq!(batch.drop_cut_off(), 1, "the second frame was cut off");
        assert_eq!(unwritten(&batch), wire[24..]);
        assert_eq!(batch.clear(), 1);
        assert!(batch.is_empty());
    }
}
