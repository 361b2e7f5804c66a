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
    let mut end = 0;
    for same in puts.chunk_by(|a, b| a.put.number == b.put.number) {
        let Some((stays, twins)) = same.split_last() else { continue };
        let number = stays.put.number;
        while let Some(fact) = gone.next_if(|fact| fact.first <= number) {
            gone_end = gone_end.max(fact.end);
        }
        let is_alive = !stays.is_torn && number >= gone_end;
        dead += u32::try_from(twins.len()).unwrap_or(u32::MAX);
        if !index.takes(&client, number) {
            tracing::error!(
                id = "GWD-S057", inbox = %client, number,
                "a message is too far behind the first of its inbox to have been stored there; it is not served"
            );
            dead += 1;
            continue;
        }
        end = number + 1;
        if twins.iter().any(|twin| !twin.is_torn && twin.put.checksum != stays.put.checksum) {
            tracing::error!(
                id = "GWD-S040", inbox = %client,
                "two different messages have the same number; the later one is served"
            );
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
    index.found(&client, dead, end.max(gone_end));
}

#[cfg(test)]
mod tests {
    use ipc::ingress_store::Ack;
    use session_ipc::Sequence;

    use super::*;

    const CLIENT: ClientAddress = ClientAddress([1; 32]);

    /// A message with this number that was found in a segment.
    fn found(number: u64, segment: u16) -> FoundPut {
        let put = Put::new(CLIENT, Sequence(number), 7, Ack::Owed, b"body");
        FoundPut { put, slot: Slot(segment), number: SegmentNumber(segment.into()), is_doubtful: false, is_torn: false }
    }

    fn united(puts: Vec<FoundPut>, gone: Vec<Gone>) -> (Index<()>, Doubtful) {
        let mut index = Index::default();
        let doubtful = unite(&mut index, Findings { puts, gone, ..Findings::default() });
        (index, doubtful)
    }

    #[test]
    fn of_several_copies_the_surest_is_served_or_else_the_last() {
        let torn = |copy| FoundPut { is_torn: true, ..copy };
        let doubtful = |copy| FoundPut { is_doubtful: true, ..copy };
        let (one, two) = (found(5, 1), found(5, 2));
        for (copies, served, in_doubt) in [
            ([one, two], 2, 0),
            ([one, torn(two)], 1, 0),
            ([one, doubtful(two)], 1, 0),
            ([doubtful(one), torn(two)], 1, 1),
            ([doubtful(one), doubtful(two)], 2, 1),
        ] {
            for copies in [copies, [copies[1], copies[0]]] {
                let (index, doubtful) = united(copies.to_vec(), Vec::new());
                let message = index.inbox(&CLIENT).unwrap().get(5).unwrap().spot().slot;
                assert_eq!((message, doubtful.puts.len()), (Slot(served), in_doubt), "{copies:?}");
                assert_eq!(index.dead(&CLIENT), 1);
            }
        }
    }

    #[test]
    fn a_number_is_spent_by_what_is_torn_or_gone() {
        let (index, _) = united(vec![FoundPut { is_torn: true, ..found(5, 1) }], Vec::new());
        let inbox = index.inbox(&CLIENT).unwrap();
        assert_eq!((inbox.next(), inbox.dead(), inbox.holding().messages), (6, 1, 0));
        let gone = Gone { inbox: CLIENT, first: 3, end: 9 };
        let (index, _) = united(vec![found(2, 1), found(5, 1)], vec![gone]);
        let inbox = index.inbox(&CLIENT).unwrap();
        assert_eq!((inbox.next(), inbox.dead(), inbox.holding().messages), (9, 1, 1));
    }

    /// Such files were never written. The numbers of an inbox are counted from its first message in 32 bits.
    #[test]
    fn a_message_far_behind_the_first_is_dead_and_spends_no_number() {
        let far = 3 + u64::from(u32::MAX);
        let (index, _) =
            united(vec![found(3, 1), found(far, 1), found(far + 1, 1), found(u64::MAX - 1, 1)], Vec::new());
        let inbox = index.inbox(&CLIENT).unwrap();
        assert_eq!(inbox.messages().map(|(number, _)| number).collect::<Vec<_>>(), [3, far]);
        assert_eq!((inbox.next(), inbox.dead()), (far + 1, 2));
    }
}
