//! Frames: what one write puts into a segment. A head (header and entries) that is whole or nothing, then the bodies, which are
//! judged one by one.
//!
//! | at | bytes | frame header, little-endian |
//! |---|---|---|
//! | 0 | 4 | `frme` |
//! | 4 | 4 | ordinal: 1, 2, 3 … in its segment |
//! | 8 | 16 | id of the segment |
//! | 24 | 4 | batch: frames of one commit share it |
//! | 28 | 4 | entries |
//! | 32 | 4 | length in blocks |
//! | 36 | 1 | kind: 1 mail, 2 index |
//! | 37 | 3 | 0 |
//! | 40 | 8 | written at, Unix milliseconds |
//! | 48 | 16 | hash of bytes 0 to 47 and all entries |
//!
//! Every frame begins a new block of 4,096 bytes, so no byte that was acknowledged is ever written again: a torn write cannot
//! damage what was promised. The head comes first, so a reader never looks for structure in bytes that a sender chose. The hash is
//! keyed with a secret of the segment and its number, so neither frames left in a file that is used again nor bytes that a sender
//! made to look like a frame are ever valid.

use bytes::{Buf, BufMut};

use super::{
    entry::{ENTRY, Fact},
    segment::{BLOCK, Hash, Seal, SegmentId},
};

/// Bytes of a frame's header.
pub(super) const HEADER: usize = 64;
/// Entries in a frame at the most.
pub(super) const MAX_ENTRIES: usize = 16_384;
/// Bytes of a frame at the most, unless a quarter of a segment is less.
pub(super) const MAX_FRAME: u64 = 4 * 1024 * 1024;

const MAGIC: &[u8; 4] = b"frme";
/// Bytes of the header that are hashed, with the entries.
const HASHED: usize = 48;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Facts, and the bodies of those that are messages.
    Mail,
    /// The entries of all frames of its segment once more.
    Index,
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) ordinal: u32,
    pub(super) batch: u32,
    pub(super) entries: u32,
    /// Length in blocks.
    pub(super) blocks: u32,
    pub(super) kind: Kind,
    /// Unix milliseconds.
    pub(super) written: u64,
}

impl FrameHeader {
    /// Bytes of header and entries.
    pub(super) const fn head_len(&self) -> usize {
        HEADER + self.entries as usize * ENTRY
    }

    /// Bytes of the whole frame.
    pub(super) const fn len(&self) -> u64 {
        self.blocks as u64 * BLOCK
    }

    fn encode(&self, id: &SegmentId) -> [u8; HASHED] {
        let mut bytes = [0; HASHED];
        let mut at = &mut bytes[..];
        at.put_slice(MAGIC);
        at.put_u32_le(self.ordinal);
        at.put_slice(&id.0);
        at.put_u32_le(self.batch);
        at.put_u32_le(self.entries);
        at.put_u32_le(self.blocks);
        at.put_u32_le(match self.kind {
            Kind::Mail => 1,
            Kind::Index => 2,
        });
        at.put_u64_le(self.written);
        bytes
    }

    /// The header in these bytes, if they look like one, the id of its segment, and the hash of the head. It must not be believed before
    /// [`is_head`](Self::is_head) has seen the whole head.
    pub(super) fn decode(bytes: &[u8; HEADER]) -> Option<(Self, SegmentId, Hash)> {
        let mut rest = bytes.strip_prefix(MAGIC)?;
        let ordinal = rest.get_u32_le();
        let mut id = SegmentId::default();
        rest.copy_to_slice(&mut id.0);
        let (batch, entries, blocks) = (rest.get_u32_le(), rest.get_u32_le(), rest.get_u32_le());
        let kind = match rest.get_u32_le() {
            1 => Kind::Mail,
            2 => Kind::Index,
            _ => return None,
        };
        let written = rest.get_u64_le();
        let mut hash = Hash::default();
        rest.copy_to_slice(&mut hash);
        let header = Self { ordinal, batch, entries, blocks, kind, written };
        let fits = ordinal > 0 && header.head_len() as u64 <= header.len();
        fits.then_some((header, id, hash))
    }

    /// Whether this is the head (header and entries) of a frame of the segment.
    pub(super) fn is_head(&self, seal: &Seal, entries: &[u8], hash: &Hash) -> bool {
        seal.hash(&[&self.encode(seal.id()), entries]) == *hash
    }
}

/// A frame in the making.
#[derive(Debug, Default)]
pub(super) struct FrameBuffer {
    bytes: Vec<u8>,
}

impl FrameBuffer {
    /// Makes the frame that begins at `offset` in its segment. `header` brings everything but the counts.
    pub(super) fn frame<'a>(
        &mut self,
        seal: &Seal,
        header: FrameHeader,
        offset: u64,
        facts: impl Iterator<Item = (Fact, &'a [u8])> + Clone,
    ) -> FrameHeader {
        let entries = facts.clone().count();
        let mut at = offset + (HEADER + entries * ENTRY) as u64;
        let mut end = self.bytes.len();
        let start = end;
        end += HEADER + entries * ENTRY;
        self.bytes.resize(start + HEADER, 0);
        for (mut fact, _) in facts.clone() {
            if let Fact::Put(put) = &mut fact {
                put.place = u32::try_from(at / super::entry::PLACE_UNIT).unwrap_or(u32::MAX);
                at += put.room();
                end += usize::try_from(put.room()).unwrap_or(usize::MAX);
            }
            self.bytes.extend_from_slice(&fact.encode());
        }
        self.bytes.reserve(end.saturating_sub(self.bytes.len()));
        for (fact, body) in facts {
            if let Fact::Put(put) = &fact {
                self.bytes.extend_from_slice(body);
                let padding = usize::try_from(put.room()).unwrap_or(usize::MAX) - body.len();
                self.bytes.put_bytes(0, padding);
            }
        }
        self.finish(seal, header, start, entries)
    }

    /// Makes an index of these facts: their entries as they are.
    pub(super) fn index(&mut self, seal: &Seal, header: FrameHeader, facts: &[Fact]) -> FrameHeader {
        let start = self.bytes.len();
        self.bytes.resize(start + HEADER, 0);
        for fact in facts {
            self.bytes.extend_from_slice(&fact.encode());
        }
        self.finish(seal, header, start, facts.len())
    }

    /// Makes a frame whose entries are these bytes, whatever they say.
    #[cfg(any(test, feature = "found-records"))]
    pub(super) fn raw(&mut self, seal: &Seal, header: FrameHeader, entries: &[u8]) {
        let start = self.bytes.len();
        self.bytes.resize(start + HEADER, 0);
        self.bytes.extend_from_slice(entries);
        self.finish(seal, header, start, entries.len() / ENTRY);
    }

    /// Fills the last block, and counts and hashes what is in the frame that begins at `start`.
    fn finish(&mut self, seal: &Seal, header: FrameHeader, start: usize, entries: usize) -> FrameHeader {
        let len = (self.bytes.len() - start).next_multiple_of(usize::try_from(BLOCK).unwrap_or(usize::MAX));
        self.bytes.resize(start + len, 0);
        let header = FrameHeader {
            entries: u32::try_from(entries).unwrap_or(u32::MAX),
            blocks: u32::try_from(len as u64 / BLOCK).unwrap_or(u32::MAX),
            ..header
        };
        let encoded = header.encode(seal.id());
        if let Some((head, rest)) = self.bytes.get_mut(start..).and_then(|frame| frame.split_at_mut_checked(HEADER)) {
            let hash = seal.hash(&[&encoded, rest.get(..entries * ENTRY).unwrap_or_default()]);
            let (covered, hash_at) = head.split_at_mut(HASHED);
            covered.copy_from_slice(&encoded);
            hash_at.copy_from_slice(&hash);
        }
        header
    }

    /// Appends bytes as they are: the header of a segment, before its first frame.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Empties the buffer, and gives back the memory of a large frame.
    pub(super) fn clear(&mut self) {
        const KEPT: usize = 1024 * 1024;
        self.bytes.clear();
        self.bytes.shrink_to(KEPT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_no_frame_can_have_is_none() {
        let header = FrameHeader { ordinal: 1, batch: 2, entries: 63, blocks: 1, kind: Kind::Mail, written: 3 };
        let is_header = |header: FrameHeader| {
            let mut bytes = [0; HEADER];
            bytes[..HASHED].copy_from_slice(&header.encode(&SegmentId::default()));
            FrameHeader::decode(&bytes).is_some_and(|(found, ..)| found == header)
        };
        assert!(is_header(header));
        assert!(!is_header(FrameHeader { ordinal: 0, ..header }), "ordinals begin at one");
        assert!(!is_header(FrameHeader { entries: 64, ..header }), "its entries need another block");
    }
}
