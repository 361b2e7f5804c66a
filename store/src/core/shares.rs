//! What an inbox may hold: more for a client that has proved to read, and less the fuller the store is.
//!
//! Accounts cost nothing, so without a rule accounts that never read could fill the store and keep all other mail out. A share has two
//! factors:
//!
//! - **The class of its client.** A newcomer has never proved to have received anything, and may fill a part of an inbox. Its class
//!   rises with the first message that it has proved to have received, and after that each time that those are a quarter of its share,
//!   in messages or in bytes. With each class its share doubles, up to the whole inbox.
//! - **How full the store is.** While at least half is free, shares are whole. Beyond that the shares of all risen clients shrink in
//!   proportion, down to nothing when the store is full; newcomers have nothing left when it is three quarters full. So the largest and
//!   the newest inboxes are refused first, newcomers alone never fill the store, and a small inbox of a client that reads finds room.
//!
//! Mail that goes to its client at once takes no room, and needs no share. Mail without a SURB-ack has a quota of its own in each
//! inbox, whatever the class of its client; it shrinks like the share of a newcomer, so all such mail never fills the store either.

use super::load::Load;
use crate::mailbox::{Class, Filling};

/// The part of a share that has to be received for the next class: one in so many.
const TO_RISE: u64 = 4;
/// Shares are whole while no more than this is full, in thousandths.
const EASE: u64 = 500;
/// Newcomers have no share when this is full, in thousandths.
const NEWCOMERS_END: u64 = 750;
/// All of the store, in thousandths.
const ALL: u64 = 1_000;

/// Messages without a SURB-ack that an inbox keeps at the most. A client of today sends 50 packets a second and has an acknowledgement for
/// each, so these are those of the last five seconds; what is not acknowledged by then, it has sent again.
const ACKLESS: u64 = 256;

/// What inboxes may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shares {
    /// What any inbox may hold at the most.
    whole: Load,
    /// A newcomer's share is one in so many of that. With 1 there are no shares: each inbox may be filled.
    newcomer: u64,
}

impl Shares {
    pub(super) fn new(whole: Load, newcomer: u32) -> Self {
        Self { whole, newcomer: u64::from(newcomer.max(1)) }
    }

    /// Whether an inbox that holds so much may take so many bytes more, to be stored.
    pub(super) fn admit(&self, class: Class, load: Load, len: usize, filling: Filling) -> bool {
        let share = self.share(class, filling);
        load.messages < share.messages && load.bytes + len as u64 <= share.bytes
    }

    /// How many messages without a SURB-ack any inbox may hold.
    pub(super) fn ackless(&self, filling: Filling) -> u64 {
        self.left(ACKLESS.min(self.whole.messages), NEWCOMERS_END, filling)
    }

    /// The lowest class whose share covers what is stored. An earlier version of the gateway kept no classes.
    pub(super) fn covering(&self, stored: Load) -> Class {
        let covers = |class: &Class| {
            let most = self.most(*class);
            self.is_highest(*class) || stored.messages <= most.messages && stored.bytes <= most.bytes
        };
        (0..u8::MAX).map(Class).find(covers).unwrap_or_default()
    }

    /// The next class of a client that has proved to have received `proved` since it rose to this one, if that is enough. At least one
    /// message must have been proved.
    pub(super) fn risen(&self, class: Class, proved: Load) -> Option<Class> {
        let most = self.most(class);
        let is_part = |proved: u64, most: u64| proved >= (most / TO_RISE).max(1);
        let enough =
            class == Class::NEWCOMER || is_part(proved.messages, most.messages) || is_part(proved.bytes, most.bytes);
        (enough && !self.is_highest(class)).then_some(Class(class.0 + 1))
    }

    /// What an inbox of this class may hold now.
    pub(super) fn share(&self, class: Class, filling: Filling) -> Load {
        let most = self.most(class);
        let end = if class == Class::NEWCOMER { NEWCOMERS_END } else { ALL };
        Load { messages: self.left(most.messages, end, filling), bytes: self.left(most.bytes, end, filling) }
    }

    /// What is left of `most`: all while the store is half empty, nothing once it is full up to `end`.
    fn left(&self, most: u64, end: u64, filling: Filling) -> u64 {
        let full = filling.thousandths();
        if self.newcomer == 1 || full <= EASE {
            return most;
        }
        let left = end.saturating_sub(full) * ALL / (end - EASE);
        u64::try_from(u128::from(most) * u128::from(left) / u128::from(ALL)).unwrap_or(u64::MAX)
    }

    /// What the class may hold while there is room.
    fn most(&self, class: Class) -> Load {
        let part = |whole: u64| {
            let grown =
                u128::from(whole).checked_shl(u32::from(class.0)).unwrap_or(u128::MAX) / u128::from(self.newcomer);
            u64::try_from(grown).unwrap_or(u64::MAX).min(whole)
        };
        Load { messages: part(self.whole.messages), bytes: part(self.whole.bytes) }
    }

    fn is_highest(&self, class: Class) -> bool {
        class.0 >= 32 || 1 << class.0 >= self.newcomer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WHOLE: Load = Load { messages: 50_000, bytes: 128 << 20 };
    const SHARES: Shares = Shares { whole: WHOLE, newcomer: 64 };

    fn full(thousandths: u64) -> Filling {
        Filling { alive: thousandths, capacity: 1_000 }
    }

    fn share(class: u8, thousandths: u64) -> (u64, u64) {
        let share = SHARES.share(Class(class), full(thousandths));
        (share.messages, share.bytes)
    }

    #[test]
    fn a_newcomer_has_a_part_and_each_class_twice_as_much() {
        assert_eq!(share(0, 0), (781, 2 << 20));
        assert_eq!(share(1, 500), (1_562, 4 << 20));
        assert_eq!((share(6, 0), share(7, 0)), ((50_000, 128 << 20), (50_000, 128 << 20)));
        assert_eq!(SHARES.share(Class(255), full(0)), WHOLE);
    }

    #[test]
    fn shares_shrink_when_half_is_full_and_those_of_newcomers_first() {
        assert_eq!((share(0, 625), share(0, 750)), ((390, 1 << 20), (0, 0)));
        assert_eq!((share(1, 750), share(6, 750)), ((781, 2 << 20), (25_000, 64 << 20)));
        assert_eq!((share(6, 1_000), share(6, 2_000)), ((0, 0), (0, 0)));
        assert!(SHARES.admit(Class(0), Load { messages: 0, bytes: 0 }, 2_000, full(740)));
        assert!(!SHARES.admit(Class(0), Load { messages: 0, bytes: 0 }, 2_000, full(750)));
        let admit = |messages, bytes| SHARES.admit(Class(0), Load { messages, bytes }, 1, full(0));
        assert!(admit(780, 0) && admit(0, (2 << 20) - 1));
        assert!(!admit(781, 0) && !admit(0, 2 << 20), "messages or bytes, whatever ends first");
    }

    #[test]
    fn mail_without_surb_ack_has_a_quota_that_shrinks() {
        assert_eq!([500, 625, 750].map(|thousandths| SHARES.ackless(full(thousandths))), [256, 128, 0]);
        let small = Shares { whole: Load { messages: 5, ..WHOLE }, ..SHARES };
        assert_eq!(small.ackless(full(0)), 5, "no more than other mail may take");
        assert_eq!(Shares { newcomer: 1, ..SHARES }.ackless(full(1_000)), 256);
    }

    #[test]
    fn a_first_message_then_a_quarter_of_a_share_doubles_it() {
        assert_eq!(SHARES.risen(Class(0), Load { messages: 1, bytes: 21 }), Some(Class(1)));
        assert_eq!(SHARES.risen(Class(1), Load { messages: 389, bytes: (1 << 20) - 1 }), None);
        assert_eq!(SHARES.risen(Class(1), Load { messages: 390, bytes: 0 }), Some(Class(2)));
        assert_eq!(SHARES.risen(Class(1), Load { messages: 1, bytes: 1 << 20 }), Some(Class(2)));
        assert_eq!(SHARES.risen(Class(6), WHOLE), None, "there is no more");
    }

    #[test]
    fn what_an_earlier_version_stored_is_covered() {
        let class = |messages, bytes| SHARES.covering(Load { messages, bytes });
        assert_eq!([class(0, 0), class(781, 2 << 20)], [Class(0); 2]);
        assert_eq!([class(782, 0), class(0, (2 << 20) + 1)], [Class(1); 2]);
        assert_eq!([class(50_000, 0), class(u64::MAX, u64::MAX)], [Class(6); 2]);
    }

    #[test]
    fn without_shares_each_inbox_is_filled_whatever_others_hold() {
        let none = Shares { newcomer: 1, ..SHARES };
        assert_eq!(none.share(Class(0), full(1_000)), WHOLE);
        assert_eq!(none.risen(Class(0), WHOLE), None);
    }

    proptest! {
        #[test]
        fn no_share_is_larger_in_a_fuller_store_or_a_lower_class(
            newcomer in 1..1_000_u32, class in 0..12_u8, a in 0..1_200_u64, b in 0..1_200_u64,
        ) {
            let shares = Shares::new(WHOLE, newcomer);
            let (less, more) = (full(a.min(b)), full(a.max(b)));
            prop_assert!(shares.share(Class(class), more).bytes <= shares.share(Class(class), less).bytes);
            prop_assert!(shares.share(Class(class), less).bytes <= shares.share(Class(class + 1), less).bytes);
            prop_assert!(shares.share(Class(class), less).bytes <= WHOLE.bytes);
        }
    }
}
