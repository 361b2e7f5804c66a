//! Reads the facts of one segment from its file: from its index, or from head to head.

use std::io;

use super::{
    entry::{ENTRY, Fact},
    frame::{FrameHeader, HEADER, Kind},
    segment::{BLOCK, Seal, TRAILER, Trailer},
    shelf::SegmentFile,
};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Facts, in the order of the file.
    pub(super) facts: Vec<Fact>,
    /// How many of them are older than the last batch.
    pub(super) settled: usize,
    /// It was sealed: all of it is proved.
    pub(super) is_sealed: bool,
    /// Where the frames end.
    pub(super) end: u64,
    /// Where heads are missing, though others come behind them.
    pub(super) holes: Vec<u64>,
    /// A frame may have been begun behind the end.
    pub(super) is_torn: bool,
    /// Ordinal of the last frame.
    pub(super) ordinal: u32,
    /// Entries that this version does not know.
    pub(super) unknown: usize,
}

/// Reads the facts of the first `end` bytes of a segment.
pub(super) fn scan(file: &impl SegmentFile, seal: &Seal, end: u64) -> io::Result<Found> {
    let trailer = read_trailer(file, seal)?;
    if let Some(trailer) = trailer
        && let Some(found) = read_index(file, seal, trailer)?
    {
        return Ok(found);
    }
    let mut found = hop(file, seal, end)?;
    // The trailer was written after everything before it was synced.
    if let Some(trailer) = trailer {
        found.is_sealed = true;
        found.settled = found.facts.len();
        if found.end < trailer.index {
            found.holes.push(found.end);
            found.is_torn = false;
        }
    }
    Ok(found)
}

fn read_trailer(file: &impl SegmentFile, seal: &Seal) -> io::Result<Option<Trailer>> {
    let mut bytes = [0; TRAILER];
    file.read_at(&mut bytes, file.len()?.saturating_sub(TRAILER as u64))?;
    Ok(Trailer::decode(&bytes, seal))
}

fn read_index(file: &impl SegmentFile, seal: &Seal, trailer: Trailer) -> io::Result<Option<Found>> {
    let Some((header, entries)) = read_head(file, seal, trailer.index)? else { return Ok(None) };
    if header.kind != Kind::Index || header.entries != trailer.entries {
        return Ok(None);
    }
    let mut found = Found { is_sealed: true, end: trailer.index, ordinal: header.ordinal, ..Found::default() };
    found.take(&entries);
    found.settled = found.facts.len();
    Ok(Some(found))
}

/// The head of the frame that begins there, if one does.
pub(super) fn read_head(file: &impl SegmentFile, seal: &Seal, at: u64) -> io::Result<Option<(FrameHeader, Vec<u8>)>> {
    let end = file.len()?;
    if at + BLOCK > end {
        return Ok(None);
    }
    let mut bytes = vec![0; BLOCK as usize];
    file.read_at(&mut bytes, at)?;
    let Some((header, id, hash)) = bytes.first_chunk::<HEADER>().and_then(FrameHeader::decode) else {
        return Ok(None);
    };
    if id != *seal.id() || at + header.len() > end {
        return Ok(None);
    }
    let read = bytes.len();
    bytes.resize(header.head_len().max(read), 0);
    if let Some(rest) = bytes.get_mut(read..).filter(|rest| !rest.is_empty()) {
        file.read_at(rest, at + BLOCK)?;
    }
    bytes.truncate(header.head_len());
    bytes.drain(..HEADER);
    Ok(header.is_head(seal, &bytes, &hash).then_some((header, bytes)))
}

/// Goes from head to head.
fn hop(file: &impl SegmentFile, seal: &Seal, end: u64) -> io::Result<Found> {
    let end = end.min(file.len()?);
    let mut found = Found { end: BLOCK, ..Found::default() };
    let mut batch = None;
    let mut index = None;
    let mut at = BLOCK;
    while at < end {
        let head = match read_head(file, seal, at)? {
            Some((header, _)) if header.ordinal <= found.ordinal => None,
            head => head,
        };
        let Some((header, entries)) = head else {
            let Some(next) = next_frame(file, seal, at + BLOCK, end, found.ordinal)? else {
                found.is_torn = looks_begun(file, seal, at)?;
                break;
            };
            found.holes.push(at);
            at = next;
            continue;
        };
        at += header.len();
        found.end = at;
        if header.kind == Kind::Index {
            index = Some(at - header.len());
            continue;
        }
        // An index is the last frame. Behind this one there is another, so it was left there, and a frame is missing in its place.
        found.holes.extend(index.take());
        found.ordinal = header.ordinal;
        if batch != Some(header.batch) {
            batch = Some(header.batch);
            found.settled = found.facts.len();
        }
        found.take(&entries);
    }
    Ok(found)
}

/// Looks for a later frame of the segment, at every block. If there is one, the blocks before it are damaged, and not the end.
fn next_frame(file: &impl SegmentFile, seal: &Seal, from: u64, end: u64, ordinal: u32) -> io::Result<Option<u64>> {
    const PIECE: u64 = 256 * BLOCK;
    let mut piece = Vec::new();
    let mut at = from;
    while at < end {
        piece.resize(usize::try_from(PIECE.min(end - at)).unwrap_or(0), 0);
        file.read_at(&mut piece, at)?;
        for (block, bytes) in piece.chunks(BLOCK as usize).enumerate() {
            let place = at + block as u64 * BLOCK;
            let Some((_, id, _)) = bytes.first_chunk::<HEADER>().and_then(FrameHeader::decode) else { continue };
            if id == *seal.id() && read_head(file, seal, place)?.is_some_and(|(header, _)| header.ordinal > ordinal) {
                return Ok(Some(place));
            }
        }
        at += piece.len() as u64;
    }
    Ok(None)
}

/// Whether a frame of the segment may have been begun there.
fn looks_begun(file: &impl SegmentFile, seal: &Seal, at: u64) -> io::Result<bool> {
    let mut bytes = [0; HEADER];
    file.read_at(&mut bytes, at)?;
    Ok(FrameHeader::decode(&bytes).is_some_and(|(_, id, _)| id == *seal.id()))
}

impl Found {
    fn take(&mut self, entries: &[u8]) {
        let (entries, _) = entries.as_chunks::<ENTRY>();
        for entry in entries {
            match Fact::decode(entry) {
                Some(fact) => self.facts.push(fact),
                None => self.unknown += 1,
            }
        }
    }
}
