//! A client's socket, and how much of a message has come over it.
//!
//! The websocket library joins the fragments of a message and bounds what they say, but not how many they are: fragments
//! without content could go on for ever, and nobody above the library would see one.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// Bytes of a Ping or Pong besides what it says.
const CONTROL_HEADER: usize = 6;

/// The socket.
#[derive(Debug)]
pub(crate) struct Meter {
    socket: TcpStream,
    read: usize,
}

impl Meter {
    /// The socket, over which so many bytes of the first message have come already.
    pub(crate) const fn new(socket: TcpStream, read: usize) -> Self {
        Self { socket, read }
    }

    /// Bytes that came since the last message, apart from Pings and Pongs. Less if some came together with that message.
    pub(crate) const fn since_message(&self) -> usize {
        self.read
    }

    /// A message is complete.
    pub(crate) const fn message_ends(&mut self) {
        self.read = 0;
    }

    /// What came was a Ping or Pong that says so many bytes.
    pub(crate) const fn control_frame(&mut self, len: usize) {
        self.read = self.read.saturating_sub(CONTROL_HEADER + len);
    }
}

impl AsyncRead for Meter {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buffer))?;
        self.read = self.read.saturating_add(buffer.filled().len().saturating_sub(before));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Meter {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
