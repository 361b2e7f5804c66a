//! The mail queue of one session, and the credit that bounds it.
//!
//! *Trusts* `store` for nothing: mail beyond the credit, or out of order, is refused with the rule it broke. *Promises*: what
//! was pushed and is not yet proved received never exceeds [`SESSION_CREDIT`], in messages or in bytes, wherever it sits.
//!
//! The dispatcher takes credit and the session gives it back; neither ever waits for the other.

use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering::AcqRel, Ordering::Acquire},
};

use bytes::Bytes;
use proto::ipc::store_edge::{SESSION_CREDIT, Sequence};
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
pub(crate) fn queue() -> (MailSender, MailReceiver) {
    let (tx, rx) = mpsc::channel(SESSION_CREDIT.messages as usize);
    let in_use = Arc::new(InUse::default());
    (MailSender { queue: tx, in_use: Arc::clone(&in_use), last: None }, MailReceiver { queue: rx, in_use })
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
        let len = mail.message.len() as u64;
        // Only this end adds, so what is read here can only have become less meanwhile.
        if self.in_use.messages.load(Acquire) >= SESSION_CREDIT.messages
            || self.in_use.bytes.load(Acquire).saturating_add(len) > SESSION_CREDIT.bytes
        {
            return Err("mail came beyond the credit of its session");
        }
        self.in_use.messages.fetch_add(1, AcqRel);
        self.in_use.bytes.fetch_add(len, AcqRel);
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

    fn mail(sequence: u64, len: usize) -> Mail {
        Mail { sequence: Sequence(sequence), message: vec![0; len].into() }
    }

    #[test]
    fn credit_ends_by_messages_and_comes_back_with_receipts() {
        let (mut store, session) = queue();
        for n in 0..u64::from(SESSION_CREDIT.messages) {
            store.push(mail(n, 10)).unwrap();
        }
        assert_eq!(store.push(mail(9_000, 1)), Err("mail came beyond the credit of its session"));
        session.give_back(Covered { up_to: Sequence(0), messages: 1, bytes: 10 });
        assert_eq!(store.push(mail(9_001, 1)), Ok(()));
        assert!(store.push(mail(9_002, 1)).is_err());
    }

    #[test]
    fn credit_ends_by_bytes() {
        let (mut store, session) = queue();
        let half = usize::try_from(SESSION_CREDIT.bytes / 2).unwrap();
        store.push(mail(1, half)).unwrap();
        store.push(mail(2, half)).unwrap();
        assert!(store.push(mail(3, 1)).is_err());
        session.give_back(Covered { up_to: Sequence(1), messages: 1, bytes: half as u64 });
        assert_eq!(store.push(mail(4, half)), Ok(()));
    }

    #[test]
    fn a_position_is_used_once_and_in_order() {
        let (mut store, _session) = queue();
        store.push(mail(5, 1)).unwrap();
        assert_eq!(store.push(mail(5, 1)), Err("mail came out of order"));
        assert_eq!(store.push(mail(4, 1)), Err("mail came out of order"));
        assert_eq!(store.push(mail(7, 1)), Ok(()));
    }
}
