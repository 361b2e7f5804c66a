//! The mail queue of one session, and the credit that bounds it.
//!
//! *Trusts* `store` for nothing: mail beyond the credit, or out of order, is refused with the rule it broke. *Promises*: what
//! was pushed and is not yet proved received never exceeds the credit of the session, in messages or in bytes, wherever it
//! sits; but for a message larger than all of it, which is there alone.
//!
//! The dispatcher takes credit and the session gives it back; neither ever waits for the other.

use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering::AcqRel, Ordering::Acquire},
};

use bytes::Bytes;
use proto::{ipc::store_edge::Sequence, link::Window};
use tokio::sync::mpsc;

/// One message on its way to the client.
#[derive(Debug)]
pub(crate) struct Mail {
    /// Position in the inbox.
    pub(crate) sequence: Sequence,
    /// What the client is to get.
    pub(crate) message: Bytes,
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
    queue: mpsc::Sender<Mail>,
    credit: Window,
    in_use: Arc<InUse>,
    last: Option<Sequence>,
}

/// The session's end.
#[derive(Debug)]
pub(crate) struct MailReceiver {
    queue: mpsc::Receiver<Mail>,
    in_use: Arc<InUse>,
}

/// Makes the queue of one session, with all its credit unused.
pub(crate) fn queue(credit: Window) -> (MailSender, MailReceiver) {
    let (tx, rx) = mpsc::channel(credit.messages as usize);
    let in_use = Arc::new(InUse::default());
    (MailSender { queue: tx, credit, in_use: Arc::clone(&in_use), last: None }, MailReceiver { queue: rx, in_use })
}

impl MailSender {
    /// Queues one message; ignores it if the session is at its end.
    ///
    /// # Errors
    /// The rule that `store` broke by sending it.
    pub(crate) fn push(&mut self, mail: Mail) -> Result<(), &'static str> {
        if self.last.is_some_and(|last| mail.sequence <= last) {
            return Err("mail came out of order");
        }
        let len = mail.message.len();
        // Only this end adds, so what is read here can only have become less meanwhile.
        let (messages, bytes) = (self.in_use.messages.load(Acquire), self.in_use.bytes.load(Acquire));
        if !self.credit.has_room(messages, bytes, len) {
            return Err("mail came beyond the credit of its session");
        }
        self.in_use.messages.fetch_add(1, AcqRel);
        self.in_use.bytes.fetch_add(len as u64, AcqRel);
        self.last = Some(mail.sequence);
        // The queue has room for all the credit; closed means that the session is at its end.
        let _ = self.queue.try_send(mail);
        Ok(())
    }
}

impl MailReceiver {
    /// Takes what is queued, at most `most` messages, waiting for the first. `false` if none will come any more.
    /// Nothing is lost if the wait is given up.
    pub(crate) async fn take(&mut self, burst: &mut Vec<Mail>, most: usize) -> bool {
        self.queue.recv_many(burst, most).await > 0
    }

    /// Gives back the credit of what was proved. To be called before `store` is told, since it may push more at once.
    pub(crate) fn give_back(&self, covered: Covered) {
        self.in_use.messages.fetch_sub(covered.messages, AcqRel);
        self.in_use.bytes.fetch_sub(covered.bytes, AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDIT: Window = Window { messages: 5, bytes: 100 };

    fn mail(sequence: u64, len: usize) -> Mail {
        Mail { sequence: Sequence(sequence), message: vec![0; len].into() }
    }

    #[test]
    fn credit_ends_by_messages_and_comes_back_with_receipts() {
        let (mut store, session) = queue(CREDIT);
        for n in 0..u64::from(CREDIT.messages) {
            store.push(mail(n, 10)).unwrap();
        }
        assert_eq!(store.push(mail(9_000, 1)), Err("mail came beyond the credit of its session"));
        session.give_back(Covered { up_to: Sequence(0), messages: 1, bytes: 10 });
        assert_eq!(store.push(mail(9_001, 1)), Ok(()));
        assert!(store.push(mail(9_002, 1)).is_err());
    }

    #[test]
    fn credit_ends_by_bytes() {
        let (mut store, session) = queue(CREDIT);
        let half = usize::try_from(CREDIT.bytes / 2).unwrap();
        store.push(mail(1, half)).unwrap();
        store.push(mail(2, half)).unwrap();
        assert!(store.push(mail(3, 1)).is_err());
        session.give_back(Covered { up_to: Sequence(1), messages: 1, bytes: half as u64 });
        assert_eq!(store.push(mail(4, half)), Ok(()));
    }

    #[test]
    fn a_message_larger_than_all_credit_is_taken_alone() {
        let (mut store, session) = queue(CREDIT);
        store.push(mail(1, 101)).unwrap();
        assert_eq!(store.push(mail(2, 1)), Err("mail came beyond the credit of its session"));
        session.give_back(Covered { up_to: Sequence(1), messages: 1, bytes: 101 });
        store.push(mail(3, 1)).unwrap();
        assert_eq!(store.push(mail(4, 101)), Err("mail came beyond the credit of its session"));
    }

    #[test]
    fn a_position_is_used_once_and_in_order() {
        let (mut store, _session) = queue(CREDIT);
        store.push(mail(5, 1)).unwrap();
        assert_eq!(store.push(mail(5, 1)), Err("mail came out of order"));
        assert_eq!(store.push(mail(4, 1)), Err("mail came out of order"));
        assert_eq!(store.push(mail(7, 1)), Ok(()));
    }
}
