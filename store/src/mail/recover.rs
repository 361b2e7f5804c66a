//! What a start finds in the directory, and what it makes sure of before anything rests on it.
//!
//! Where no process has closed a segment with an index, its last batch is **in doubt**: it may be in the kernel's memory and not on the
//! medium, or its sync may have failed, and the process that was told is dead. What is alive of the batch is written to a new segment
//! and synced before anything is served, removed, or dropped. Otherwise a copy that is only in memory could count as the message, and
//! its original be removed.
//!
//! If the last process did not end in order, every inbox's next number leaps: a message that cannot be seen now may be seen at a later
//! start.

use std::{collections::BTreeSet, sync::Arc};

use wire::address::ClientAddress;
use worker::counter::count;

use super::{
    Chores, Log, MailboxError, Settings,
    append::{Appender, Item},
    copy::pieces,
    entry::{Fact, Gone, Put},
    failed,
    frame::{FrameHeader, HEADER},
    index::{Index, MAX_SEGMENTS, Segment, State},
    pace::Pace,
    read::read_body,
    scan::{self, Found},
    segment::{BLOCK, BadHeader, Seal, SegmentHeader, SegmentNumber, Slot, Stream},
    shelf::{SegmentFile, Shelf},
    spares::{Spare, Spares, UNREADY},
    victim::Need,
};
use crate::counters::StoreCounters;

/// How far numbers leap if the last process did not end in order.
pub(super) const LEAP: u64 = 1 << 16;
/// Bytes of messages that are made sure of at once.
const AT_ONCE: u64 = 2 * 1024 * 1024;
/// Bytes that any disk writes as a whole.
const SECTOR: usize = 512;
/// Extension of a file that should be a segment and is none that can be read.
const DAMAGED: &str = ".damaged";

/// A message that was found.
#[derive(Clone, Copy, Debug)]
struct FoundPut {
    put: Put,
    slot: Slot,
    number: SegmentNumber,
    /// Whether it may not be on the medium.
    is_doubtful: bool,
    /// Its body was not written whole.
    is_torn: bool,
}

/// All that was found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    puts: Vec<FoundPut>,
    gone: Vec<Gone>,
    /// Inboxes with a fact that may not be on the medium.
    doubtful: BTreeSet<ClientAddress>,
    was_unclean: bool,
}

impl<S: Shelf> Log<S> {
    pub(super) fn open(
        shelf: S,
        settings: Settings,
        counters: Arc<StoreCounters>,
        now: u64,
    ) -> Result<Self, MailboxError> {
        let mut names = shelf.list().map_err(failed("list"))?;
        shelf.sync_names().map_err(failed("sync"))?;
        names.sort_unstable();
        let mut index = Index::default();
        let mut findings = Findings::default();
        let mut spares = Vec::new();
        let last = names.iter().filter_map(|name| SegmentNumber::beginning(name)).max();
        for name in &names {
            if name.ends_with(UNREADY) {
                shelf.remove(name).map_err(failed("remove an unfinished file"))?;
            } else if let Some(number) = SegmentNumber::of_name(name) {
                match identify(&shelf, number)? {
                    Identified::Segment { seal, file, len, made, is_damaged } => {
                        let segment = Segment {
                            number,
                            seal,
                            file: Arc::new(file),
                            len,
                            end: if is_damaged { len } else { len - BLOCK },
                            state: State::Closed,
                            alive: 0,
                            messages: 0,
                            kept: 0,
                            made,
                            unproved: Vec::new(),
                        };
                        if is_damaged {
                            count(&counters.mail_damaged);
                            findings.was_unclean = true;
                        }
                        take_in(&mut index, &mut findings, segment, &counters)?;
                    }
                    Identified::Spare(spare) if spares.len() < 2 && spare.len == settings.segment => spares.push(spare),
                    Identified::Spare(_) => shelf.remove(name).map_err(failed("remove a file that is not needed"))?,
                    Identified::Damaged => {
                        count(&counters.mail_damaged);
                        tracing::error!(
                            file = name,
                            "nothing in this segment of mail can be read; the file is set aside"
                        );
                        shelf.rename(name, &format!("{name}{DAMAGED}")).map_err(failed("set a damaged file aside"))?;
                    }
                }
            }
        }
        let was_unclean = findings.was_unclean;
        let doubtful = unite(&mut index, findings);
        let log = Self {
            shelf,
            settings,
            index: index.into(),
            writer: Appender::new(Stream::Commits).into(),
            copier: Appender::new(Stream::Copies).into(),
            spares: Spares::beginning_at(last.map_or(1, |last| last.0 + 1)),
            to_seal: Vec::new().into(),
            is_committing: false.into(),
            put_bytes: 0.into(),
            capacity: settings.most.into(),
            counters,
            chores: Chores::default(),
            was_unclean,
        };
        for spare in spares {
            log.spares.keep(spare);
        }
        log.make_sure(&doubtful, now)?;
        log.let_go_of_what_is_done();
        Ok(log)
    }

    /// Removes segments of the last process without live messages; what was in doubt has been copied. A gateway that dies at each start
    /// before it cleans would fill the disk with such segments.
    fn let_go_of_what_is_done(&self) {
        let next = || {
            let index = self.index();
            let mut segments = index.segments();
            segments
                .find(|(_, segment)| segment.state == State::Doubtful && segment.messages == 0)
                .map(|(slot, _)| slot)
        };
        while let Some(slot) = next() {
            if let Err(error) = self.clean(slot, Need::Room, &mut Pace::new(0)) {
                tracing::warn!(%error, "segments of the previous process cannot be removed now");
                break;
            }
        }
    }

    /// Writes everything in doubt to a new segment.
    fn make_sure(&self, doubtful: &Doubtful, now: u64) -> Result<(), MailboxError> {
        let mut copier = self.lock_copier();
        for piece in pieces(&doubtful.puts, AT_ONCE) {
            self.copy(&mut copier, piece, now).map_err(failed("write anew what is in doubt"))?;
        }
        let facts: Vec<Fact> = {
            let index = self.index();
            let needed = doubtful.gone.iter().filter(|client| index.dead(client) > 0);
            needed.flat_map(|client| index.all_gone(client)).collect()
        };
        let facts: Vec<Item<'_>> = facts.iter().map(|fact| (*fact, &[][..])).collect();
        copier.append(self, &facts, now).map_err(|failure| failed("write anew what is in doubt")(failure.error))?;
        if !doubtful.puts.is_empty() {
            count(&self.counters.mail_written_twice);
            tracing::info!(
                messages = doubtful.puts.len(),
                "the last commits of the previous process were written once more"
            );
        }
        Ok(())
    }
}

/// What is in doubt.
#[derive(Debug, Default)]
pub(super) struct Doubtful {
    pub(super) puts: Vec<(Slot, Put)>,
    gone: BTreeSet<ClientAddress>,
}

/// What a file is.
enum Identified<F> {
    Segment { seal: Seal, file: F, len: u64, made: u64, is_damaged: bool },
    Spare(Spare<F>),
    Damaged,
}

fn identify<S: Shelf>(shelf: &S, number: SegmentNumber) -> Result<Identified<S::File>, MailboxError> {
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

/// Reads a segment.
pub(super) fn take_in<F: SegmentFile>(
    index: &mut Index<F>,
    findings: &mut Findings,
    segment: Segment<F>,
    counters: &StoreCounters,
) -> Result<(), MailboxError> {
    let (number, file) = (segment.number, Arc::clone(&segment.file));
    let found = scan::scan(file.as_ref(), &segment.seal, segment.end).map_err(failed("read a segment"))?;
    report(number, &found, counters);
    findings.was_unclean |= !found.is_sealed || !found.holes.is_empty();
    let state = if found.is_sealed { State::Closed } else { State::Doubtful };
    let slot = index.add_segment(Segment { end: found.end, state, ..segment });
    let slot = slot.ok_or_else(|| {
        let source = std::io::Error::other(format!("there are more than {MAX_SEGMENTS} segments"));
        failed("read the segments")(source)
    })?;
    for (place, fact) in found.facts.iter().enumerate() {
        let is_doubtful = place >= found.settled;
        match fact {
            Fact::Put(put) => {
                let is_whole = !is_doubtful || matches!(read_body(file.as_ref(), put), Ok(Some(_)));
                findings.puts.push(FoundPut { put: *put, slot, number, is_doubtful, is_torn: !is_whole });
            }
            Fact::Gone(gone) => findings.gone.push(*gone),
        }
        if is_doubtful {
            findings.doubtful.insert(*fact.inbox());
        }
    }
    Ok(())
}

fn report(number: SegmentNumber, found: &Found, counters: &StoreCounters) {
    let file = number.name();
    for offset in &found.holes {
        count(&counters.mail_damaged);
        tracing::error!(
            file,
            offset,
            "a segment of mail is damaged there; what is in front of it and behind it is served"
        );
    }
    if found.unknown > 0 {
        count(&counters.mail_damaged);
        tracing::error!(file, entries = found.unknown, "a segment of mail has entries that this version does not know");
    }
    if found.is_torn {
        tracing::info!(file, offset = found.end, "the last write to a segment was cut off; it was not acknowledged");
    }
}

/// Unites what all files say. Returns what is in doubt.
pub(super) fn unite<F>(index: &mut Index<F>, findings: Findings) -> Doubtful {
    let Findings { mut puts, mut gone, doubtful: doubtful_inboxes, .. } = findings;
    // Of several facts with one number the one that stays comes last.
    puts.sort_unstable_by_key(|found| {
        let is_sure = !found.is_doubtful && !found.is_torn;
        (found.put.inbox, found.put.number, !found.is_torn, is_sure, found.number)
    });
    gone.sort_unstable();
    let mut doubtful = Doubtful { puts: Vec::new(), gone: doubtful_inboxes };
    let mut gone = gone.as_slice();
    for inbox in puts.chunk_by(|a, b| a.put.inbox == b.put.inbox) {
        let Some(client) = inbox.first().map(|found| found.put.inbox) else { continue };
        let before = gone.partition_point(|fact| fact.inbox < client);
        raise_floor(index, gone.get(..before).unwrap_or_default());
        gone = gone.get(before..).unwrap_or_default();
        let (own, rest) = gone.split_at(gone.partition_point(|fact| fact.inbox == client));
        gone = rest;
        unite_inbox(index, inbox, own, &mut doubtful);
    }
    raise_floor(index, gone);
    doubtful
}

/// Of these inboxes no message is in any file.
fn raise_floor<F>(index: &mut Index<F>, gone: &[Gone]) {
    let end = gone.iter().map(|fact| fact.end).max().unwrap_or(0);
    index.raise_floor(end);
}

fn unite_inbox<F>(index: &mut Index<F>, puts: &[FoundPut], gone: &[Gone], doubtful: &mut Doubtful) {
    let Some(client) = puts.first().map(|found| found.put.inbox) else { return };
    let mut gone_end = 0;
    let mut gone = gone.iter().peekable();
    let mut dead: u32 = 0;
    for same in puts.chunk_by(|a, b| a.put.number == b.put.number) {
        let Some((stays, twins)) = same.split_last() else { continue };
        let number = stays.put.number;
        while let Some(fact) = gone.next_if(|fact| fact.first <= number) {
            gone_end = gone_end.max(fact.end);
        }
        let is_alive = !stays.is_torn && number >= gone_end;
        dead += u32::try_from(twins.len()).unwrap_or(u32::MAX);
        if twins.iter().any(|twin| !twin.is_torn && twin.put.checksum != stays.put.checksum) {
            tracing::error!(inbox = %client, "two different messages have the same number; the later one is served");
        }
        if is_alive {
            index.put(&stays.put, stays.slot);
            if stays.is_doubtful {
                doubtful.puts.push((stays.slot, stays.put));
            }
        } else {
            dead += 1;
        }
    }
    for fact in gone {
        gone_end = gone_end.max(fact.end);
    }
    let last = puts.last().map_or(0, |found| found.put.number + 1);
    index.found(&client, dead, last.max(gone_end));
}
