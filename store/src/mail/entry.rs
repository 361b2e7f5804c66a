//! One fact about an inbox, as it stands in a frame's head: 64 bytes, little-endian.
//!
//! | at | bytes | put | gone |
//! |---|---|---|---|
//! | 0 | 32 | inbox | inbox |
//! | 32 | 8 | number of the message | first number that is gone |
//! | 40 | 8 | arrival, Unix milliseconds (48 bits) | first number that is not |
//! | 48 | 4 | bytes of the body | 0 |
//! | 52 | 4 | CRC-32 of bytes 0 to 51, the flags unless they are 0, and the body | CRC-32 of bytes 0 to 51 |
//! | 56 | 4 | place: offset of the body in the segment, in units of 8 bytes | 0 |
//! | 60 | 1 | 1 | 2 |
//! | 61 | 1 | flags: 1 if it came without a SURB-ack | 0 |
//! | 62 | 2 | 0 | 0 |
//!
//! Earlier versions wrote 0 in place of the flags. So mail that they stored counts as mail that came with a SURB-ack, and its
//! checksum is still good.
//!
//! The checksum covers neither place nor kind, so it goes with a message unchanged from its arrival over every copy to its
//! delivery; since it covers inbox and number, a body that was read from a wrong place does not pass.

use bytes::{Buf, BufMut};
use ipc::ingress_store::Ack;
use session_ipc::Sequence;
use wire::address::ClientAddress;

/// Bytes of an entry.
pub(super) const ENTRY: usize = 64;
/// Bodies begin at a multiple of this.
pub(super) const PLACE_UNIT: u64 = 8;
/// No message was ever larger than the plaintext of the largest packet.
pub(super) const MAX_BODY: usize = 64 * 1024;
/// The latest arrival that can be written.
const LATEST: u64 = (1 << 48) - 1;

const PUT: u8 = 1;
const GONE: u8 = 2;
/// The flag of a message that came without a SURB-ack.
const ACKLESS: u8 = 1;

/// A fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    /// There is a message.
    Put(Put),
    /// The messages of a range are gone, whether or not they are found anywhere.
    Gone(Gone),
}

/// A message, and where its body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Put {
    pub(super) inbox: ClientAddress,
    pub(super) number: u64,
    /// Unix milliseconds.
    pub(super) arrival: u64,
    /// Whether it came with a SURB-ack.
    pub(super) ack: Ack,
    /// Bytes of the body.
    pub(super) len: u32,
    pub(super) checksum: u32,
    /// Offset of the body in its segment, in units of [`PLACE_UNIT`].
    pub(super) place: u32,
}

/// Numbers of an inbox, from `first` on, before `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Gone {
    pub(super) inbox: ClientAddress,
    pub(super) first: u64,
    pub(super) end: u64,
}

impl Put {
    /// A new message. Its place is set when its frame is made.
    pub(super) fn new(inbox: ClientAddress, number: Sequence, arrival: u64, ack: Ack, body: &[u8]) -> Self {
        let len = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let mut put = Self { inbox, number: number.0, arrival: arrival.min(LATEST), ack, len, checksum: 0, place: 0 };
        put.checksum = put.checksum_with(body);
        put
    }

    /// Whether these bytes are its body.
    pub(super) fn is_body(&self, bytes: &[u8]) -> bool {
        bytes.len() == self.len as usize && self.checksum_with(bytes) == self.checksum
    }

    fn checksum_with(&self, body: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&covered(&self.inbox, self.number, self.arrival, self.len));
        match self.flags() {
            0 => {}
            flags => hasher.update(&[flags]),
        }
        hasher.update(body);
        hasher.finalize()
    }

    const fn flags(&self) -> u8 {
        match self.ack {
            Ack::Owed => 0,
            Ack::NotOwed => ACKLESS,
        }
    }

    /// Bytes that a body of this length takes in a frame.
    pub(super) const fn room(&self) -> u64 {
        (self.len as u64).next_multiple_of(PLACE_UNIT)
    }

    /// Where the body is, in bytes from the start of the segment.
    pub(super) const fn offset(&self) -> u64 {
        self.place as u64 * PLACE_UNIT
    }
}

impl Fact {
    /// Whose inbox.
    pub(super) const fn inbox(&self) -> &ClientAddress {
        match self {
            Self::Put(put) => &put.inbox,
            Self::Gone(gone) => &gone.inbox,
        }
    }

    pub(super) fn encode(&self) -> [u8; ENTRY] {
        let (head, checksum, place, kind, flags) = match self {
            Self::Put(put) => {
                let head = covered(&put.inbox, put.number, put.arrival, put.len);
                (head, put.checksum, put.place, PUT, put.flags())
            }
            Self::Gone(gone) => {
                let head = covered(&gone.inbox, gone.first, gone.end, 0);
                (head, crc32fast::hash(&head), 0, GONE, 0)
            }
        };
        let mut bytes = [0; ENTRY];
        let mut at = &mut bytes[..];
        at.put_slice(&head);
        at.put_u32_le(checksum);
        at.put_u32_le(place);
        at.put_u8(kind);
        at.put_u8(flags);
        bytes
    }

    /// The fact in these bytes; nothing if this version knows no such fact. The caller has checked the hash of the head.
    pub(super) fn decode(bytes: &[u8; ENTRY]) -> Option<Self> {
        let (inbox, mut rest) = bytes.split_first_chunk::<{ ClientAddress::LEN }>()?;
        let inbox = ClientAddress(*inbox);
        let (number, second) = (rest.get_u64_le(), rest.get_u64_le());
        let (len, checksum, place) = (rest.get_u32_le(), rest.get_u32_le(), rest.get_u32_le());
        match rest {
            [PUT, flags @ (0 | ACKLESS), 0, 0] => {
                let ack = if *flags == ACKLESS { Ack::NotOwed } else { Ack::Owed };
                let is_message = len as usize <= MAX_BODY && second <= LATEST && number < u64::MAX;
                is_message.then_some(Self::Put(Put { inbox, number, arrival: second, ack, len, checksum, place }))
            }
            [GONE, 0, 0, 0] => (number < second).then_some(Self::Gone(Gone { inbox, first: number, end: second })),
            _ => None,
        }
    }
}

/// Bytes that the checksum covers, beside the body.
const COVERED: usize = 52;

fn covered(inbox: &ClientAddress, first: u64, second: u64, len: u32) -> [u8; COVERED] {
    let mut bytes = [0; COVERED];
    let mut at = &mut bytes[..];
    at.put_slice(inbox.as_bytes());
    at.put_u64_le(first);
    at.put_u64_le(second);
    at.put_u32_le(len);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CLIENT: ClientAddress = ClientAddress([7; 32]);

    #[test]
    fn a_put_and_a_gone_fact_have_these_bytes() {
        for (ack, flags) in [(Ack::Owed, &[][..]), (Ack::NotOwed, &[1])] {
            let put = Put { place: 9, ..Put::new(CLIENT, Sequence(5), 0x0102_0304_0506, ack, b"body") };
            let covered =
                [&[7; 32][..], &5_u64.to_le_bytes(), &0x0102_0304_0506_u64.to_le_bytes(), &4_u32.to_le_bytes()];
            let sum = crc32fast::hash(&[&covered.concat(), flags, b"body"].concat()).to_le_bytes();
            let kind = [1, u8::from(!flags.is_empty()), 0, 0];
            let expected = [&covered.concat(), &sum[..], &9_u32.to_le_bytes(), &kind];
            assert_eq!(Fact::Put(put).encode().to_vec(), expected.concat());
        }
        let gone = Gone { inbox: CLIENT, first: 3, end: 8 };
        let covered = [&[7; 32][..], &3_u64.to_le_bytes(), &8_u64.to_le_bytes(), &[0; 4]].concat();
        let sum = crc32fast::hash(&covered).to_le_bytes();
        assert_eq!(Fact::Gone(gone).encode().to_vec(), [&covered[..], &sum, &[0; 4], &[2, 0, 0, 0]].concat());
    }

    #[test]
    fn a_fact_out_of_its_bounds_is_none() {
        // What fits six bytes, which is all that the index in memory has for it.
        let latest = 0xffff_ffff_ffff;
        assert_eq!(Put::new(CLIENT, Sequence(0), u64::MAX, Ack::Owed, b"").arrival, latest);
        let put = Put { len: 65_536, ..Put::new(CLIENT, Sequence(u64::MAX - 1), latest, Ack::Owed, b"") };
        let is_fact = |fact: Fact| Fact::decode(&fact.encode()) == Some(fact);
        assert!(is_fact(Fact::Put(put)));
        for other in [Put { len: 65_537, ..put }, Put { arrival: latest + 1, ..put }, Put { number: u64::MAX, ..put }] {
            assert!(!is_fact(Fact::Put(other)), "{other:?}");
        }
        let gone = |end| is_fact(Fact::Gone(Gone { inbox: CLIENT, first: 3, end }));
        assert_eq!([2, 3, 4].map(gone), [false, false, true]);
    }

    #[test]
    fn a_body_passes_only_for_its_inbox_number_and_arrival() {
        let put = Put::new(CLIENT, Sequence(5), 77, Ack::Owed, b"body");
        assert!(put.is_body(b"body") && Put { place: 9, ..put }.is_body(b"body"));
        for other in [
            Put { inbox: ClientAddress([8; 32]), ..put },
            Put { number: 6, ..put },
            Put { arrival: 78, ..put },
            Put { len: 3, ..put },
            Put { ack: Ack::NotOwed, ..put },
        ] {
            assert!(!other.is_body(b"body"), "{other:?}");
        }
        assert!(!put.is_body(b"bodY") && !put.is_body(b"body "));
    }

    proptest! {
        #[test]
        fn facts_round_trip(inbox: [u8; 32], number in 0..u64::MAX, arrival in 0..=LATEST, place: u32, body: Vec<u8>) {
            let ack = if place.is_multiple_of(2) { Ack::Owed } else { Ack::NotOwed };
            let put = Put { place, ..Put::new(ClientAddress(inbox), Sequence(number), arrival, ack, &body) };
            prop_assert_eq!(Fact::decode(&Fact::Put(put).encode()), Some(Fact::Put(put)));
            let gone = Fact::Gone(Gone { inbox: ClientAddress(inbox), first: number, end: number + 1 });
            prop_assert_eq!(Fact::decode(&gone.encode()), Some(gone));
        }

        #[test]
        fn any_bytes_are_a_fact_that_encodes_so_or_none(bytes: [u8; ENTRY], kind in 0..4_u8, flags in 0..3_u8) {
            let mut bytes = bytes;
            bytes[60..].copy_from_slice(&[kind, flags, 0, 0]);
            if let Some(fact) = Fact::decode(&bytes) {
                prop_assert_eq!(Fact::decode(&fact.encode()), Some(fact));
            }
        }
    }
}
