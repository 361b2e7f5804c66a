//! What a file with the name of a segment is: a segment, a spare that waits for its first message, or damaged.

use super::{
    MailboxError, failed,
    frame::{FrameHeader, HEADER},
    scan,
    segment::{BLOCK, BadHeader, Seal, SegmentHeader, SegmentNumber},
    shelf::{SegmentFile, Shelf},
    spares::Spare,
};

/// Bytes that any disk writes as a whole.
const SECTOR: usize = 512;

/// What a file is.
pub(super) enum Identified<F> {
    Segment { seal: Seal, file: F, len: u64, made: u64, is_damaged: bool },
    Spare(Spare<F>),
    Damaged,
}

/// Looks at the first blocks of a file.
pub(super) fn identify<S: Shelf>(shelf: &S, number: SegmentNumber) -> Result<Identified<S::File>, MailboxError> {
    let file = shelf.open(&number.name()).map_err(failed("open a segment"))?;
    let real_len = file.len().map_err(failed("look at a segment"))?;
    let len = real_len / BLOCK * BLOCK;
    if len < 3 * BLOCK {
        return Ok(Identified::Damaged);
    }
    let mut block = [0; BLOCK as usize];
    file.read_at(&mut block, 0).map_err(failed("read a segment"))?;
    match SegmentHeader::decode(&block, number) {
        Ok(header) => {
            let is_damaged = u64::from(header.blocks) * BLOCK != real_len;
            if is_damaged {
                tracing::error!(
                    id = "GWD-S041",
                    file = number.name(),
                    bytes = real_len,
                    "a segment of mail does not have the length that its header says"
                );
            }
            Ok(Identified::Segment { seal: Seal::new(header.id, number), file, len, made: header.made, is_damaged })
        }
        Err(BadHeader::FromTheFuture) => Err(MailboxError::FromTheFuture { file: number.name() }),
        Err(BadHeader::Damaged) => {
            let mut bytes = [0; HEADER];
            file.read_at(&mut bytes, BLOCK).map_err(failed("read a segment"))?;
            let first = FrameHeader::decode(&bytes).map(|(header, id, _)| (header.written, Seal::new(id, number)));
            if let Some((made, seal)) = first
                && scan::read_head(&file, &seal, BLOCK).map_err(failed("read a segment"))?.is_some()
            {
                tracing::warn!(
                    id = "GWD-S042",
                    file = number.name(),
                    "a segment of mail has lost its header; its mail is read nevertheless"
                );
                return Ok(Identified::Segment { seal, file, len, made, is_damaged: true });
            }
            let is_spare = is_blank_or_begun(&block);
            Ok(if is_spare { Identified::Spare(Spare { number, file, len }) } else { Identified::Damaged })
        }
    }
}

/// Whether the first block is that of a spare. Header and first frame come in one write. Where only the beginning or the end of the header
/// is there, that write was cut off, and nothing of it was acknowledged.
fn is_blank_or_begun(block: &[u8; BLOCK as usize]) -> bool {
    let (sectors, _) = block.as_chunks::<SECTOR>();
    let [first, between @ .., last] = sectors else { return false };
    let is_blank = |sector: &[u8; SECTOR]| *sector == [0; SECTOR];
    between.iter().all(is_blank) && (is_blank(first) || is_blank(last) && SegmentHeader::begins(first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::{segment::MAGIC, shelf::memory::Memory};

    /// A block of zeros, but for what its first and its last sector begin with, and one between them.
    fn block(first: &[u8], between: &[u8], last: &[u8]) -> [u8; BLOCK as usize] {
        let mut block = [0; BLOCK as usize];
        for (sector, bytes) in [(0, first), (3, between), (BLOCK as usize / SECTOR - 1, last)] {
            block[sector * SECTOR..][..bytes.len()].copy_from_slice(bytes);
        }
        block
    }

    #[test]
    fn only_zeros_and_a_header_that_was_cut_off_are_a_spare() {
        assert!(is_blank_or_begun(&block(b"", b"", b"")));
        assert!(is_blank_or_begun(&block(MAGIC, b"", b"")));
        assert!(is_blank_or_begun(&block(b"", b"", b"hash")));
        assert!(!is_blank_or_begun(&block(b"other", b"", b"")));
        assert!(!is_blank_or_begun(&block(MAGIC, b"", b"hash")));
        assert!(!is_blank_or_begun(&block(MAGIC, b"x", b"")));
        assert!(!is_blank_or_begun(&block(b"", b"x", b"")));
    }

    #[test]
    fn a_file_without_room_for_a_frame_is_damaged() {
        let shelf = Memory::of(1 << 30);
        for (blocks, is_spare) in [(0, false), (1, false), (2, false), (3, true), (4, true)] {
            shelf.set_bytes(&SegmentNumber(1).name(), &vec![0; blocks * BLOCK as usize]);
            let found = identify(&shelf, SegmentNumber(1)).unwrap();
            assert_eq!(matches!(found, Identified::Spare(_)), is_spare, "{blocks} blocks");
            assert_eq!(matches!(found, Identified::Damaged), !is_spare, "{blocks} blocks");
        }
    }
}
