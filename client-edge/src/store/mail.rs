//! The mail queue of one session, and the credit that bounds it.
//!
//! *Trusts* `store` for nothing: mail beyond the credit, or out of order, is a violation.
//!
//! *Promises*: mail that was pushed and is not yet proved received never exceeds the credit of its session, in messages or in
//! bytes, wherever it is; a message larger than all the credit is there alone. All such mail together never exceeds the memory for
//! the sessions of the link.
//!
//! The dispatcher takes credit and the session gives it back; neither waits for the other.

use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering::AcqRel, Ordering::Acquire},
};

use bytes::Bytes;
use ipc::credit::Window;
use session_ipc::{MESSAGE_OVERHEAD, Rule, Sequence, message_cost};
use tokio::sync::mpsc;
use worker::budget::{ByteBudget, BytePermit};

/// One message on its way to the client.
#[derive(Debug)]
pub(crate) struct Mail {
    /// Position in the inbox.
    pub(crate) sequence: Sequence,
    /// What the client is to get.
    pub(crate) message: Bytes,
    /// Its share of the memory, while it is in the queue.
    held: BytePermit,
}

/// What a receipt covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Covered {
    /// The last message.
    pub(crate) up_to: Sequence,
    /// How many messages.
    pub(crate) messages: u32,
    /// Bytes of those messages.
    pub(crate) bytes: u64,
}

#[derive(Debug, Default)]
struct InUse {
    messages: AtomicU32,
    bytes: AtomicU64,
}

/// The dispatcher's end.
#[derive(Debug)]
pub(crate) struct MailSender {
    // Boxed: the channel allocates room for 32 messages at once, in every session.
    queue: mpsc::Sender<Box<Mail>>,
    memory: ByteBudget,
    credit: Window,
    in_use: Arc<InUse>,
    last: Option<Sequence>,
}

/// The session's end.
#[derive(Debug)]
pub(crate) struct MailReceiver {
    queue: mpsc::Receiver<Box<Mail>>,
    in_use: Arc<InUse>,
    /// The memory of the mail that was taken from the queue and is not proved received.
    held: BytePermit,
}

/// Makes the queue of one session, with its credit unused. `memory` is for all sessions together.
pub(crate) fn queue(credit: Window, memory: ByteBudget) -> (MailSender, MailReceiver) {
    let (tx, rx) = mpsc::channel(credit.messages as usize);
    let in_use = Arc::new(InUse::default());
    let receiver = MailReceiver { queue: rx, in_use: Arc::clone(&in_use), held: memory.permit() };
    (MailSender { queue: tx, memory, credit, in_use, last: None }, receiver)
}

impl MailSender {
    /// Queues one message. If the session has ended, the message is dropped.
    ///
    /// # Errors
    /// The rule that `store` broke with the message.
    pub(crate) fn push(&mut self, sequence: Sequence, message: Bytes) -> Result<(), Rule> {
        if self.last.is_some_and(|last| sequence <= last) {
            return Err(Rule::MailOutOfOrder);
        }
        let len = message.len();
        // Only this end adds, so the values can only have become smaller meanwhile.
        let (messages, bytes) = (self.in_use.messages.load(Acquire), self.in_use.bytes.load(Acquire));
        if !self.credit.has_room(messages, bytes, len) {
            return Err(Rule::MailOverCredit);
        }
        let Some(held) = self.memory.take(message_cost(len)) else {
            return Err(Rule::MailOverMemory);
        };
        self.in_use.messages.fetch_add(1, AcqRel);
        self.in_use.bytes.fetch_add(len as u64, AcqRel);
        self.last = Some(sequence);
        // The queue has room for all the credit. If it is closed, the session has ended, and dropping the message frees its memory.
        let _ = self.queue.try_send(Box::new(Mail { sequence, message, held }));
        Ok(())
    }
}

impl MailReceiver {
    /// Waits for mail and takes at most `most` messages. `false` if none will come any more. Nothing is lost if the wait is given up.
    #[expect(clippy::vec_box, reason = "the channel fills it with what it holds")]
    pub(crate) async fn take(&mut self, burst: &mut Vec<Box<Mail>>, most: usize) -> bool {
        let came = self.queue.recv_many(burst, most).await;
        for mail in burst.iter_mut() {
            self.held.absorb(mail.held.take());
        }
        came > 0
    }

    /// Gives back the credit of what was proved received. To be called before `store` is told, because `store` may push more at once.
    pub(crate) fn give_back(&mut self, covered: Covered) {
        self.in_use.messages.fetch_sub(covered.messages, AcqRel);
        self.in_use.bytes.fetch_sub(covered.bytes, AcqRel);
        self.held.shrink(covered.bytes + u64::from(covered.messages) * MESSAGE_OVERHEAD);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDIT: Window = Window { messages: 5, bytes: 100 };

    fn queue(credit: Window) -> (MailSender, MailReceiver) {
        super::queue(credit, ByteBudget::new(1 << 20))
    }

    fn push(store: &mut MailSender, sequence: u64, len: usize) -> Result<(), Rule> {
        store.push(Sequence(sequence), vec![0; len].into())
    }

    #[tokio::test]
    async fn memory_is_held_until_a_receipt_or_the_end() {
        let memory = ByteBudget::new(3 * message_cost(10));
        let (mut store, mut session) = super::queue(CREDIT, memory.clone());
        let (mut other, _another_session) = super::queue(CREDIT, memory.clone());
        for n in 0..3 {
            push(&mut store, n, 10).unwrap();
        }
        assert_eq!(push(&mut other, 0, 1), Err(Rule::MailOverMemory));
        let mut burst = Vec::new();
        assert!(session.take(&mut burst, 3).await);
        drop(burst);
        assert_eq!(memory.free(), 0, "written, but not proved");
        session.give_back(Covered { up_to: Sequence(1), messages: 2, bytes: 20 });
        assert_eq!(memory.used(), message_cost(10));
        drop(session);
        push(&mut store, 9, 10).unwrap();
        assert_eq!(memory.used(), 0, "the session has ended");
    }

    #[tokio::test]
    async fn when_store_is_gone_the_session_takes_what_is_left_and_ends() {
        let (mut store, mut session) = queue(CREDIT);
        push(&mut store, 1, 10).unwrap();
        drop(store);
        let mut burst = Vec::new();
        assert!(session.take(&mut burst, 2).await && burst.len() == 1);
        assert!(!session.take(&mut burst, 2).await);
    }

    #[test]
    fn credit_ends_by_messages_and_comes_back_with_receipts() {
        let (mut store, mut session) = queue(CREDIT);
        for n in 0..u64::from(CREDIT.messages) {
            push(&mut store, n, 10).unwrap();
        }
        assert_eq!(push(&mut store, 9_000, 1), Err(Rule::MailOverCredit));
        session.give_back(Covered { up_to: Sequence(0), messages: 1, bytes: 10 });
        assert_eq!(push(&mut store, 9_001, 1), Ok(()));
        assert!(push(&mut store, 9_002, 1).is_err());
    }

    #[test]
    fn credit_ends_by_bytes() {
        let (mut store, mut session) = queue(CREDIT);
        let half = usize::try_from(CREDIT.bytes / 2).unwrap();
        push(&mut store, 1, half).unwrap();
        push(&mut store, 2, half).unwrap();
        assert!(push(&mut store, 3, 1).is_err());
        session.give_back(Covered { up_to: Sequence(1), messages: 1, bytes: half as u64 });
        assert_eq!(push(&mut store, 4, half), Ok(()));
    }

    #[test]
    fn a_message_larger_than_all_credit_is_taken_alone() {
        let (mut store, mut session) = queue(CREDIT);
        push(&mut store, 1, 101).unwrap();
        assert_eq!(push(&mut store, 2, 1), Err(Rule::MailOverCredit));
        session.give_back(Covered { up_to: Sequence(1), messages: 1, bytes: 101 });
        push(&mut store, 3, 1).unwrap();
        assert_eq!(push(&mut store, 4, 101), Err(Rule::MailOverCredit));
    }

    #[test]
    fn a_position_is_used_once_and_in_order() {
        let (mut store, _session) = queue(CREDIT);
        push(&mut store, 5, 1).unwrap();
        assert_eq!(push(&mut store, 5, 1), Err(Rule::MailOutOfOrder));
        assert_eq!(push(&mut store, 4, 1), Err(Rule::MailOutOfOrder));
        assert_eq!(push(&mut store, 7, 1), Ok(()));
    }
}
