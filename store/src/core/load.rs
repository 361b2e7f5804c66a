//! How much mail there is: messages and bytes, counted apart for mail with and without a SURB-ack.

use ipc::ingress_store::Ack;

use crate::mailbox::Summary;

/// A number of messages and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) messages: u64,
    pub(super) bytes: u64,
}

impl Load {
    pub(super) const fn add(&mut self, len: usize) {
        self.messages += 1;
        self.bytes += len as u64;
    }

    const fn sub(&mut self, len: usize) {
        debug_assert!(self.messages > 0, "a message is subtracted that was never added");
        self.messages = self.messages.saturating_sub(1);
        // No messages have no bytes: the length of a damaged record may differ from the length that was counted for it.
        self.bytes = if self.messages == 0 { 0 } else { self.bytes.saturating_sub(len as u64) };
    }
}

/// The mail of an inbox in one state. Mail without a SURB-ack has a quota in messages, so its few bytes are not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pile {
    /// Mail that came with a SURB-ack.
    pub(super) with_ack: Load,
    /// Messages that came without one.
    pub(super) ackless: u64,
}

impl Pile {
    pub(super) const fn of(summary: &Summary) -> Self {
        let with_ack = Load { messages: summary.messages, bytes: summary.bytes };
        Self { with_ack, ackless: summary.ackless }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.with_ack.messages == 0 && self.ackless == 0
    }

    pub(super) const fn add(&mut self, len: usize, ack: Ack) {
        match ack {
            Ack::Owed => self.with_ack.add(len),
            Ack::NotOwed => self.ackless += 1,
        }
    }

    pub(super) const fn sub(&mut self, len: usize, ack: Ack) {
        match ack {
            Ack::Owed => self.with_ack.sub(len),
            Ack::NotOwed => {
                debug_assert!(self.ackless > 0, "a message without a SURB-ack is subtracted that was never added");
                self.ackless = self.ackless.saturating_sub(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_message_takes_all_bytes_with_it() {
        let mut load = Load::default();
        load.add(40);
        load.add(60);
        load.sub(40);
        assert_eq!(load, Load { messages: 1, bytes: 60 });
        load.sub(50);
        assert_eq!(load, Load::default(), "it was counted for more than it had");
    }
}
