//! Segments: files of one size, written from front to back, each frame once.
//!
//! | block | holds |
//! |---|---|
//! | 0 | the header of the segment |
//! | 1 and on | frames, the first at offset 4,096; once the segment is sealed, the index is the last |
//! | last | once it is sealed, the trailer, in its last 64 bytes |
//!
//! | at | bytes | segment header | | at | bytes | trailer |
//! |---|---|---|---|---|---|---|
//! | 0 | 8 | `gwmail\r\n` | | 0 | 4 | `last` |
//! | 8 | 4 | version: major 2 (1), minor 2 | | 4 | 4 | 0 |
//! | 12 | 4 | length of the file in blocks | | 8 | 16 | id |
//! | 16 | 8 | number, as in the file's name | | 24 | 8 | offset of the index |
//! | 24 | 16 | id | | 32 | 4 | entries in the index |
//! | 40 | 8 | made at, Unix milliseconds | | 36 | 12 | 0 |
//! | 48 | 1 | stream: 0 commits, 1 copies | | 48 | 16 | hash of bytes 0 to 47 |
//! | 4080 | 16 | hash of bytes 0 to 4079 | | | | |
//!
//! The id is 16 random bytes that never leave the process `store`. Hashes are the first 16 bytes of BLAKE3, keyed with
//! `derive_key("gatewayd mail segment 1", id ‖ number)`. The trailer is written when everything before it has been synced, so a
//! segment that has one is proved as a whole.

use bytes::{Buf, BufMut};
use rand::Rng as _;

/// Frames begin at multiples of this, and headers take one each.
pub(super) const BLOCK: u64 = 4_096;
/// Bytes of a trailer.
pub(super) const TRAILER: usize = 64;

pub(super) const MAGIC: &[u8; 8] = b"gwmail\r\n";
const TRAILER_MAGIC: &[u8; 4] = b"last";
const MAJOR: u16 = 1;
const MINOR: u16 = 0;
/// Bytes of each that are hashed.
const HASHED_HEADER: usize = BLOCK as usize - 16;
const HASHED_TRAILER: usize = TRAILER - 16;
/// What the key is derived for.
const CONTEXT: &str = "gatewayd mail segment 1";

/// A hash of structure.
pub(super) type Hash = [u8; 16];

/// The place of a segment among all: later ones have higher numbers, and no number is used twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SegmentNumber(pub(super) u64);

impl SegmentNumber {
    /// Name of its file.
    pub(super) fn name(self) -> String {
        format!("{:016x}{EXTENSION}", self.0)
    }

    /// The number in the name of a segment's file.
    pub(super) fn of_name(name: &str) -> Option<Self> {
        let number = u64::from_str_radix(name.strip_suffix(EXTENSION)?, 16).ok().map(Self)?;
        (number.name() == name).then_some(number)
    }

    /// The number that the name of a file of ours begins with, whatever it is.
    pub(super) fn beginning(name: &str) -> Option<Self> {
        u64::from_str_radix(name.split_once('.')?.0, 16).ok().map(Self)
    }
}

const EXTENSION: &str = ".mail";

/// The place of a segment in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot(pub(super) u16);

/// Random bytes that no other process knows.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct SegmentId(pub(super) [u8; 16]);

impl SegmentId {
    pub(super) fn random() -> Self {
        let mut id = Self::default();
        rand::rng().fill_bytes(&mut id.0);
        id
    }
}

impl std::fmt::Debug for SegmentId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SegmentId(..)")
    }
}

/// The secret with which the frames of a segment are hashed.
#[derive(Clone, Debug)]
pub(super) struct Seal {
    id: SegmentId,
    key: [u8; 32],
}

impl Seal {
    pub(super) fn new(id: SegmentId, number: SegmentNumber) -> Self {
        let mut material = [0; 24];
        let mut at = &mut material[..];
        at.put_slice(&id.0);
        at.put_u64_le(number.0);
        Self { id, key: blake3::derive_key(CONTEXT, &material) }
    }

    pub(super) const fn id(&self) -> &SegmentId {
        &self.id
    }

    pub(super) fn hash(&self, parts: &[&[u8]]) -> Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        for part in parts {
            hasher.update(part);
        }
        hasher.finalize().as_bytes().first_chunk().copied().unwrap_or_default()
    }
}

/// What a segment is written with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    /// What the core commits.
    Commits,
    /// What cleaning keeps of other segments.
    Copies,
}

/// The header of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) number: SegmentNumber,
    pub(super) id: SegmentId,
    /// Length of the file in blocks.
    pub(super) blocks: u32,
    /// Unix milliseconds.
    pub(super) made: u64,
    pub(super) stream: Stream,
}

/// What is wrong with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadHeader {
    /// The block is no header, or the header of another segment.
    Damaged,
    /// A later version of the gateway made it, in a form that this version does not know.
    FromTheFuture,
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(BLOCK as usize);
        bytes.put_slice(MAGIC);
        bytes.put_u16_le(MAJOR);
        bytes.put_u16_le(MINOR);
        bytes.put_u32_le(self.blocks);
        bytes.put_u64_le(self.number.0);
        bytes.put_slice(&self.id.0);
        bytes.put_u64_le(self.made);
        bytes.put_u8(match self.stream {
            Stream::Commits => 0,
            Stream::Copies => 1,
        });
        bytes.resize(HASHED_HEADER, 0);
        let hash = Seal::new(self.id, self.number).hash(&[&bytes]);
        bytes.put_slice(&hash);
        bytes
    }

    /// Whether these bytes begin as a header does.
    pub(super) fn begins(bytes: &[u8]) -> bool {
        bytes.starts_with(MAGIC)
    }

    /// The header of the segment of this number.
    pub(super) fn decode(block: &[u8; BLOCK as usize], number: SegmentNumber) -> Result<Self, BadHeader> {
        let (hashed, hash) = block.split_last_chunk::<16>().ok_or(BadHeader::Damaged)?;
        let mut rest = hashed.strip_prefix(MAGIC).ok_or(BadHeader::Damaged)?;
        let major = rest.get_u16_le();
        let _minor = rest.get_u16_le();
        let blocks = rest.get_u32_le();
        let named = SegmentNumber(rest.get_u64_le());
        let mut id = SegmentId::default();
        rest.copy_to_slice(&mut id.0);
        let made = rest.get_u64_le();
        let stream = rest.get_u8();
        if named != number || Seal::new(id, number).hash(&[hashed]) != *hash {
            return Err(BadHeader::Damaged);
        }
        let stream = match (major, stream) {
            (MAJOR, 0) => Stream::Commits,
            (MAJOR, 1) => Stream::Copies,
            _ => return Err(BadHeader::FromTheFuture),
        };
        Ok(Self { number, id, blocks, made, stream })
    }
}

/// The end of a sealed segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trailer {
    /// Offset of the index.
    pub(super) index: u64,
    /// Entries in it.
    pub(super) entries: u32,
}

impl Trailer {
    pub(super) fn encode(&self, seal: &Seal) -> [u8; TRAILER] {
        let mut bytes = [0; TRAILER];
        let mut at = &mut bytes[..];
        at.put_slice(TRAILER_MAGIC);
        at.put_u32_le(0);
        at.put_slice(&seal.id().0);
        at.put_u64_le(self.index);
        at.put_u32_le(self.entries);
        let (hashed, hash) = bytes.split_at_mut(HASHED_TRAILER);
        hash.copy_from_slice(&seal.hash(&[hashed]));
        bytes
    }

    /// The trailer of the segment with this seal.
    pub(super) fn decode(bytes: &[u8; TRAILER], seal: &Seal) -> Option<Self> {
        let (hashed, hash) = bytes.split_last_chunk::<16>()?;
        let mut rest = hashed.strip_prefix(TRAILER_MAGIC)?;
        if seal.hash(&[hashed]) != *hash {
            return None;
        }
        rest.advance(4 + seal.id().0.len());
        Some(Self { index: rest.get_u64_le(), entries: rest.get_u32_le() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEADER: SegmentHeader = SegmentHeader {
        number: SegmentNumber(0x2a),
        id: SegmentId([5; 16]),
        blocks: 4_096,
        made: 9,
        stream: Stream::Copies,
    };

    #[test]
    fn a_segment_header_has_these_bytes() {
        let bytes = HEADER.encode();
        assert_eq!(bytes.len() as u64, BLOCK);
        assert_eq!(
            hex::encode(&bytes[..49]),
            "67776d61696c0d0a01000000001000002a00000000000000050505050505050505050505050505050900000000000000\
             01"
        );
        assert!(bytes[49..HASHED_HEADER].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_header_is_good_for_its_own_number_only() {
        let block: [u8; BLOCK as usize] = HEADER.encode().try_into().unwrap();
        assert_eq!(SegmentHeader::decode(&block, HEADER.number), Ok(HEADER));
        assert_eq!(SegmentHeader::decode(&block, SegmentNumber(0x2b)), Err(BadHeader::Damaged));
        for at in 0..block.len() {
            let mut damaged = block;
            damaged[at] ^= 4;
            assert_eq!(SegmentHeader::decode(&damaged, HEADER.number), Err(BadHeader::Damaged), "byte {at}");
        }
    }

    #[test]
    fn a_header_of_a_later_version_is_known_as_such() {
        let mut block: [u8; BLOCK as usize] = HEADER.encode().try_into().unwrap();
        block[8] = 2;
        let hash = Seal::new(HEADER.id, HEADER.number).hash(&[&block[..HASHED_HEADER]]);
        block[HASHED_HEADER..].copy_from_slice(&hash);
        assert_eq!(SegmentHeader::decode(&block, HEADER.number), Err(BadHeader::FromTheFuture));
    }

    #[test]
    fn a_trailer_is_good_for_its_own_segment_only() {
        let seal = Seal::new(HEADER.id, HEADER.number);
        let trailer = Trailer { index: 8_192, entries: 3 };
        let bytes = trailer.encode(&seal);
        assert_eq!(Trailer::decode(&bytes, &seal), Some(trailer));
        assert_eq!(Trailer::decode(&bytes, &Seal::new(HEADER.id, SegmentNumber(1))), None);
        for at in 0..bytes.len() {
            let mut damaged = bytes;
            damaged[at] ^= 1;
            assert_eq!(Trailer::decode(&damaged, &seal), None, "byte {at}");
        }
    }

    #[test]
    fn names_are_numbers_in_one_form() {
        assert_eq!(SegmentNumber(0x2a).name(), "000000000000002a.mail");
        assert_eq!(SegmentNumber::of_name("000000000000002a.mail"), Some(SegmentNumber(0x2a)));
        for other in ["2a.mail", "000000000000002A.mail", "000000000000002a.spare", "lock", "+00000000000002a.mail"] {
            assert_eq!(SegmentNumber::of_name(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_no_header_and_no_trailer(bytes in prop::collection::vec(any::<u8>(), BLOCK as usize)) {
            let block = bytes.try_into().unwrap();
            prop_assert_eq!(SegmentHeader::decode(&block, SegmentNumber(1)), Err(BadHeader::Damaged));
        }
    }
}
