//! Credit: how much may be under way and not yet answered, in messages and in bytes.
//!
//! Both ends of a link count. The sender stops when its credit is used up; the receiver treats more as a violation.

/// The most that may be under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// In messages.
    pub messages: u32,
    /// In bytes of message content.
    pub bytes: u64,
}

/// A window and what of it is in use.
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

    /// Whether one message of `len` bytes fits. A message larger than the whole window fits when nothing else is under way.
    pub const fn has_room(&self, len: usize) -> bool {
        let bytes = self.bytes.saturating_add(len as u64);
        self.messages == 0 || (self.messages < self.window.messages && bytes <= self.window.bytes)
    }

    /// Takes credit for one message of `len` bytes; `false`, and nothing taken, if it does not fit.
    pub const fn take(&mut self, len: usize) -> bool {
        if !self.has_room(len) {
            return false;
        }
        self.messages = self.messages.saturating_add(1);
        self.bytes = self.bytes.saturating_add(len as u64);
        true
    }

    /// Gives back the credit of one message of `len` bytes.
    pub const fn give_back(&mut self, len: usize) {
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(len as u64);
    }

    /// Whether nothing is under way.
    pub const fn is_unused(&self) -> bool {
        self.messages == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_ends_by_messages_and_by_bytes_and_comes_back() {
        let mut credit = Credit::new(Window { messages: 2, bytes: 10 });
        assert!(credit.take(4));
        assert!(!credit.take(7), "bytes");
        assert!(credit.take(6));
        assert!(!credit.take(0), "messages");
        credit.give_back(4);
        assert!(credit.take(4));
        credit.give_back(4);
        credit.give_back(6);
        assert!(credit.is_unused());
        assert!(credit.take(99), "a giant goes alone");
        assert!(!credit.take(1));
    }
}
