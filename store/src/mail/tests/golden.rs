//! The bytes of a whole segment, written out: what an earlier version wrote must be read for ever.

use ipc::ingress_store::Ack;
use session_ipc::Sequence;
use wire::address::ClientAddress;

use crate::mail::{
    entry::{Fact, Gone, Put},
    frame::{FrameBuffer, FrameHeader, Kind},
    scan,
    segment::{BLOCK, Seal, SegmentHeader, SegmentId, SegmentNumber, Stream, TRAILER, Trailer},
    shelf::{Shelf as _, memory::Memory},
};

const NUMBER: SegmentNumber = SegmentNumber(3);
const ID: SegmentId = SegmentId([0xab; 16]);
const BLOCKS: u32 = 6;
/// The bytes of the segment that are not zero: offset, and bytes in hex.
const GOLDEN: &[(usize, &str)] = &[
    (
        0,
        "67776d61696c0d0a01000000060000000300000000000000abababababababababababababababab0068e5cf8b01000000000000000000000000000000000000",
    ),
    (
        4032,
        "000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000a8101336bbcda6f1dd41a1f8f6263451",
    ),
    (
        4096,
        "66726d6501000000abababababababababababababababab01000000020000000100000001000000c869e5cf8b0100008042f214d177ba0c6823d4a5828baec3",
    ),
    (
        4160,
        "010101010101010101010101010101010101010101010101010101010101010100000000000000007b68e5cf8b010000090000001f6952251802000001000000",
    ),
    (
        4224,
        "02020202020202020202020202020202020202020202020202020202020202024d000000000000007b68e5cf8b01000000000000a937684b1a02000001000000",
    ),
    (
        4288,
        "61206d65737361676500000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000",
    ),
    (
        8192,
        "66726d6502000000abababababababababababababababab02000000010000000100000001000000c869e5cf8b010000d6069e47afc2d0fd2ed12f130b0924d9",
    ),
    (
        8256,
        "02020202020202020202020202020202020202020202020202020202020202020400000000000000090000000000000000000000c98ad9ba0000000002000000",
    ),
    (
        12288,
        "66726d6503000000abababababababababababababababab03000000030000000100000002000000c869e5cf8b0100000ff993e3d443a15d942fb0bf37923c4d",
    ),
    (
        12352,
        "010101010101010101010101010101010101010101010101010101010101010100000000000000007b68e5cf8b010000090000001f6952251802000001000000",
    ),
    (
        12416,
        "02020202020202020202020202020202020202020202020202020202020202024d000000000000007b68e5cf8b01000000000000a937684b1a02000001000000",
    ),
    (
        12480,
        "02020202020202020202020202020202020202020202020202020202020202020400000000000000090000000000000000000000c98ad9ba0000000002000000",
    ),
    (
        24512,
        "6c61737400000000abababababababababababababababab0030000000000000030000000000000000000000000000007e05db2c5b381724dab2e69a5b6e4de1",
    ),
];

fn facts() -> [(Fact, &'static [u8]); 3] {
    let put = |n: u8, number, body: &'static [u8]| {
        (Fact::Put(Put::new(ClientAddress([n; 32]), Sequence(number), 1_700_000_000_123, Ack::Owed, body)), body)
    };
    let gone = Gone { inbox: ClientAddress([2; 32]), first: 4, end: 9 };
    [put(1, 0, b"a message"), put(2, 77, b""), (Fact::Gone(gone), b"")]
}

/// The segment, written by this version.
fn segment() -> Vec<u8> {
    let seal = Seal::new(ID, NUMBER);
    let header =
        SegmentHeader { number: NUMBER, id: ID, blocks: BLOCKS, made: 1_700_000_000_000, stream: Stream::Commits };
    let mut bytes = header.encode();
    let mut buffer = FrameBuffer::default();
    let header = |ordinal, kind| FrameHeader {
        ordinal,
        batch: ordinal,
        entries: 0,
        blocks: 0,
        kind,
        written: 1_700_000_000_456,
    };
    let [first, second, third] = facts();
    buffer.frame(&seal, header(1, Kind::Mail), BLOCK, [first, second].into_iter());
    buffer.frame(&seal, header(2, Kind::Mail), 2 * BLOCK, [third].into_iter());
    bytes.extend_from_slice(buffer.bytes());
    let end = bytes.len() as u64;
    let shelf = Memory::of(0);
    shelf.set_bytes("x", &[&bytes[..], &[0; 3 * BLOCK as usize]].concat());
    let found = scan::scan(&shelf.open("x").unwrap(), &seal, end).unwrap().facts;
    buffer.clear();
    let index = buffer.index(&seal, header(3, Kind::Index), &found);
    bytes.extend_from_slice(buffer.bytes());
    bytes.resize(BLOCKS as usize * BLOCK as usize - TRAILER, 0);
    bytes.extend_from_slice(&Trailer { index: end, entries: index.entries }.encode(&seal));
    bytes
}

/// The runs of bytes between long runs of zeros.
fn runs(bytes: &[u8]) -> Vec<(usize, String)> {
    let mut runs = Vec::new();
    for (place, part) in bytes.chunks(64).enumerate() {
        if part.iter().any(|byte| *byte != 0) {
            runs.push((place * 64, hex::encode(part)));
        }
    }
    runs
}

#[test]
fn a_whole_segment_has_these_bytes() {
    let golden: Vec<_> = GOLDEN.iter().map(|(at, hex)| (*at, (*hex).to_owned())).collect();
    let written = runs(&segment());
    assert_eq!(written, golden, "written now:\n{written:#?}");
}

#[test]
fn a_segment_of_these_bytes_is_read() {
    let mut bytes = vec![0; BLOCKS as usize * BLOCK as usize];
    for (at, part) in GOLDEN {
        let part = hex::decode(part).unwrap();
        bytes[*at..at + part.len()].copy_from_slice(&part);
    }
    let seal = Seal::new(ID, NUMBER);
    // Once with the index of the segment, and once without it.
    for is_sealed in [true, false] {
        let shelf = Memory::of(0);
        let len = bytes.len();
        if !is_sealed {
            bytes[len - TRAILER..].fill(0);
        }
        shelf.set_bytes("x", &bytes);
        let file = shelf.open("x").unwrap();
        let found = scan::scan(&file, &seal, len as u64 - BLOCK).unwrap();
        assert_eq!((found.is_sealed, found.unknown, found.holes.len(), found.facts.len()), (is_sealed, 0, 0, 3));
        for (found, (fact, body)) in found.facts.iter().zip(facts()) {
            match (found, fact) {
                (Fact::Put(found), Fact::Put(put)) => {
                    assert_eq!(*found, Put { place: found.place, ..put });
                    assert_eq!(crate::mail::read::read_body(&file, found).unwrap().as_deref(), Some(body));
                }
                (found, fact) => assert_eq!(*found, fact),
            }
        }
    }
}
