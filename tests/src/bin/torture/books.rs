//! The books: every message that was sent, whether it was acknowledged, and whether its client received it.
//!
//! A message is entered before its packet is sent, an ack when a mix node has read it, a delivery when the client's websocket
//! has handed it over. Nothing is ever taken out.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use ::tests::{account::Account, packet::FinalHopPacket};

use crate::{memory::Gap, order::Order};

/// How a SURB-ack is recognised: it begins with a public key that nobody else has.
type AckMark = [u8; 48];

/// Of every so many messages a part is kept, to be looked for where it should not be.
const SAMPLE: usize = 64;
/// Behind the number with which a message begins.
const SAMPLED: std::ops::Range<usize> = 8..32;

/// Which client.
pub(crate) type Inbox = usize;

/// A mix node's connection, within which packets stay in order.
pub(crate) type Stream = u64;

#[derive(Debug)]
struct Letter {
    inbox: Inbox,
    stream: Stream,
    digest: u64,
    sent: Instant,
    /// Since when its packet has been sent more than once.
    replayed: Option<Instant>,
    first_acked: Option<Instant>,
    acked: u32,
    delivered: u32,
}

#[derive(Debug, Default)]
struct Pages {
    /// By the number with which each message begins.
    letters: HashMap<u64, Letter>,
    acks: HashMap<AckMark, u64>,
    orders: HashMap<Inbox, Order>,
    out_of_order: Vec<String>,
    /// What of the past may be forgotten.
    gaps: Vec<Gap>,
    clients: Vec<Account>,
    samples: Vec<Vec<u8>>,
    /// Clients whose mail is gone because they wanted it.
    forgotten: HashSet<Inbox>,
    strange: Vec<String>,
}

/// Everything that is known.
#[derive(Debug, Default)]
pub(crate) struct Books {
    pages: Mutex<Pages>,
    hasher: RandomState,
}

/// The sums.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Messages handed to the gateway, or lost on the way.
    pub(crate) sent: usize,
    /// Of those, acknowledged.
    pub(crate) acked: usize,
    /// Neither acknowledged nor delivered.
    pub(crate) unanswered: usize,
    /// Packets that were sent more than once.
    pub(crate) replayed: usize,
    /// Of those, packets that the gateway must have known when they came again.
    pub(crate) replayed_known: usize,
    /// Acknowledged more than once, which is as it should be only if the first time may be forgotten.
    pub(crate) acked_again: usize,
    /// Delivered at least once.
    pub(crate) delivered: usize,
    /// Deliveries beyond the first.
    pub(crate) duplicates: usize,
    /// First deliveries out of order.
    pub(crate) out_of_order: Vec<String>,
    /// Acknowledged, and never delivered: number of the message, and whose it is.
    pub(crate) lost: Vec<(u64, Inbox)>,
    /// What should never happen at all.
    pub(crate) strange: Vec<String>,
}

impl Books {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A packet is about to be sent.
    pub(crate) fn sending(&self, inbox: Inbox, stream: Stream, packet: &FinalHopPacket) {
        let Some(number) = number_of(&packet.message) else { return };
        let mark = packet.surb_ack.as_ref().and_then(|ack| ack.packet.first_chunk().copied());
        let digest = self.hasher.hash_one(&packet.message);
        let mut pages = self.pages();
        if pages.letters.len().is_multiple_of(SAMPLE) {
            pages.samples.extend(packet.message.get(SAMPLED).map(<[u8]>::to_vec));
        }
        let sent = Instant::now();
        let letter = Letter { inbox, stream, digest, sent, replayed: None, first_acked: None, acked: 0, delivered: 0 };
        pages.letters.insert(number, letter);
        pages.acks.extend(mark.map(|mark| (mark, number)));
    }

    /// A packet is about to be sent once more.
    pub(crate) fn replaying(&self, packet: &FinalHopPacket) {
        let mut pages = self.pages();
        if let Some(letter) = number_of(&packet.message).and_then(|number| pages.letters.get_mut(&number)) {
            letter.replayed.get_or_insert_with(Instant::now);
        }
    }

    /// The gateway may have forgotten what it saw then.
    pub(crate) fn forgets(&self, gap: Gap) {
        self.pages().gaps.push(gap);
    }

    /// A mix node has received a packet.
    pub(crate) fn acked(&self, packet: &[u8]) {
        let mut pages = self.pages();
        let Pages { letters, acks, orders, strange, .. } = &mut *pages;
        let number = packet.first_chunk::<48>().and_then(|mark| acks.get(mark)).copied();
        match number.and_then(|number| Some((number, letters.get_mut(&number)?))) {
            Some((number, letter)) => {
                letter.acked += 1;
                let at = *letter.first_acked.get_or_insert_with(Instant::now);
                if letter.acked == 1 && letter.delivered == 0 {
                    orders.entry(letter.inbox).or_default().acked(number, at);
                }
            }
            None => strange.push(format!("a mix node was sent {} bytes that are no ack of ours", packet.len())),
        }
    }

    /// A client has received a message.
    pub(crate) fn delivered(&self, inbox: Inbox, message: &[u8]) {
        let digest = self.hasher.hash_one(message);
        let mut pages = self.pages();
        let Pages { letters, orders, out_of_order, strange, .. } = &mut *pages;
        let number = number_of(message).unwrap_or_default();
        match letters.get_mut(&number) {
            Some(letter) if letter.inbox == inbox && letter.digest == digest => {
                letter.delivered += 1;
                if letter.delivered == 1 {
                    let stream = letter.replayed.is_none().then_some(letter.stream);
                    let times = (letter.sent, letter.first_acked);
                    let wrong = orders.entry(inbox).or_default().delivered(number, stream, times);
                    out_of_order.extend(wrong.map(|wrong| format!("for client {inbox}, {wrong}")));
                }
            }
            Some(letter) if letter.inbox == inbox => strange.push(format!("message {number} was changed on its way")),
            Some(letter) => {
                strange.push(format!("message {number} for client {} came to client {inbox}", letter.inbox))
            }
            None => strange.push(format!("client {inbox} received a message that nobody sent")),
        }
    }

    /// A client has registered.
    pub(crate) fn registered(&self, account: &Account) {
        self.pages().clients.push(account.clone());
    }

    /// All clients there ever were.
    pub(crate) fn clients(&self) -> Vec<Account> {
        self.pages().clients.clone()
    }

    /// Parts of some messages.
    pub(crate) fn samples(&self) -> Vec<Vec<u8>> {
        self.pages().samples.clone()
    }

    /// A client asks to be forgotten: nobody owes it anything any more.
    pub(crate) fn forgotten(&self, inbox: Inbox) {
        self.pages().forgotten.insert(inbox);
    }

    /// Whether the message of this packet has been received.
    pub(crate) fn has_delivered(&self, packet: &FinalHopPacket) -> bool {
        let pages = self.pages();
        number_of(&packet.message)
            .and_then(|number| pages.letters.get(&number))
            .is_some_and(|letter| letter.delivered > 0)
    }

    /// The sums.
    pub(crate) fn tally(&self) -> Tally {
        let pages = self.pages();
        let mut tally = Tally {
            sent: pages.letters.len(),
            out_of_order: pages.out_of_order.clone(),
            strange: pages.strange.clone(),
            ..Tally::default()
        };
        for (number, letter) in &pages.letters {
            tally.acked += usize::from(letter.acked > 0);
            let seen = letter.first_acked.map(|acked| (letter.sent, acked));
            let is_known = seen.is_some_and(|(sent, acked)| !pages.gaps.iter().any(|gap| gap.may_hold(sent, acked)));
            tally.replayed += usize::from(letter.replayed.is_some());
            tally.replayed_known += usize::from(is_known && letter.replayed > letter.first_acked);
            tally.acked_again += usize::from(letter.acked > 1);
            if letter.acked > 1 && is_known {
                tally.strange.push(format!("message {number} was acknowledged {} times", letter.acked));
            }
            tally.delivered += usize::from(letter.delivered > 0);
            tally.unanswered += usize::from(letter.acked == 0 && letter.delivered == 0);
            tally.duplicates += letter.delivered.saturating_sub(1) as usize;
            if letter.acked > 0 && letter.delivered == 0 && !pages.forgotten.contains(&letter.inbox) {
                tally.lost.push((*number, letter.inbox));
            }
        }
        tally.lost.sort_unstable();
        tally
    }
}

fn number_of(message: &[u8]) -> Option<u64> {
    message.first_chunk().map(|number| u64::from_be_bytes(*number))
}

#[cfg(test)]
mod tests {
    use ::tests::{account::Identity, packet::PacketMaker};

    use super::*;

    #[test]
    fn what_is_lost_repeated_changed_or_out_of_order_is_seen() {
        let ack_hop = "127.0.0.1:1".parse().unwrap();
        let maker = PacketMaker { gateway: [9; 32], ack_hop, ack_key: [9; 32] };
        let packets = maker.make_many(Identity::random().address(), 4).unwrap();
        let books = Books::default();
        for packet in &packets {
            books.sending(7, 0, packet);
        }
        for packet in &packets[..3] {
            books.acked(&packet.surb_ack.as_ref().unwrap().packet);
        }
        for packet in [&packets[1], &packets[0], &packets[0]] {
            books.delivered(7, &packet.message);
        }
        let tally = books.tally();
        assert_eq!((tally.sent, tally.acked, tally.delivered, tally.duplicates, tally.unanswered), (4, 3, 2, 1, 1));
        assert_eq!(tally.out_of_order.len(), 1);
        assert_eq!(tally.lost.iter().map(|(_, inbox)| *inbox).collect::<Vec<_>>(), [7]);
        assert_eq!(tally.strange, [""; 0]);

        books.forgotten(7);
        assert_eq!(books.tally().lost, []);
        let mut changed = packets[3].message.clone();
        changed[100] ^= 1;
        books.delivered(7, &changed);
        books.delivered(8, &packets[3].message);
        books.delivered(7, b"12345678 and nobody sent it");
        books.acked(&[0; 386]);
        assert_eq!(books.tally().strange.len(), 4);
    }

    #[test]
    fn a_second_ack_is_excused_only_by_a_gap_in_the_memory() {
        let ack_hop = "127.0.0.1:1".parse().unwrap();
        let packet = PacketMaker { gateway: [9; 32], ack_hop, ack_key: [9; 32] }
            .make_many(Identity::random().address(), 1)
            .unwrap()
            .remove(0);
        let books = Books::default();
        let before = Instant::now();
        books.sending(7, 0, &packet);
        books.acked(&packet.surb_ack.as_ref().unwrap().packet);
        books.forgets(Gap { from: Some(Instant::now()), to: Instant::now() });
        books.replaying(&packet);
        assert_eq!((books.tally().replayed_known, books.tally().strange.len()), (1, 0));
        books.acked(&packet.surb_ack.as_ref().unwrap().packet);
        assert_eq!((books.tally().acked_again, books.tally().strange.len()), (1, 1));
        books.forgets(Gap { from: Some(before), to: Instant::now() });
        assert_eq!((books.tally().acked_again, books.tally().strange.len()), (1, 0));
        assert_eq!(books.tally().replayed_known, 0);
    }
}
