//! A link as a reading and a writing half, and the two lanes that feed the writing half.

use std::{
    io,
    marker::PhantomData,
    os::fd::{AsFd, OwnedFd},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bincode::{Decode, Encode};
use interprocess::os::unix::uds_local_socket::tokio::Stream;
use ipc::codec::{self, FRAME_HEADER_LEN, FRAME_TARGET, MESSAGE_LIMIT};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    sync::mpsc,
    task::yield_now,
};
use zeroize::Zeroizing;

use super::{LinkError, receive_buffer::ReceiveBuffer};

/// Most mail that is taken at once, which bounds how long an answer waits.
const LANE_BATCH: usize = 128;

/// Room for the longest frame, so that the buffer never grows. A buffer that grows leaves its old memory unwiped, and a session key may
/// be in it.
const FRAME_CAPACITY: usize = FRAME_HEADER_LEN + FRAME_TARGET + MESSAGE_LIMIT;

/// One of the two owners of a link's socket. The socket needs no lock, since the kernel keeps the directions apart.
struct Half(Arc<Stream>);

impl AsyncRead for Half {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &*self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Half {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self.0).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &*self.0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &*self.0).poll_shutdown(cx)
    }
}

/// The reading half of a link, which yields messages `In`.
pub struct LinkReader<In> {
    stream: Half,
    buffer: ReceiveBuffer,
    incoming: PhantomData<fn() -> In>,
}

/// The writing half of a link, which takes messages `Out`.
pub struct LinkWriter<Out> {
    stream: Half,
    /// Wiped after each frame, since it may hold a session key.
    frame: Zeroizing<Vec<u8>>,
    outgoing: PhantomData<fn(Out)>,
}

/// Makes a link of one end of a socketpair.
///
/// # Errors
/// If the descriptor is no stream socket that can be watched.
pub fn open<In, Out>(end: OwnedFd) -> io::Result<(LinkReader<In>, LinkWriter<Out>)> {
    let flags = OFlag::from_bits_retain(fcntl(end.as_fd(), FcntlArg::F_GETFL)?);
    fcntl(end.as_fd(), FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    let stream = Arc::new(Stream::try_from(end)?);
    let (read, write) = (Half(Arc::clone(&stream)), Half(stream));
    Ok((
        LinkReader { stream: read, buffer: ReceiveBuffer::new(), incoming: PhantomData },
        LinkWriter { stream: write, frame: Zeroizing::new(Vec::with_capacity(FRAME_CAPACITY)), outgoing: PhantomData },
    ))
}

impl<In: Decode<()>> LinkReader<In> {
    /// The messages of the next frame. Cancel-safe.
    ///
    /// # Errors
    /// [`LinkError::Closed`] at the end of the link, or why the link cannot go on.
    pub async fn read_batch(&mut self) -> Result<Vec<In>, LinkError> {
        self.read_until(FRAME_HEADER_LEN).await?;
        let header = *self.buffer.unread().first_chunk().ok_or(LinkError::Closed)?;
        let len = FRAME_HEADER_LEN + codec::body_len(header)?;
        self.read_until(len).await?;
        let batch = codec::decode_body(self.buffer.unread().get(FRAME_HEADER_LEN..len).ok_or(LinkError::Closed)?);
        self.buffer.take(len);
        Ok(batch?)
    }

    /// Reads until `len` bytes are unread.
    async fn read_until(&mut self, len: usize) -> Result<(), LinkError> {
        while self.buffer.unread().len() < len {
            match self.stream.read(self.buffer.space(len)).await.map_err(closed_or_io)? {
                0 => return Err(LinkError::Closed),
                came => self.buffer.filled(came),
            }
        }
        Ok(())
    }
}

fn closed_or_io(error: io::Error) -> LinkError {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    match error.kind() {
        UnexpectedEof | BrokenPipe | ConnectionReset => LinkError::Closed,
        _ => LinkError::Io(error),
    }
}

impl<Out: Encode> LinkWriter<Out> {
    /// Writes messages in as few frames as their size allows, in order.
    ///
    /// # Errors
    /// If the link is gone, or a message cannot be encoded.
    pub async fn write_batch(&mut self, messages: &[Out]) -> Result<(), LinkError> {
        self.frame.clear();
        for message in messages {
            if self.frame.is_empty() {
                self.frame.extend_from_slice(&[0; FRAME_HEADER_LEN]);
            }
            codec::append(&mut self.frame, message)?;
            if self.frame.len() >= FRAME_TARGET {
                self.flush_frame().await?;
            }
        }
        self.flush_frame().await
    }

    async fn flush_frame(&mut self) -> Result<(), LinkError> {
        let Some(body_len) = self.frame.len().checked_sub(FRAME_HEADER_LEN) else { return Ok(()) };
        let length = u32::try_from(body_len).map_err(|_| codec::CodecError::FrameTooLarge(body_len))?;
        if let Some(header) = self.frame.first_chunk_mut::<FRAME_HEADER_LEN>() {
            *header = length.to_be_bytes();
        }
        let written = self.stream.write_all(&self.frame).await.map_err(closed_or_io);
        self.frame.fill(0);
        self.frame.clear();
        written
    }

    /// Writes the messages of the lanes until every sender is gone and everything is written, or the link is gone.
    ///
    /// # Errors
    /// If the link is gone, or a message cannot be encoded.
    pub async fn write_lanes(mut self, mut lanes: Lanes<Out>) -> Result<(), LinkError> {
        let (mut control, mut bulk) = (Vec::new(), Vec::with_capacity(LANE_BATCH));
        let mut open = (true, true);
        while open != (false, false) {
            tokio::select! {
                biased;
                first = lanes.control.recv(), if open.0 => {
                    open.0 = first.is_some();
                    control.extend(first);
                }
                first = lanes.bulk.recv(), if open.1 => {
                    open.1 = first.is_some();
                    bulk.extend(first);
                }
            }
            // Lets other tasks queue messages, so that one call writes them too and wakes the peer once.
            yield_now().await;
            // Mail is taken whichever lane was first, so that control messages without end cannot starve mail.
            while bulk.len() < LANE_BATCH
                && let Ok(message) = lanes.bulk.try_recv()
            {
                bulk.push(message);
            }
            // Control goes first, so that answers never wait behind mail. A control message that was queued before a piece of mail, such as
            // that its client is attached, is in its lane by now and must come first. The capacity of the lane bounds how much this is.
            for _ in 0..lanes.control.len() {
                control.extend(lanes.control.try_recv().ok());
            }
            self.write_batch(&control).await?;
            self.write_batch(&bulk).await?;
            control.clear();
            bulk.clear();
        }
        Ok(())
    }
}

/// The receiving side of the two lanes, for [`LinkWriter::write_lanes`].
pub struct Lanes<Out> {
    /// Answers, receipts and requests. Written first.
    pub control: mpsc::Receiver<Out>,
    /// Mail. Written after the control messages that wait at the same time.
    pub bulk: mpsc::Receiver<Out>,
}

#[cfg(test)]
mod tests {
    use ipc::Opaque;

    use super::*;
    use crate::descriptor::link_pair;

    #[test]
    fn the_buffer_of_a_frame_never_grows() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(async {
            let (here, there) = link_pair().unwrap();
            let (_reader, mut writer) = open::<Opaque, Opaque>(here).unwrap();
            let (mut reader, _writer) = open::<Opaque, Opaque>(there).unwrap();
            let before = writer.frame.as_ptr();
            // The last message begins just before the frame is long enough.
            let longest = Opaque(vec![1; MESSAGE_LIMIT - 16].into());
            let messages = [longest.clone(), longest.clone(), longest];
            let read = tokio::spawn(async move { reader.read_batch().await });
            writer.write_batch(&messages).await.unwrap();
            assert_eq!(read.await.unwrap().unwrap(), messages);
            assert_eq!(writer.frame.as_ptr(), before);
        });
    }
}
