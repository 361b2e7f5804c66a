//! Segments as a disk might return them, so that what reads them can be shown anything.
//!
//! Only with the feature `found-records`, which is for fuzzing: without the key no valid head can be made.

use std::{io, sync::Arc};

use super::{
    entry::{ENTRY, MAX_BODY},
    findings::{Findings, unite},
    frame::{FrameBuffer, FrameHeader, Kind},
    index::{Index, Segment, State},
    recover::take_in,
    segment::{BLOCK, Seal, SegmentHeader, SegmentId, SegmentNumber, Stream},
    shelf::SegmentFile,
};
use crate::counters::StoreCounters;

/// A file that is only read.
#[derive(Debug)]
struct Image(Vec<u8>);

impl SegmentFile for Image {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let found = start.checked_add(bytes.len()).and_then(|end| self.0.get(start..end));
        bytes.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }
}

/// Reads a segment whose frames have these entries and valid heads, after these bytes of it were changed. Says how many messages
/// are alive in it, and how many bodies are theirs.
pub fn read_segment(frames: &[&[u8]], changes: &[(u32, u8)]) -> (usize, usize) {
    const BLOCKS: u32 = 64;
    let (number, id) = (SegmentNumber(7), SegmentId([9; 16]));
    let seal = Seal::new(id, number);
    let header = SegmentHeader { number, id, blocks: BLOCKS, made: 1, stream: Stream::Commits };
    let mut image = header.encode();
    for (ordinal, entries) in (1..).zip(frames) {
        let header = FrameHeader { ordinal, batch: ordinal, entries: 0, blocks: 0, kind: Kind::Mail, written: 1 };
        let mut buffer = FrameBuffer::default();
        buffer.raw(&seal, header, entries.as_chunks::<ENTRY>().0.as_flattened());
        image.extend_from_slice(buffer.bytes());
    }
    image.resize(image.len().max(BLOCKS as usize * BLOCK as usize), 0);
    for (at, byte) in changes {
        let at = *at as usize % image.len();
        image.iter_mut().skip(at).take(1).for_each(|there| *there ^= byte);
    }
    let len = image.len() as u64;
    let segment = Segment {
        number,
        seal,
        file: Arc::new(Image(image)),
        len,
        end: len - BLOCK,
        state: State::Closed,
        alive: 0,
        messages: 0,
        made: 1,
        kept: 0,
        unproved: Vec::new(),
    };
    let file = Arc::clone(&segment.file);
    let (mut index, mut findings) = (Index::default(), Findings::default());
    if take_in(&mut index, &mut findings, segment, &StoreCounters::default()).is_err() {
        return (0, 0);
    }
    unite(&mut index, findings);
    let (mut messages, mut whole) = (0, 0);
    for (client, inbox) in index.inboxes_from(..) {
        let mut last = None;
        for (number, message) in inbox.messages() {
            assert!(last.is_none_or(|last| last < number), "not in order");
            last = Some(number);
            messages += 1;
            let put = inbox.put(*client, number, message);
            assert!(put.len as usize <= MAX_BODY);
            whole += usize::from(matches!(super::read::read_body(file.as_ref(), &put), Ok(Some(_))));
        }
        assert!(last.is_none_or(|last| last < inbox.next()), "the next number was used");
        inbox.all_gone(*client);
    }
    (messages, whole)
}
