//! One connection from a mix node: bytes in, deliveries out, in the order in which the packets came.
//!
//! *Trusts* nothing that is read; nothing is ever written. *Holds* the frames of its reads that have a turn, the beginning of the
//! next frame against the budget of all connections, and some batches that are not judged yet. *Promises*: a frame that breaks the
//! rules ends this connection only, and what came before that frame is kept. Bytes are read only in turn, so that what all
//! connections have read is bounded. Too many packets in a row that do not unwrap end the connection, however fast they come: the
//! judgement is checked before each read, and reading waits for the judgement.
//!
//! A read takes the bytes that have arrived: a packet or two of a slow connection, and up to thirty-three of a fast one whose packets
//! unwrap.

use std::{io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use tokio::{
    net::TcpStream,
    select,
    sync::{Notify, mpsc},
    time::{Instant, timeout_at},
};
use wire::framing::{FrameBuffer, FramingError};
use worker::{
    budget::{Evicted, PartialBudget, PartialPermit},
    counter::{count, count_many},
    drain::Drain,
    peer::ConnectionPermit,
};

use crate::{
    counters::Counters,
    deliver::Delivery,
    turns::{Record, SharedRecord, Turn},
    unwrap::{BATCH_PACKETS, Unwrapper, Unwrapping},
};

/// What every connection needs to unwrap and deliver its packets.
#[derive(Clone)]
pub(crate) struct PacketPath {
    /// Unwraps packets.
    pub(crate) unwrapper: Unwrapper,
    /// Takes unwrapped messages to `store`.
    pub(crate) deliveries: mpsc::Sender<Vec<Delivery>>,
    /// A frame that has begun must end within this time.
    pub(crate) half_frame: Duration,
    /// The memory for frames that have begun, shared by all connections.
    pub(crate) half_frames: PartialBudget,
    /// So many packets in a row that do not unwrap close a connection. Any client can have a mix node pass such packets on among those of
    /// others, so only a connection that brings nothing else is closed.
    pub(crate) malformed_packets: u32,
    /// Tells when to stop reading.
    pub(crate) drain: Drain,
    /// The counters of the process.
    pub(crate) counters: Arc<Counters>,
}

/// Why a connection was closed, or broke.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("{0}")]
    BadFrame(#[from] FramingError),
    #[error("a mix frame that had begun did not end in time")]
    HalfFrame,
    #[error("{0}")]
    MemoryNeeded(#[from] Evicted),
    #[error("the connection ended in the middle of a mix frame")]
    CutShort,
    #[error("too many packets in a row did not unwrap")]
    Malformed,
    #[error("it had to make room for another connection")]
    Evicted,
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Serves a connection until it ends and all of its packets are handed on.
pub(crate) async fn serve(stream: TcpStream, peer: SocketAddr, permit: ConnectionPermit, path: PacketPath) {
    let _open = path.counters.connections_open.raise();
    let judgement = Judgement { permit: &permit, record: SharedRecord::default(), too_many: Notify::new() };
    let (begun, in_order) = mpsc::channel(path.unwrapper.batches());
    let reading = async {
        let reader = Reader {
            stream,
            frames: FrameBuffer::new(),
            partial_until: None,
            half: path.half_frames.permit(),
            begun,
            judgement: &judgement,
            path: &path,
        };
        let Err(broken) = judgement.read(reader).await else { return };
        match broken {
            Broken::BadFrame(_) => count(&path.counters.bad_frames),
            Broken::HalfFrame => count(&path.counters.half_frame_timeouts),
            Broken::MemoryNeeded(_) => count(&path.counters.half_frames_for_others),
            Broken::CutShort => count(&path.counters.frames_cut_short),
            Broken::Malformed => count(&path.counters.malformed_limit_closures),
            Broken::Evicted | Broken::Io(_) => {}
        }
        tracing::debug!(reason = %broken, "connection closed");
        tracing::trace!(%peer, reason = %broken, "connection closed");
    };
    tokio::join!(judgement.hand_on(in_order, &path), reading);
}

/// What is known of the packets of a connection. Reading depends on it.
struct Judgement<'a> {
    permit: &'a ConnectionPermit,
    record: SharedRecord,
    /// Tells that too many packets in a row did not unwrap.
    too_many: Notify,
}

impl Judgement<'_> {
    /// Reads until the connection ends, has brought too many malformed packets, or is evicted.
    ///
    /// Reading is polled last: otherwise bytes that always keep coming would hide the other two.
    async fn read(&self, reader: Reader<'_>) -> Result<(), Broken> {
        select! {
            biased;
            () = self.too_many.notified() => Err(Broken::Malformed),
            () = self.permit.evicted() => Err(Broken::Evicted),
            read = reader.read() => read,
        }
    }

    /// Judges batches and hands them on in the order in which they were begun, whichever is done first.
    ///
    /// There is no time limit, because `store` sets the pace. At the end of the worker `deliveries` is closed, and what is left is
    /// counted.
    async fn hand_on(&self, mut in_order: mpsc::Receiver<Unwrapping>, path: &PacketPath) {
        let mut malformed = 0_usize;
        while let Some(unwrapping) = in_order.recv().await {
            let received = unwrapping.packets();
            let (deliveries, turn) = unwrapping.done(&path.counters).await;
            let packets = deliveries.len();
            self.permit.prove(u32::try_from(packets).unwrap_or(u32::MAX));
            self.record.set(if packets * 2 >= received { Record::Unwraps } else { Record::Fails });
            malformed = if packets > 0 { 0 } else { malformed.saturating_add(received) };
            if malformed >= path.malformed_packets as usize {
                self.too_many.notify_one();
            }
            if packets > 0 && path.deliveries.send(deliveries).await.is_err() {
                count_many(&path.counters.packets_cut_off, packets);
            }
            drop(turn);
        }
    }
}

struct Reader<'a> {
    stream: TcpStream,
    frames: FrameBuffer,
    /// The deadline of the frame that has begun.
    partial_until: Option<Instant>,
    /// The memory of the frame that has begun.
    half: PartialPermit,
    begun: mpsc::Sender<Unwrapping>,
    judgement: &'a Judgement<'a>,
    path: &'a PacketPath,
}

impl Reader<'_> {
    async fn read(mut self) -> Result<(), Broken> {
        let mut stop = pin!(self.path.drain.begun());
        let half = self.half.watch();
        while !self.path.drain.has_begun() {
            let read = select! {
                read = self.read_bytes() => read?,
                () = &mut stop => return Ok(()),
                () = half.evicted() => return Err(Evicted.into()),
            };
            let Some((len, turn)) = read else { return Ok(()) };
            if len == 0 {
                return if self.frames.holds_partial_frame() { Err(Broken::CutShort) } else { Ok(()) };
            }
            let completed = self.take_frames(turn).await?;
            self.frames.let_go_of_space();
            self.half.hold(self.frames.partial_len(), Instant::now().into_std())?;
            if !self.frames.holds_partial_frame() {
                self.partial_until = None;
            } else if completed || self.partial_until.is_none() {
                // The deadline begins only now, so that the wait for a turn is not held against the peer.
                self.partial_until = Some(Instant::now() + self.path.half_frame);
            }
        }
        Ok(())
    }

    /// Waits for bytes, then for a turn, and only then takes memory to read the bytes. `None` if the turns are gone.
    async fn read_bytes(&mut self) -> Result<Option<(usize, Turn)>, Broken> {
        loop {
            self.bytes_come().await?;
            let record = self.judgement.record.get();
            let Some(turn) = self.path.unwrapper.turn(self.judgement.permit.prefix(), record).await else {
                return Ok(None);
            };
            // Only a connection whose packets unwrap may have many packets unwrapped in one turn.
            let read = if record == Record::Unwraps {
                self.stream.try_read_buf(&mut self.frames.large_space())
            } else {
                self.stream.try_read_buf(&mut self.frames.space())
            };
            match read {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.frames.let_go_of_space(),
                read => return Ok(Some((read?, turn))),
            }
        }
    }

    /// Waits for bytes: without limit between frames, because an idle mix node stays connected, and until the deadline within a frame.
    async fn bytes_come(&self) -> Result<(), Broken> {
        match self.partial_until {
            None => Ok(self.stream.readable().await?),
            Some(deadline) => {
                Ok(timeout_at(deadline, self.stream.readable()).await.map_err(|_| Broken::HalfFrame)??)
            }
        }
    }

    /// Begins to unwrap all whole frames, and returns whether there were any. The last batch keeps the turn.
    async fn take_frames(&mut self, turn: Turn) -> Result<bool, FramingError> {
        let mut whole = Vec::new();
        let end = loop {
            match self.frames.next_frame() {
                Ok(Some(frame)) => whole.push(frame),
                Ok(None) => break Ok(!whole.is_empty()),
                Err(error) => break Err(error),
            }
        };
        let mut turn = Some(turn);
        let mut whole = whole.into_iter().peekable();
        while whole.peek().is_some() {
            let batch: Vec<_> = whole.by_ref().take(BATCH_PACKETS).collect();
            count_many(&self.path.counters.packets_received, batch.len());
            let unwrapping = self.path.unwrapper.begin(batch, turn.take_if(|_| whole.peek().is_none()));
            // The receiver lives until this sender is dropped.
            let _ = self.begun.send(unwrapping).await;
        }
        end
    }
}
