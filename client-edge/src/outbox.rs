//! What waits to be written to one client, in order.
//!
//! *Promises*: first in, first out, so an answer to a registration precedes all mail and a barrier follows its mail; no more
//! than [`ANSWERS`] answers wait, if the caller stops asking for requests when [`Outbox::has_room`] says no; memory for a
//! burst is not kept once it is written.

use std::{
    collections::VecDeque,
    task::{Context, Poll, ready},
};

use futures_util::{Sink, SinkExt};
use tokio_tungstenite::tungstenite::{Error, Message};

/// Answers that may wait for a client that sends requests and does not read.
const ANSWERS: usize = 32;

/// The queue, and whether everything that left it has reached the socket.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    queue: VecDeque<Message>,
    answers: usize,
    unflushed: bool,
}

impl Outbox {
    /// Queues a message. Every text is an answer.
    pub(crate) fn push(&mut self, message: Message) {
        self.answers += usize::from(message.is_text());
        self.unflushed = true;
        self.queue.push_back(message);
    }

    /// Whether another request may be read.
    pub(crate) const fn has_room(&self) -> bool {
        self.answers < ANSWERS
    }

    /// Whether everything has reached the socket.
    pub(crate) const fn is_written(&self) -> bool {
        !self.unflushed
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
