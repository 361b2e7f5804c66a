//! Segments made frame by frame, whole and damaged, as `scan` reads them.

use ipc::ingress_store::Ack;
use session_ipc::Sequence;

use super::log::CLIENT;
use crate::mail::{
    entry::{ENTRY, Fact, Put},
    frame::{FrameBuffer, FrameHeader, HEADER, Kind},
    scan::{Found, scan},
    segment::{BLOCK, Seal, SegmentId, SegmentNumber},
    shelf::{Shelf as _, memory::Memory},
};

const BLOCK_LEN: usize = BLOCK as usize;

/// A segment in the making.
struct Made {
    seal: Seal,
    bytes: Vec<u8>,
}

impl Made {
    /// Of a header and nothing else.
    fn new() -> Self {
        Self { seal: Seal::new(SegmentId([5; 16]), SegmentNumber(1)), bytes: vec![0; BLOCK_LEN] }
    }

    fn header(ordinal: u32, kind: Kind) -> FrameHeader {
        FrameHeader { ordinal, batch: ordinal, entries: 0, blocks: 0, kind, written: 7 }
    }

    /// Appends a frame with one message, whose number is the frame's ordinal. Returns where the frame begins.
    fn mail(&mut self, ordinal: u32, len: usize) -> usize {
        let body = vec![7; len];
        let fact = Fact::Put(Put::new(CLIENT, Sequence(ordinal.into()), 7, Ack::Owed, &body));
        let mut frame = FrameBuffer::default();
        let at = self.bytes.len();
        frame.frame(&self.seal, Self::header(ordinal, Kind::Mail), at as u64, [(fact, &body[..])].into_iter());
        self.append(&frame)
    }

    /// Appends an index of nothing.
    fn index(&mut self, ordinal: u32) -> usize {
        let mut frame = FrameBuffer::default();
        frame.index(&self.seal, Self::header(ordinal, Kind::Index), &[]);
        self.append(&frame)
    }

    /// Appends a frame of which only the first block came to the medium, though its head is longer.
    fn begun(&mut self, ordinal: u32) {
        let entries = vec![1; 2 * BLOCK_LEN];
        let mut frame = FrameBuffer::default();
        frame.raw(&self.seal, Self::header(ordinal, Kind::Mail), &entries);
        let at = self.append(&frame);
        self.bytes[at + BLOCK_LEN..].fill(0);
    }

    fn append(&mut self, frame: &FrameBuffer) -> usize {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(frame.bytes());
        at
    }

    /// What is found in the segment, with blocks of zeros behind what was appended.
    fn found(&self) -> Found {
        let bytes = [&self.bytes[..], &[0; 4 * BLOCK_LEN]].concat();
        self.found_in(&bytes, bytes.len() - BLOCK_LEN)
    }

    /// What is found in the first bytes of a file.
    fn found_in(&self, file: &[u8], end: usize) -> Found {
        let shelf = Memory::of(0);
        shelf.set_bytes("x", file);
        scan(&shelf.open("x").unwrap(), &self.seal, end as u64).unwrap()
    }
}

fn numbers(found: &Found) -> Vec<u64> {
    let puts = found.facts.iter().filter_map(|fact| match fact {
        Fact::Put(put) => Some(put.number),
        Fact::Gone(_) => None,
    });
    puts.collect()
}

#[test]
fn what_is_behind_the_frames_is_free() {
    let mut made = Made::new();
    made.mail(1, 100);
    made.mail(2, 5_000);
    let found = made.found();
    assert_eq!(numbers(&found), [1, 2]);
    assert_eq!((found.end, found.is_torn, found.holes.len()), (made.bytes.len() as u64, false, 0));
}

#[test]
fn frames_are_read_up_to_the_end_and_no_further() {
    let mut made = Made::new();
    made.mail(1, 100);
    for len in [100, 2 * BLOCK_LEN] {
        let at = made.mail(2, len);
        let end = made.bytes.len();
        // The file was cut off behind its frames.
        let found = made.found_in(&made.bytes, end);
        assert_eq!((numbers(&found), found.end, found.is_torn), (vec![1, 2], end as u64, false), "{len}");
        // The second frame is being written.
        let found = made.found_in(&made.bytes, at);
        assert_eq!((numbers(&found), found.end, found.is_torn), (vec![1], at as u64, false), "{len}");
        made.bytes.truncate(at);
    }
}

#[test]
fn a_frame_is_found_behind_more_damage_than_is_read_at_once() {
    let mut made = Made::new();
    made.mail(1, 100);
    // Neither place is one where a piece of the search begins.
    for (ordinal, len) in [(2, 3 * 1024 * 1024 + 5 * BLOCK_LEN), (4, 1024 * 1024 - 2 * BLOCK_LEN)] {
        let damaged = made.mail(ordinal, len);
        made.bytes[damaged + 20] ^= 1;
        made.mail(ordinal + 1, 100);
    }
    let found = made.found();
    assert_eq!(numbers(&found), [1, 3, 5]);
    assert_eq!((found.end, found.is_torn, found.holes.len()), (made.bytes.len() as u64, false, 2));
}

#[test]
fn frames_that_were_begun_at_the_end_are_no_damage() {
    for frames in 1..=3 {
        let mut made = Made::new();
        made.mail(1, 100);
        let end = made.bytes.len() as u64;
        for ordinal in 2..2 + frames {
            made.begun(ordinal);
        }
        let found = made.found();
        assert_eq!(numbers(&found), [1]);
        assert_eq!((found.end, found.is_torn, found.holes.len()), (end, true, 0), "{frames}");
    }
}

#[test]
fn bytes_of_no_frame_at_the_end_are_no_torn_write() {
    let mut made = Made::new();
    made.mail(1, 100);
    let end = made.bytes.len() as u64;
    let other = Seal::new(SegmentId([6; 16]), SegmentNumber(1));
    let mut of_another_segment = FrameBuffer::default();
    of_another_segment.index(&other, Made::header(2, Kind::Index), &[]);
    made.append(&of_another_segment);
    let found = made.found();
    assert_eq!((numbers(&found), found.end, found.is_torn, found.holes.len()), (vec![1], end, false, 0));
}

/// A disk that wrote to a wrong place may leave one.
#[test]
fn a_frame_that_stands_twice_is_read_once() {
    for blocks_between in [0, 1] {
        let mut made = Made::new();
        let frame = made.mail(1, 100);
        let end = made.bytes.len();
        made.bytes.resize(end + blocks_between * BLOCK_LEN, 0);
        made.bytes.extend_from_within(frame..end);
        let found = made.found();
        assert_eq!((numbers(&found), found.end, found.holes.len()), (vec![1], end as u64, 0), "{blocks_between}");
    }
}

#[test]
fn an_index_with_a_frame_behind_it_is_a_hole() {
    let mut made = Made::new();
    made.mail(1, 100);
    let index = made.index(2);
    made.mail(3, 100);
    let found = made.found();
    assert_eq!(numbers(&found), [1, 3]);
    assert_eq!((found.holes, found.end), (vec![index as u64], made.bytes.len() as u64));
}

#[test]
fn entries_of_an_unknown_kind_are_counted() {
    let mut made = Made::new();
    made.mail(1, 100);
    let mut frame = FrameBuffer::default();
    let mut entries = [0; 3 * ENTRY];
    for entry in entries.as_chunks_mut::<ENTRY>().0 {
        entry[60] = 9;
    }
    frame.raw(&made.seal, Made::header(2, Kind::Mail), &entries);
    made.append(&frame);
    made.mail(3, 100);
    let found = made.found();
    assert_eq!((numbers(&found), found.unknown, found.holes.len()), (vec![1, 3], 3, 0));
}

#[test]
fn a_head_longer_than_a_block_is_read_whole() {
    let mut made = Made::new();
    let facts: Vec<_> = (0..200).map(|_| Fact::Put(Put::new(CLIENT, Sequence(3), 7, Ack::Owed, b"x"))).collect();
    let mut frame = FrameBuffer::default();
    frame.frame(&made.seal, Made::header(1, Kind::Mail), BLOCK, facts.iter().map(|fact| (*fact, &b"x"[..])));
    assert!(frame.bytes().len() > HEADER + 200 * ENTRY);
    made.append(&frame);
    assert_eq!(made.found().facts.len(), 200);
}
