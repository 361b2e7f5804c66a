//! The oracle's book: what each mix node and each client of a test enters.
//!
//! A message is entered before its packet is sent, an ack when a mix node has read it, a delivery when the client's websocket
//! has handed it over. Nothing is ever taken out.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    ops::Range,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use super::{
    again,
    disruption::{Disruption, Harm},
    gap::Gap,
    names::{AckMark, Inbox, Link, Stream},
    session::Session,
    state::{Record, State},
};
use crate::{account::Account, packet::FinalHopPacket};

/// Of every so many messages and their SURB-acks the ends are kept, to be looked for where they should not be.
const SAMPLE: usize = 64;
/// Bytes of an end.
const END: usize = 16;

/// Everything that is known.
#[derive(Debug, Default)]
pub struct Oracle {
    state: Mutex<State>,
    hasher: RandomState,
}

impl Oracle {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A packet is about to be sent.
    pub fn sending(&self, inbox: Inbox, stream: Stream, packet: &FinalHopPacket) {
        let Some(number) = number_of(&packet.message) else { return };
        let ack = packet.surb_ack.as_ref().map(|ack| &ack.packet);
        let mark = ack.and_then(|ack| Some((*ack.first_chunk()?, (number, self.hasher.hash_one(ack)))));
        let digest = self.hasher.hash_one(&packet.message);
        let mut state = self.state();
        if state.records.len().is_multiple_of(SAMPLE) {
            for bytes in [Some(&packet.message), ack].into_iter().flatten() {
                let ends = [bytes.first_chunk::<END>(), bytes.last_chunk::<END>()];
                state.samples.extend(ends.into_iter().flatten().map(|end| end.to_vec()));
            }
        }
        let sent = Instant::now();
        let record = Record {
            inbox,
            stream,
            digest,
            sent,
            replayed: None,
            first_acked: None,
            first_delivered: None,
            last_came: None,
            owes_ack: mark.is_some(),
            acked_over: None,
            acked: 0,
            delivered: 0,
        };
        state.records.insert(number, record);
        state.acks.extend(mark);
    }

    /// A packet is about to be sent once more.
    pub fn replaying(&self, packet: &FinalHopPacket) {
        let mut state = self.state();
        if let Some(record) = number_of(&packet.message).and_then(|number| state.records.get_mut(&number)) {
            record.replayed.get_or_insert_with(Instant::now);
        }
    }

    /// The gateway may have forgotten what it saw then.
    pub fn forgets(&self, gap: Gap) {
        self.state().gaps.push(gap);
    }

    /// Something was done to the gateway.
    pub fn suffered(&self, harm: Harm, when: Range<Instant>) {
        self.state().disruptions.push(Disruption { harm, when });
    }

    /// Whether this process was ever replaced, or stood still.
    pub fn was_harmed(&self, process: &str) -> bool {
        self.state().disruptions.iter().any(|disruption| disruption.harm.is_to(process))
    }

    /// The gateway has closed a mix node's connection.
    pub fn cut(&self, stream: Stream) {
        self.state().cuts.entry(stream).or_insert_with(Instant::now);
    }

    /// A mix node has received a packet over this connection.
    pub fn acked(&self, over: Link, packet: &[u8]) {
        let digest = self.hasher.hash_one(packet);
        let mut state = self.state();
        let State { records, acks, orders, strange, .. } = &mut *state;
        let known = packet.first_chunk().and_then(|mark: &AckMark| acks.get(mark)).copied();
        match known.and_then(|(number, whole)| Some((number, whole, records.get_mut(&number)?))) {
            Some((number, whole, _)) if whole != digest => {
                strange.push(format!("the SURB-ack of message {number} was changed on its way"));
            }
            Some((number, _, record)) => {
                record.acked += 1;
                record.acked_over.get_or_insert(over);
                let at = *record.first_acked.get_or_insert_with(Instant::now);
                if record.acked == 1 && record.delivered == 0 {
                    orders.entry(record.inbox).or_default().acked(number, at);
                }
            }
            None => strange.push(format!("a mix node was sent {} bytes that are no ack of ours", packet.len())),
        }
    }

    /// A connection over which SURB-acks came has ended in the middle of one.
    pub fn acked_in_part(&self, len: usize) {
        self.state().parts.push((Instant::now(), len));
    }

    /// A mix node was sent bytes that are no packet.
    pub fn sent_garbage(&self, what: &str) {
        self.state().strange.push(format!("a mix node was sent bytes that are no packet: {what}"));
    }

    /// Something has happened that must not.
    pub fn note(&self, what: String) {
        self.state().strange.push(what);
    }

    /// A client has received a message.
    pub fn delivered(&self, inbox: Inbox, message: &[u8]) {
        let digest = self.hasher.hash_one(message);
        let mut state = self.state();
        let State { records, orders, out_of_order, sessions, again, strange, .. } = &mut *state;
        let number = number_of(message).unwrap_or_default();
        match records.get_mut(&number) {
            Some(record) if record.inbox == inbox && record.digest == digest => {
                record.delivered += 1;
                record.first_delivered.get_or_insert_with(Instant::now);
                again.extend(again::note(sessions.entry(inbox).or_default(), inbox, number, record));
                if record.delivered == 1 {
                    let stream = record.replayed.is_none().then_some(record.stream);
                    let times = (record.sent, record.first_acked);
                    let wrong = orders.entry(inbox).or_default().delivered(number, stream, times);
                    out_of_order.extend(wrong.map(|wrong| format!("for client {inbox}, {wrong}")));
                }
            }
            Some(record) if record.inbox == inbox => strange.push(format!("message {number} was changed on its way")),
            Some(record) => {
                strange.push(format!("message {number} for client {} came to client {inbox}", record.inbox))
            }
            None => strange.push(format!("client {inbox} received a message that nobody sent")),
        }
    }

    /// A client has registered.
    pub fn registered(&self, account: &Account) {
        self.state().clients.push(account.clone());
    }

    /// All clients there ever were.
    pub fn clients(&self) -> Vec<Account> {
        self.state().clients.clone()
    }

    /// A client was let in.
    pub fn session_begins(&self, inbox: Inbox) {
        self.state().sessions.entry(inbox).or_default().push(Session::default());
    }

    /// A client was let in.
    pub fn let_in(&self) {
        self.state().let_in += 1;
    }

    /// How many times clients were let in.
    pub fn times_let_in(&self) -> usize {
        self.state().let_in
    }

    /// A client was refused or disconnected for this reason.
    pub fn turned_away(&self, reason: String) {
        *self.state().refusals.entry(reason).or_default() += 1;
    }

    /// How many times clients were refused, by reason.
    pub fn refusals(&self) -> BTreeMap<String, usize> {
        self.state().refusals.clone()
    }

    /// Parts of some messages.
    pub fn samples(&self) -> Vec<Vec<u8>> {
        self.state().samples.clone()
    }

    /// A client asks to be forgotten: no mail is owed to it from now on.
    pub fn forgotten(&self, inbox: Inbox) {
        self.state().forgotten.insert(inbox);
    }

    /// Whether the message of this packet has been acknowledged.
    pub fn has_acked(&self, packet: &FinalHopPacket) -> bool {
        let state = self.state();
        number_of(&packet.message).and_then(|number| state.records.get(&number)).is_some_and(|record| record.acked > 0)
    }

    /// Whether the message of this packet has been received.
    pub fn has_delivered(&self, packet: &FinalHopPacket) -> bool {
        let state = self.state();
        number_of(&packet.message)
            .and_then(|number| state.records.get(&number))
            .is_some_and(|record| record.delivered > 0)
    }
}

fn number_of(message: &[u8]) -> Option<u64> {
    message.first_chunk().map(|number| u64::from_be_bytes(*number))
}

#[cfg(test)]
mod tests {
    use crate::{account::Identity, packet::PacketMaker};

    use super::*;

    #[test]
    fn what_is_lost_repeated_changed_or_out_of_order_is_seen() {
        let ack_hop = "127.0.0.1:1".parse().unwrap();
        let maker = PacketMaker { gateway: [9; 32], ack_hop, ack_key: [9; 32] };
        let packets = maker.make_many(Identity::random().address(), 4).unwrap();
        let oracle = Oracle::default();
        for packet in &packets {
            oracle.sending(7, 0, packet);
        }
        for packet in &packets[..3] {
            oracle.acked(0, &packet.surb_ack.as_ref().unwrap().packet);
        }
        for packet in [&packets[1], &packets[0], &packets[0]] {
            oracle.delivered(7, &packet.message);
        }
        let tally = oracle.tally();
        assert_eq!((tally.sent, tally.acked, tally.delivered, tally.duplicates, tally.unanswered), (4, 3, 2, 1, 1));
        assert_eq!(tally.out_of_order.len(), 1);
        assert_eq!(tally.lost.iter().map(|(_, inbox)| *inbox).collect::<Vec<_>>(), [7]);
        assert_eq!(tally.strange, [""; 0]);

        oracle.forgotten(7);
        assert_eq!(oracle.tally().lost, []);
        let mut changed = packets[3].message.clone();
        changed[100] ^= 1;
        oracle.delivered(7, &changed);
        oracle.delivered(8, &packets[3].message);
        oracle.delivered(7, b"12345678 and nobody sent it");
        oracle.acked(0, &[0; 386]);
        let mut altered = packets[3].surb_ack.as_ref().unwrap().packet.clone();
        altered[385] ^= 1;
        oracle.acked(0, &altered);
        assert_eq!(oracle.tally().strange.len(), 5);
    }

    #[test]
    fn a_second_ack_is_excused_only_by_a_gap_in_the_memory() {
        let ack_hop = "127.0.0.1:1".parse().unwrap();
        let packet = PacketMaker { gateway: [9; 32], ack_hop, ack_key: [9; 32] }
            .make_many(Identity::random().address(), 1)
            .unwrap()
            .remove(0);
        let oracle = Oracle::default();
        let before = Instant::now();
        oracle.sending(7, 0, &packet);
        oracle.acked(0, &packet.surb_ack.as_ref().unwrap().packet);
        oracle.forgets(Gap { from: Some(Instant::now()), to: Instant::now() });
        oracle.replaying(&packet);
        assert_eq!((oracle.tally().replayed_known, oracle.tally().strange.len()), (1, 0));
        oracle.acked(0, &packet.surb_ack.as_ref().unwrap().packet);
        assert_eq!((oracle.tally().acked_again, oracle.tally().strange.len()), (1, 1));
        oracle.forgets(Gap { from: Some(before), to: Instant::now() });
        assert_eq!((oracle.tally().acked_again, oracle.tally().strange.len()), (1, 0));
        assert_eq!(oracle.tally().replayed_known, 0);
    }
}
