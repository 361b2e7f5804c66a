//! What waits to be written to one client, in order.
//!
//! *Promises*:
//! - First in, first out: the answer to a registration precedes all mail, and a barrier follows its mail.
//! - No more than [`ANSWERS`] answers wait, if the caller reads no request while [`Outbox::has_room`] is false.
//! - The memory for a burst is not kept once the burst is written.

use std::{
    collections::VecDeque,
    task::{Context, Poll, ready},
};

use futures_util::{Sink, SinkExt};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::{Error, Message};

/// Answers that may wait for a client that sends requests and does not read.
const ANSWERS: usize = 32;

/// The queue, and whether everything that left it has reached the socket.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    queue: VecDeque<Message>,
    answers: usize,
    /// Start of the current backlog; partial writes do not reset it.
    unwritten_since: Option<Instant>,
}

impl Outbox {
    /// Queues a message. Every text is an answer.
    pub(crate) fn push(&mut self, message: Message) {
        self.answers += usize::from(message.is_text());
        self.unwritten_since.get_or_insert_with(Instant::now);
        self.queue.push_back(message);
    }

    /// Whether another request may be read.
    pub(crate) const fn has_room(&self) -> bool {
        self.answers < ANSWERS
    }

    /// Start of the current backlog: since then the queue has never been written to its end.
    pub(crate) const fn unwritten_since(&self) -> Option<Instant> {
        self.unwritten_since
    }

    /// Whether everything has reached the socket.
    pub(crate) const fn is_written(&self) -> bool {
        self.unwritten_since.is_none()
    }

    /// Drops all but the answers. Barriers go, too: one that comes without its mail would prove nothing.
    pub(crate) fn drop_mail(&mut self) {
        self.queue.retain(Message::is_text);
        self.queue.shrink_to_fit();
    }

    /// Writes until everything has reached the socket. Nothing is lost if it is not polled again for a while.
    pub(crate) fn poll_write<S>(&mut self, sink: &mut S, cx: &mut Context<'_>) -> Poll<Result<(), Error>>
    where
        S: Sink<Message, Error = Error> + Unpin,
    {
        loop {
            ready!(sink.poll_ready_unpin(cx))?;
            let Some(message) = self.queue.pop_front() else { break };
            self.answers -= usize::from(message.is_text());
            sink.start_send_unpin(message)?;
        }
        ready!(sink.poll_flush_unpin(cx))?;
        *self = Self::default();
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::Pin, task::Waker};

    use super::*;

    /// Takes `room` messages and then no more.
    struct Narrow {
        room: usize,
        taken: Vec<Message>,
    }

    impl Sink<Message> for Narrow {
        type Error = Error;

        fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
            if self.taken.len() < self.room { Poll::Ready(Ok(())) } else { Poll::Pending }
        }

        fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
            self.taken.push(message);
            Ok(())
        }

        fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
            self.poll_ready(cx)
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn answers_are_bounded_and_everything_leaves_in_order() {
        let mut outbox = Outbox::default();
        let mut queued = Vec::new();
        for n in 0..ANSWERS {
            assert!(outbox.has_room(), "{n}");
            queued.extend([Message::text(n.to_string()), Message::binary(vec![1])]);
            queued.iter().skip(2 * n).cloned().for_each(|message| outbox.push(message));
        }
        assert!(!outbox.has_room() && outbox.unwritten_since().is_some());
        let since = outbox.unwritten_since();

        let mut cx = Context::from_waker(Waker::noop());
        let mut sink = Narrow { room: 3, taken: Vec::new() };
        assert!(outbox.poll_write(&mut sink, &mut cx).is_pending());
        assert!(!outbox.is_written() && outbox.has_room());
        assert_eq!(outbox.unwritten_since(), since, "a partial write does not reset it");
        sink.room = queued.len();
        assert!(outbox.poll_write(&mut sink, &mut cx).is_pending(), "not flushed");
        assert!(!outbox.is_written());
        let mut dropped = Outbox::default();
        queued.iter().cloned().for_each(|message| dropped.push(message));
        dropped.drop_mail();
        assert_eq!(dropped.queue.len(), ANSWERS, "only answers are left");
        sink.room += 1;
        assert!(matches!(outbox.poll_write(&mut sink, &mut cx), Poll::Ready(Ok(()))));
        assert!(outbox.is_written());
        assert_eq!(sink.taken, queued);
    }
}
