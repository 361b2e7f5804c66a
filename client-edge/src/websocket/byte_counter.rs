//! A client's socket that counts the bytes of the message under way.
//!
//! The websocket library joins the fragments of a message and bounds their content, but not their number. A client could send
//! fragments without content for ever, and the code above the library would see none of them.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// Bytes of a client's Ping or Pong beside its payload.
const CONTROL_HEADER: usize = 6;

/// The socket.
#[derive(Debug)]
pub(crate) struct MessageByteCounter {
    socket: TcpStream,
    /// Bytes since the last message.
    read: usize,
}

impl MessageByteCounter {
    /// `read` bytes have come over the socket already.
    pub(crate) const fn new(socket: TcpStream, read: usize) -> Self {
        Self { socket, read }
    }

    /// Bytes that came since the last message, without Pings and Pongs. Bytes that came in one read with the end of that message
    /// are not counted.
    pub(crate) const fn since_message(&self) -> usize {
        self.read
    }

    /// A message has ended.
    pub(crate) const fn end_message(&mut self) {
        self.read = 0;
    }

    /// Takes a Ping or Pong with a payload of `len` bytes off the count.
    pub(crate) const fn exclude_control_frame(&mut self, len: usize) {
        self.read = self.read.saturating_sub(CONTROL_HEADER + len);
    }
}

impl AsyncRead for MessageByteCounter {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buffer))?;
        self.read = self.read.saturating_add(buffer.filled().len().saturating_sub(before));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for MessageByteCounter {
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

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    #[tokio::test]
    async fn pings_and_pongs_do_not_count_and_a_message_begins_anew() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut counter = MessageByteCounter::new(listener.accept().await.unwrap().0, 100);
        peer.write_all(&[0; 50]).await.unwrap();
        counter.read_exact(&mut [0; 50]).await.unwrap();
        assert_eq!(counter.since_message(), 150);
        counter.exclude_control_frame(10);
        assert_eq!(counter.since_message(), 134, "what it says and six bytes of header");
        counter.end_message();
        assert_eq!(counter.since_message(), 0);
        counter.exclude_control_frame(0);
        assert_eq!(counter.since_message(), 0);
    }
}
