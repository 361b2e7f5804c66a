//! Credit: how many messages and bytes may be unanswered at once.
//!
//! Both ends of a link count. The sender stops when its credit is used up; the receiver treats more as a violation. Both ends
//! are told the same [`Window`] at birth.

use bincode::{Decode, Encode};

/// How much may be unanswered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Window {
    /// Messages at the most.
    pub messages: u32,
    /// Bytes of content at the most.
    pub bytes: u64,
}

impl Window {
    /// Whether a message of `len` bytes may be sent while `messages` and `bytes` are unanswered. A message larger than the whole window
    /// may be sent alone, so that no window is too small for a message.
    pub const fn has_room(&self, messages: u32, bytes: u64, len: usize) -> bool {
        messages == 0 || (messages < self.messages && bytes.saturating_add(len as u64) <= self.bytes)
    }
}

/// Bytes of a window before any of it is earned.
const UNEARNED: u64 = 64 * 1024;

/// A window, and how much of it is in use.
#[derive(Clone, Copy, Debug)]
pub struct Credit {
    window: Window,
    messages: u32,
    bytes: u64,
}

impl Credit {
    /// Nothing in use.
    pub const fn new(window: Window) -> Self {
        Self { window, messages: 0, bytes: 0 }
    }

    /// Nothing in use, and only a first part of `all` to be used. [`earn`](Self::earn) opens the rest.
    pub const fn unearned(all: Window) -> Self {
        let bytes = if all.bytes < UNEARNED { all.bytes } else { UNEARNED };
        Self::new(Window { bytes, ..all })
    }

    /// Receipt was proved: doubles the bytes of the window, up to those of `all`.
    pub const fn earn(&mut self, all: Window) {
        let doubled = self.window.bytes.saturating_mul(2);
        self.window.bytes = if doubled < all.bytes { doubled } else { all.bytes };
    }

    /// How much more may be sent.
    pub const fn left(&self) -> Window {
        Window {
            messages: self.window.messages.saturating_sub(self.messages),
            bytes: self.window.bytes.saturating_sub(self.bytes),
        }
    }

    /// Whether a message of `len` bytes may be sent, by the rule of [`Window::has_room`].
    pub const fn has_room(&self, len: usize) -> bool {
        self.window.has_room(self.messages, self.bytes, len)
    }

    /// Takes credit for a message of `len` bytes. Returns `false`, and takes nothing, if there is too little.
    pub const fn take(&mut self, len: usize) -> bool {
        if !self.has_room(len) {
            return false;
        }
        self.messages = self.messages.saturating_add(1);
        self.bytes = self.bytes.saturating_add(len as u64);
        true
    }

    /// Gives back the credit of a message of `len` bytes.
    pub const fn give_back(&mut self, len: usize) {
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(len as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_ends_by_messages_and_by_bytes_and_comes_back() {
        let window = Window { messages: 2, bytes: 10 };
        let mut credit = Credit::new(window);
        assert!(credit.take(4));
        assert!(!credit.take(7), "bytes");
        assert!(credit.take(6));
        assert!(!credit.take(0), "messages");
        credit.give_back(4);
        assert!(credit.take(4));
        credit.give_back(4);
        credit.give_back(6);
        assert_eq!(credit.left(), window);
        assert!(credit.take(99), "a giant goes alone");
        assert!(!credit.take(1));
    }

    #[test]
    fn credit_is_earned_and_no_more_than_all() {
        let all = Window { messages: 10, bytes: 3 * UNEARNED };
        let mut credit = Credit::unearned(all);
        assert_eq!(credit.left(), Window { messages: 10, bytes: 65_536 });
        for bytes in [2 * UNEARNED, 3 * UNEARNED, 3 * UNEARNED] {
            credit.earn(all);
            assert_eq!(credit.left().bytes, bytes);
        }
        assert!(credit.take(100));
        assert_eq!(credit.left(), Window { messages: 9, bytes: 3 * UNEARNED - 100 });
        let little = Window { messages: 1, bytes: 7 };
        let mut credit = Credit::unearned(little);
        assert_eq!(credit.left(), little);
        credit.earn(little);
        assert_eq!(credit.left(), little);
    }
}
