//! How facts are put into frames, and frames into segments.

use std::sync::Arc;

use bytes::Bytes;
use ipc::ingress_store::Ack;
use session_ipc::Sequence;

use super::log::{CLIENT, open, put, remove};
use crate::{
    mail::{Log, scan, segment::Slot, shelf::memory::Memory},
    mailbox::MailBatch,
};

/// Calls to the shelf for a commit of messages with bodies of these lengths. Each frame is one.
fn calls(log: &Log<Memory>, shelf: &Memory, lens: &[usize]) -> u64 {
    let next = log.summary_of(&CLIENT).next;
    let mut batch = MailBatch::default();
    for (number, len) in (next..).zip(lens) {
        batch.put(CLIENT, Sequence(number), Bytes::from(vec![7; *len]), Ack::Owed);
    }
    let before = shelf.calls();
    log.commit(&batch, 7).unwrap();
    shelf.calls() - before
}

/// A segment of 64 KiB has frames of 16 KiB: 64 bytes for the frame, 64 for each message, and its body.
#[test]
fn a_frame_is_no_larger_than_a_quarter_of_a_segment() {
    for (lens, frames) in
        [(vec![20_000], 1), (vec![8_096, 8_096], 1), (vec![8_096, 8_104], 2), (vec![1; 226], 1), (vec![1; 227], 2)]
    {
        let shelf = Memory::of(1 << 30);
        let log = open(&shelf);
        put(&log, CLIENT, [0], 1);
        let one = calls(&log, &shelf, &[1]);
        assert_eq!(calls(&log, &shelf, &lens) - one + 1, frames, "{} messages of {} bytes", lens.len(), lens[0]);
    }
}

fn open_segment(log: &Log<Memory>) -> Slot {
    log.writer.lock().unwrap().slot().unwrap()
}

/// Sixteen blocks: the header, twelve frames, one that is kept, the index and the trailer.
#[test]
fn new_mail_leaves_a_part_of_its_segment_to_removals() {
    let log = open(&Memory::of(1 << 30));
    put(&log, CLIENT, [0], 1);
    let first = open_segment(&log);
    for number in 1..12 {
        put(&log, CLIENT, [number], 1);
    }
    assert_eq!(open_segment(&log), first);
    remove(&log, CLIENT, [0]);
    assert_eq!(open_segment(&log), first);
    put(&log, CLIENT, [12], 1);
    assert_ne!(open_segment(&log), first);
}

#[test]
fn a_segment_that_is_full_has_room_for_its_index() {
    for (messages, len) in [(1, 1), (7, 1), (150, 1), (7, 1_000), (3, 4_000)] {
        let log = open(&Memory::of(1 << 30));
        put(&log, CLIENT, [0], 1);
        let first = open_segment(&log);
        let mut next = 1;
        while open_segment(&log) == first {
            put(&log, CLIENT, next..next + messages, len);
            next += messages;
        }
        log.seal(first).unwrap();
        let (file, seal, end) = {
            let index = log.index();
            let segment = index.segment(first).unwrap();
            (Arc::clone(&segment.file), segment.seal.clone(), segment.end)
        };
        let found = scan::scan(file.as_ref(), &seal, end).unwrap();
        assert!(found.is_sealed, "{messages} messages of {len} bytes at a time");
        assert!(found.facts.len() > 10);
    }
}
