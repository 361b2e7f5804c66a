//! What all files together say: which messages are alive, and which of them may not be on the medium.

use std::collections::BTreeSet;

use wire::address::ClientAddress;

use super::{
    entry::{Gone, Put},
    index::Index,
    segment::{SegmentNumber, Slot},
};

/// A message that was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct FoundPut {
    pub(super) put: Put,
    pub(super) slot: Slot,
    pub(super) number: SegmentNumber,
    /// Whether it may not be on the medium.
    pub(super) is_doubtful: bool,
    /// Its body was not written whole.
    pub(super) is_torn: bool,
}

/// All that was found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) puts: Vec<FoundPut>,
    pub(super) gone: Vec<Gone>,
    /// Inboxes with a fact that may not be on the medium.
    pub(super) doubtful: BTreeSet<ClientAddress>,
    pub(super) was_unclean: bool,
}

/// What is in doubt.
#[derive(Debug, Default)]
pub(super) struct Doubtful {
    pub(super) puts: Vec<(Slot, Put)>,
    pub(super) gone: BTreeSet<ClientAddress>,
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
