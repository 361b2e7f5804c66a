//! The TCP stream under a client's websocket, able to keep its Pongs to itself.
//!
//! A websocket library answers Pings by itself, as the protocol demands. To play a client that does not, the filter takes
//! Pong frames out of what is written.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

const FINAL_PONG: u8 = 0x8a;

/// A TCP stream that can withhold Pongs once the websocket is open.
#[derive(Debug)]
pub struct PongFilter {
    stream: TcpStream,
    withhold_pongs: Arc<AtomicBool>,
    upgraded: bool,
    frame: Frame,
}

/// The frame that is being written.
#[derive(Debug, Clone, Copy)]
struct Frame {
    remaining: usize,
    withheld: bool,
}

impl PongFilter {
    /// Wraps `stream`. The flag says whether Pongs are withheld.
    pub fn new(stream: TcpStream, withhold_pongs: Arc<AtomicBool>) -> Self {
        Self { stream, withhold_pongs, upgraded: false, frame: Frame { remaining: 0, withheld: false } }
    }

    /// From now on everything written is websocket frames.
    pub fn set_upgraded(&mut self) {
        self.upgraded = true;
    }
}

/// Bytes of the frame that `bytes` begin with. The library hands frame headers over whole.
fn frame_len(bytes: &[u8]) -> Option<usize> {
    const MASK_LEN: usize = 4;
    let length_byte = bytes.get(1)? & 0x7f;
    let (header, payload) = match length_byte {
        126 => (4, usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?)).ok()?),
        short => (2, usize::from(short)),
    };
    Some(header + MASK_LEN + payload)
}

impl AsyncWrite for PongFilter {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if !this.upgraded || bytes.is_empty() {
            return Pin::new(&mut this.stream).poll_write(context, bytes);
        }
        if this.frame.remaining == 0 {
            let remaining = frame_len(bytes).ok_or_else(|| io::Error::other("a frame header was written in pieces"))?;
            let withheld = bytes.first() == Some(&FINAL_PONG) && this.withhold_pongs.load(Ordering::Relaxed);
            this.frame = Frame { remaining, withheld };
        }
        let part = bytes.get(..this.frame.remaining).unwrap_or(bytes);
        let written = match this.frame.withheld {
            true => part.len(),
            false => std::task::ready!(Pin::new(&mut this.stream).poll_write(context, part))?,
        };
        this.frame.remaining -= written;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

impl AsyncRead for PongFilter {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, into)
    }
}
