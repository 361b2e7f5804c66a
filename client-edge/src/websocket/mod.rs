//! One client's websocket: its frames in, its outbox, and the ways in which it is closed.
//!
//! *Trusts* nothing that is read.
//!
//! *Promises*:
//! - Reading and writing never wait for each other, except that no request is read while too many answers wait.
//! - A message over [`MESSAGE_LIMIT`], or over a few KiB before the client has logged in, is not taken into memory.
//! - The bytes of a message under way count against the budget of all connections.
//! - A client that sends more frames without content than any client needs is not read any more.
//! - A Close is answered with a Close.
//! - Closing takes at most [`CLOSE_LIMIT`](close_reason::CLOSE_LIMIT).

mod byte_counter;
pub(crate) mod close_reason;
mod closing;
mod control_frames;
mod outbox;
pub(crate) mod throttle;

use std::{
    future::poll_fn,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::{net::TcpStream, time::Instant};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message, Utf8Bytes,
        protocol::{Role, WebSocketConfig},
    },
};
use worker::budget::PartialPermit;

use byte_counter::MessageByteCounter;
use close_reason::CloseReason;
use control_frames::ControlFrameLimit;
use outbox::Outbox;

/// Longest message taken from a client, in bytes; the longest legitimate one has about 33,200.
const MESSAGE_LIMIT: usize = 64 * 1024;
/// Longest message taken from a client that has not logged in; the longest legitimate one, a first handshake message as a list
/// of numbers in JSON, has less than 1,024 bytes.
const LOGIN_LIMIT: usize = 8 * 1024;
/// Bytes that a message may take on the wire, with the headers of its fragments. Clients send theirs in one frame.
const WIRE_LIMIT: usize = 2 * MESSAGE_LIMIT;

/// The library allocates the read buffer of every connection at once. This size is enough for everything but packets; the rest
/// of a packet is read in one more step, into room made for it.
const READ_BUFFER: usize = 1024;
const WRITE_BUFFER: usize = 4 * 1024;
const WRITE_LIMIT: usize = 128 * 1024;

/// What a client sends.
#[derive(Debug)]
pub(crate) enum Frame {
    /// A control message.
    Text(Utf8Bytes),
    /// Sealed traffic.
    Binary(Bytes),
    /// The answer to a Ping.
    Pong(Bytes),
}

/// What happens on a websocket.
#[derive(Debug)]
pub(crate) enum Event {
    /// A whole message or a Pong came.
    Read(Frame),
    /// The client has begun a message.
    Begun,
    /// The outbox is written.
    Written,
}

/// A connection that has been upgraded.
#[derive(Debug)]
pub(crate) struct Websocket {
    stream: Box<WebSocketStream<MessageByteCounter>>,
    outbox: Outbox,
    control_frames: ControlFrameLimit,
    /// The memory of the message that has begun.
    half: PartialPermit,
    half_since: Option<Instant>,
    /// Bytes that a message may take on the wire at present.
    wire_limit: usize,
    /// When a message was last queued for the client.
    last_push: Instant,
}

impl Websocket {
    /// A connection whose upgrade was answered. `begun` has come over it since, and `half` accounts for the messages under way.
    pub(crate) async fn new(socket: TcpStream, begun: Vec<u8>, half: PartialPermit) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            .max_write_buffer_size(WRITE_LIMIT)
            .max_message_size(Some(MESSAGE_LIMIT))
            .max_frame_size(Some(MESSAGE_LIMIT));
        let socket = MessageByteCounter::new(socket, begun.len());
        let stream = WebSocketStream::from_partially_read(socket, begun, Role::Server, Some(config)).await;
        Self {
            stream: Box::new(stream),
            outbox: Outbox::default(),
            control_frames: ControlFrameLimit::default(),
            half,
            half_since: None,
            wire_limit: LOGIN_LIMIT,
            last_push: Instant::now(),
        }
    }

    /// The client has logged in: its messages may be large from now on.
    pub(crate) const fn allow_large_messages(&mut self) {
        self.wire_limit = WIRE_LIMIT;
    }

    /// When the message under way began, if one of more than a few bytes is under way.
    pub(crate) const fn half_since(&self) -> Option<Instant> {
        self.half_since
    }

    /// Drops all queued mail. Mail of which a part has been handed to the socket is still written.
    pub(crate) fn drop_mail(&mut self) {
        self.outbox.drop_mail();
    }

    /// Queues a message for the client. It is written while [`event`](Self::event) or [`write`](Self::write) is awaited.
    pub(crate) fn push(&mut self, message: Message) {
        if message.is_ping() {
            self.control_frames.ping_sent();
        }
        self.last_push = Instant::now();
        self.outbox.push(message);
    }

    /// When a message was last queued for the client.
    pub(crate) const fn last_push(&self) -> Instant {
        self.last_push
    }

    /// Start of the current backlog: since then the client's socket has never taken all that was queued.
    pub(crate) const fn unwritten_since(&self) -> Option<Instant> {
        self.outbox.unwritten_since()
    }

    /// Whether everything queued has reached the socket.
    pub(crate) const fn is_written(&self) -> bool {
        self.outbox.is_written()
    }

    /// Reads and writes until something has happened. Nothing is lost if the wait is given up.
    ///
    /// # Errors
    /// Why the connection is to be closed.
    pub(crate) async fn event(&mut self) -> Result<Event, CloseReason> {
        let half = self.half.watch();
        let event = poll_fn(|cx| {
            if self.outbox.has_room()
                && let Poll::Ready(event) = self.poll_read(cx)
            {
                return Poll::Ready(event);
            }
            self.poll_write(cx).map_ok(|()| Event::Written)
        });
        tokio::select! {
            event = event => event,
            () = half.evicted() => Err(CloseReason::MemoryNeeded),
        }
    }

    /// Writes until nothing is left to write, and then waits for ever. Nothing is lost if the wait is given up.
    ///
    /// # Errors
    /// Why the connection is to be closed.
    pub(crate) async fn write(&mut self) -> Result<(), CloseReason> {
        poll_fn(|cx| self.poll_write(cx)).await
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, CloseReason>> {
        let polled = self.stream.poll_next_unpin(cx);
        let counter = self.stream.get_mut();
        let Poll::Ready(message) = polled else {
            return match self.hold_half() {
                Ok(true) => Poll::Ready(Ok(Event::Begun)),
                Ok(false) => Poll::Pending,
                Err(reason) => Poll::Ready(Err(reason)),
            };
        };
        match &message {
            Some(Ok(Message::Text(_) | Message::Binary(_))) => {
                counter.end_message();
                self.half_since = None;
                // An error would say that this message has to give way to others; it has just ended, so there is no need.
                let _ = self.half.hold(0, Instant::now().into_std());
            }
            Some(Ok(Message::Ping(payload) | Message::Pong(payload))) => counter.exclude_control_frame(payload.len()),
            _ => {}
        }
        Poll::Ready(match message {
            Some(Ok(Message::Text(text))) => Ok(Event::Read(Frame::Text(text))),
            Some(Ok(Message::Binary(bytes))) => Ok(Event::Read(Frame::Binary(bytes))),
            Some(Ok(Message::Pong(_))) if self.control_frames.exceeded_by_pong(Instant::now()) => {
                Err(CloseReason::Flood)
            }
            Some(Ok(Message::Pong(payload))) => Ok(Event::Read(Frame::Pong(payload))),
            Some(Ok(Message::Ping(_))) if self.control_frames.exceeded_by_ping(Instant::now()) => {
                Err(CloseReason::Flood)
            }
            Some(Ok(Message::Ping(_) | Message::Frame(_))) => {
                // The library answers a Ping by itself, the next time it is polled. Other tasks run before, because there may be
                // hundreds of Pings, and each answer is a write.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Some(Ok(Message::Close(_))) => Err(CloseReason::ByClient),
            Some(Err(error)) => Err(error.into()),
            None => Err(CloseReason::PeerGone),
        })
    }

    /// Accounts for the bytes of the message under way, of which no more can be read now. True if it has only just begun.
    fn hold_half(&mut self) -> Result<bool, CloseReason> {
        let came = self.stream.get_ref().since_message();
        if came > self.wire_limit {
            return Err(CloseReason::Flood);
        }
        // The read buffer that every connection has anyway holds this much.
        if came <= READ_BUFFER {
            return Ok(false);
        }
        let now = Instant::now();
        self.half.hold(came, now.into_std()).map_err(|_| CloseReason::MemoryNeeded)?;
        let is_new = self.half_since.is_none();
        self.half_since.get_or_insert(now);
        Ok(is_new)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CloseReason>> {
        if self.outbox.is_written() {
            return Poll::Pending;
        }
        self.outbox.poll_write(&mut *self.stream, cx).map_err(CloseReason::from)
    }
}
