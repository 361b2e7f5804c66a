//! What a start finds in the directory, and what it makes sure of before anything rests on it.
//!
//! Where no process has closed a segment with an index, its last batch is **in doubt**: it may be in the kernel's memory and not on the
//! medium, or its sync may have failed, and the process that was told is dead. What is alive of the batch is written to a new segment
//! and synced before anything is served, removed, or dropped. Otherwise a copy that is only in memory could count as the message, and
//! its original be removed.
//!
//! If the last process did not end in order, every inbox's next number leaps: a message that cannot be seen now may be seen at a later
//! start.

use std::sync::Arc;

use worker::counter::count;

use super::{
    Chores, Log, MailboxError, Settings,
    append::{Appender, Item},
    copy::pieces,
    entry::Fact,
    failed,
    findings::{Doubtful, Findings, FoundPut, unite},
    identify::{Identified, identify},
    index::{Index, MAX_SEGMENTS, Segment, State},
    pace::Pace,
    read::read_body,
    scan::{self, Found},
    segment::{BLOCK, SegmentNumber, Stream},
    shelf::{SegmentFile, Shelf},
    spares::{Spares, UNREADY},
    victim::Need,
};
use crate::counters::StoreCounters;

/// How far numbers leap if the last process did not end in order.
pub(super) const LEAP: u64 = 1 << 16;
/// Bytes of messages that are made sure of at once.
const AT_ONCE: u64 = 2 * 1024 * 1024;
/// Extension of a file that should be a segment and is none that can be read.
const DAMAGED: &str = ".damaged";

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
                            id = "GWD-S044",
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
                tracing::warn!(id = "GWD-S045", %error, "segments of the previous process cannot be removed now");
                break;
            }
        }
    }

    /// Writes everything in doubt to a new segment.
    fn make_sure(&self, doubtful: &Doubtful, now: u64) -> Result<(), MailboxError> {
        let mut copier = self.lock_copier();
        for piece in pieces(&doubtful.puts, AT_ONCE) {
            self.copy(&mut copier, piece, now).map_err(failed("rewrite what is in doubt"))?;
        }
        let facts: Vec<Fact> = {
            let index = self.index();
            let needed = doubtful.gone.iter().filter(|client| index.dead(client) > 0);
            needed.flat_map(|client| index.all_gone(client)).collect()
        };
        let facts: Vec<Item<'_>> = facts.iter().map(|fact| (*fact, &[][..])).collect();
        copier.append(self, &facts, now).map_err(|failure| failed("rewrite what is in doubt")(failure.error))?;
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
            id = "GWD-S046",
            file,
            offset,
            "a segment of mail is damaged there; what is in front of it and behind it is served"
        );
    }
    if found.unknown > 0 {
        count(&counters.mail_damaged);
        tracing::error!(
            id = "GWD-S047",
            file,
            entries = found.unknown,
            "a segment of mail has entries that this version does not know"
        );
    }
    if found.is_torn {
        tracing::info!(file, offset = found.end, "the last write to a segment was cut off; it was not acknowledged");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn each_hole_and_what_is_unknown_counts_as_damage() {
        let damages = |found: Found| {
            let counters = StoreCounters::default();
            report(SegmentNumber(1), &found, &counters);
            counters.mail_damaged.load(Ordering::Relaxed)
        };
        assert_eq!(damages(Found::default()), 0);
        assert_eq!(damages(Found { is_torn: true, ..Found::default() }), 0);
        assert_eq!(damages(Found { unknown: 2, ..Found::default() }), 1);
        assert_eq!(damages(Found { holes: vec![4_096, 8_192], unknown: 1, ..Found::default() }), 3);
    }
}
