//! One client's websocket: its frames, its outbox, and the ways it can end.
//!
//! *Trusts* nothing that is read. *Promises*: reading and writing never wait for each other, except that no request is read
//! while too many answers wait; a message over [`MESSAGE_LIMIT`], or over a few KiB before the client has logged in, is not
//! taken into memory; what has come of a message is held against the budget of all connections; frames that bring nothing are read
//! so far and no further; a Close is answered with a Close; every end takes at most [`CLOSE_LIMIT`].

use std::{
    future::{pending, poll_fn},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message, Utf8Bytes,
        error::ProtocolError,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

use proto::{budget::Partial, wire::client::protocol::Protocol};

use crate::{chatter::Chatter, meter::Meter, outbox::Outbox, pace::Pace};

/// Longest message taken from a client, in bytes; the longest legitimate one has about 33,200.
pub(crate) const MESSAGE_LIMIT: usize = 64 * 1024;
/// Longest message taken from a client that has not logged in; the longest legitimate one, a first handshake message as a list
/// of numbers in JSON, has less than 1,024 bytes.
const ENTRY_LIMIT: usize = 8 * 1024;
/// Bytes a message may have on its way, in however many fragments; clients send theirs in one.
const WIRE_LIMIT: usize = 2 * MESSAGE_LIMIT;
/// How long saying goodbye may take.
pub(crate) const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// The library allocates the read buffer of every connection at once, so it is just enough for everything but packets; the
/// rest of a packet is read in one more step, into room made for it.
const READ_BUFFER: usize = 1024;
const WRITE_BUFFER: usize = 4 * 1024;
const WRITE_LIMIT: usize = 128 * 1024;

/// What a client says.
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
    /// The client says something.
    Read(Frame),
    /// The client has begun a message.
    Begun,
    /// The outbox is written.
    Written,
}

/// Why a connection ends, which decides how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The transport failed; nobody is left to talk to.
    Gone,
    /// The client closed the websocket; its Close is to be answered.
    ClosedByClient,
    /// The client broke the websocket protocol, and what it sends further cannot be understood.
    Fault(CloseCode),
    /// The client sends more frames that bring nothing than anybody needs, and is read no more.
    Flood,
    /// The message that the client has begun takes memory that others need.
    MemoryNeeded,
    /// The client is not let in. Why it is not waits in the outbox.
    Refused,
    /// The gateway takes leave.
    Farewell(CloseCode, &'static str),
}

impl Exit {
    /// `store` is gone or cannot be asked; the client is to connect again.
    pub(crate) const RESTART: Self = Self::Farewell(CloseCode::Restart, "the gateway restarts, connect again");
    /// Too many others wait to be let in.
    pub(crate) const CROWDED: Self = Self::Farewell(CloseCode::Again, "too many clients wait to be let in, try again");
    /// The gateway stops.
    pub(crate) const AWAY: Self = Self::Farewell(CloseCode::Away, "the gateway stops");
}

impl From<Error> for Exit {
    fn from(error: Error) -> Self {
        use ProtocolError::{ReceivedAfterClosing, ResetWithoutClosingHandshake, SendAfterClosing};
        match error {
            Error::Capacity(_) => Self::Fault(CloseCode::Size),
            Error::Utf8(_) => Self::Fault(CloseCode::Invalid),
            Error::Protocol(ResetWithoutClosingHandshake | SendAfterClosing | ReceivedAfterClosing) => Self::Gone,
            Error::Protocol(_) => Self::Fault(CloseCode::Protocol),
            _ => Self::Gone,
        }
    }
}

/// A connection that has been upgraded.
#[derive(Debug)]
pub(crate) struct Websocket {
    stream: Box<WebSocketStream<Meter>>,
    outbox: Outbox,
    chatter: Chatter,
    /// The message that has begun.
    half: Partial,
    half_since: Option<Instant>,
    /// Bytes that a message may have on its way at present.
    wire_limit: usize,
    /// When a message was last queued for the client.
    last_push: Instant,
}

impl Websocket {
    /// A connection whose upgrade was answered, and what has come over it since. The messages that the client begins are held in
    /// `half`.
    pub(crate) async fn new(socket: TcpStream, begun: Vec<u8>, half: Partial) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            .max_write_buffer_size(WRITE_LIMIT)
            .max_message_size(Some(MESSAGE_LIMIT))
            .max_frame_size(Some(MESSAGE_LIMIT));
        let socket = Meter::new(socket, begun.len());
        let stream = WebSocketStream::from_partially_read(socket, begun, Role::Server, Some(config)).await;
        Self {
            stream: Box::new(stream),
            outbox: Outbox::default(),
            chatter: Chatter::default(),
            half,
            half_since: None,
            wire_limit: ENTRY_LIMIT,
            last_push: Instant::now(),
        }
    }

    /// The client has logged in: its messages may be large from now on.
    pub(crate) const fn log_in(&mut self) {
        self.wire_limit = WIRE_LIMIT;
    }

    /// Since when a message has begun and not ended, if there is one of more than a few bytes.
    pub(crate) const fn half_since(&self) -> Option<Instant> {
        self.half_since
    }

    /// Lets go of all mail that is not on its way to the socket.
    pub(crate) fn let_go_of_mail(&mut self) {
        self.outbox.let_go_of_mail();
    }

    /// Queues a message for the client. It leaves while [`event`](Self::event) or [`write`](Self::write) is awaited.
    pub(crate) fn push(&mut self, message: Message) {
        if message.is_ping() {
            self.chatter.ask();
        }
        self.last_push = Instant::now();
        self.outbox.push(message);
    }

    /// When a message was last queued for the client.
    pub(crate) const fn last_push(&self) -> Instant {
        self.last_push
    }

    /// Since when there has always been something that the client's socket has not taken.
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
    /// How the connection has to end.
    pub(crate) async fn event(&mut self) -> Result<Event, Exit> {
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
            () = half.given_way() => Err(Exit::MemoryNeeded),
        }
    }

    /// Writes until nothing is left to write, and then waits for ever. Nothing is lost if the wait is given up.
    ///
    /// # Errors
    /// How the connection has to end.
    pub(crate) async fn write(&mut self) -> Result<(), Exit> {
        poll_fn(|cx| self.poll_write(cx)).await
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, Exit>> {
        let polled = self.stream.poll_next_unpin(cx);
        let meter = self.stream.get_mut();
        let Poll::Ready(message) = polled else {
            return match self.hold_half() {
                Ok(true) => Poll::Ready(Ok(Event::Begun)),
                Ok(false) => Poll::Pending,
                Err(exit) => Poll::Ready(Err(exit)),
            };
        };
        match &message {
            Some(Ok(Message::Text(_) | Message::Binary(_))) => {
                meter.message_ends();
                self.half_since = None;
                // Whoever has to give way just now has ended its message in time.
                let _ = self.half.hold(0, Instant::now().into_std());
            }
            Some(Ok(Message::Ping(payload) | Message::Pong(payload))) => meter.control_frame(payload.len()),
            _ => {}
        }
        Poll::Ready(match message {
            Some(Ok(Message::Text(text))) => Ok(Event::Read(Frame::Text(text))),
            Some(Ok(Message::Binary(bytes))) => Ok(Event::Read(Frame::Binary(bytes))),
            Some(Ok(Message::Pong(_))) if self.chatter.pong_is_too_much(Instant::now()) => Err(Exit::Flood),
            Some(Ok(Message::Pong(payload))) => Ok(Event::Read(Frame::Pong(payload))),
            Some(Ok(Message::Ping(_))) if self.chatter.ping_is_too_much(Instant::now()) => Err(Exit::Flood),
            Some(Ok(Message::Ping(_) | Message::Frame(_))) => {
                // The library answers a Ping by itself, the next time it is polled. Until then others have their turn: of
                // Pings there may be hundreds, and each answer is a write.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Some(Ok(Message::Close(_))) => Err(Exit::ClosedByClient),
            Some(Err(error)) => Err(error.into()),
            None => Err(Exit::Gone),
        })
    }

    /// Nothing more can be read: what has come of a message waits for its rest. Says whether that is new.
    fn hold_half(&mut self) -> Result<bool, Exit> {
        let came = self.stream.get_ref().since_message();
        if came > self.wire_limit {
            return Err(Exit::Flood);
        }
        // The buffer that every connection has holds this much.
        if came <= READ_BUFFER {
            return Ok(false);
        }
        let now = Instant::now();
        self.half.hold(came, now.into_std()).map_err(|_| Exit::MemoryNeeded)?;
        let is_new = self.half_since.is_none();
        self.half_since.get_or_insert(now);
        Ok(is_new)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Exit>> {
        if self.outbox.is_written() {
            return Poll::Pending;
        }
        self.outbox.poll_write(&mut *self.stream, cx).map_err(Exit::from)
    }

    /// Takes leave as `exit` asks, in the manner of what the client speaks.
    pub(crate) async fn end(mut self, exit: Exit, spoken: Protocol) {
        let leave = async {
            match exit {
                Exit::Gone => {}
                Exit::ClosedByClient => self.exhaust().await,
                Exit::Fault(code) => {
                    if self.close(code, "").await.is_ok() {
                        self.discard().await;
                    }
                }
                Exit::Flood => {
                    // Its last Pong would otherwise come behind the Close.
                    if self.stream.flush().await.is_ok() && spoken.ends_with_close() {
                        let _ = self.close(CloseCode::Policy, "too many frames that bring nothing").await;
                    }
                    let _ = self.stream.get_mut().shutdown().await;
                    // To read what still comes, if only to throw it away, is what a flood is for: it backs up on the
                    // client's side, whose place stays taken meanwhile.
                    pending().await
                }
                // Its rest is not waited for, and what has come of it goes at once.
                Exit::MemoryNeeded => {}
                Exit::Refused => self.leave(CloseCode::Policy, "not let in", spoken).await,
                Exit::Farewell(code, reason) => self.leave(code, reason, spoken).await,
            }
        };
        // Whoever has not listened by now will not.
        let _ = timeout(CLOSE_LIMIT, leave).await;
    }

    /// Says what is still to be said, then goodbye.
    async fn leave(&mut self, code: CloseCode, reason: &'static str, spoken: Protocol) {
        if poll_fn(|cx| self.outbox.poll_write(&mut *self.stream, cx)).await.is_err() {
            return;
        }
        if !spoken.ends_with_close() {
            self.discard().await;
        } else if self.close(code, reason).await.is_ok() {
            self.exhaust().await;
        }
    }

    async fn close(&mut self, code: CloseCode, reason: &'static str) -> Result<(), Error> {
        self.stream.send(Message::Close(Some(CloseFrame { code, reason: Utf8Bytes::from_static(reason) }))).await
    }

    /// Reads on until both sides have closed.
    async fn exhaust(&mut self) {
        let mut pace = Pace::default();
        while let Some(Ok(message)) = self.stream.next().await {
            pace.keep(message.len()).await;
        }
    }

    /// Reads on without understanding. A socket closed with unread bytes would take the Close frame back from the client.
    async fn discard(&mut self) {
        let socket = self.stream.get_mut();
        let mut bytes = [0; 512];
        if socket.shutdown().await.is_ok() {
            let mut pace = Pace::default();
            while let Ok(len @ 1..) = socket.read(&mut bytes).await {
                pace.keep(len).await;
            }
        }
    }
}
