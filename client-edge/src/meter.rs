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
    /// Bytes that an upgrade request may have; none once that has come.
    upgrade_limit: Option<usize>,
}

impl Meter {
    /// The socket, over which an upgrade request of so many bytes may come.
    pub(crate) const fn new(socket: TcpStream, upgrade_limit: usize) -> Self {
        Self { socket, read: 0, upgrade_limit: Some(upgrade_limit) }
    }

    /// The upgrade request has come.
    pub(crate) const fn upgraded(&mut self) {
        self.upgrade_limit = None;
        self.read = 0;
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
        if self.upgrade_limit.is_some_and(|limit| self.read > limit) {
            return Poll::Ready(Err(io::Error::other("the upgrade request is too long")));
        }
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
