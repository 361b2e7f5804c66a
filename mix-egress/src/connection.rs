//! A TCP connection to a next hop.
//!
//! *Trusts* nothing that the next hop does. A mix node never sends anything on these connections, so bytes from it are read into a small
//! buffer only to be discarded, and a next hop that does not read is given up after a time limit. *Promises*: nothing is written into
//! a connection of which the kernel knows that it has ended.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    os::fd::AsRawFd,
    time::Duration,
};

use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt::TcpUserTimeout};
use tokio::{
    io::Interest,
    net::TcpStream,
    select,
    time::{Instant, sleep_until, timeout},
};
use worker::counter::count_many;

use crate::{batch::Batch, counters::EgressCounters};

/// Bytes discarded with one call.
const DISCARD_BYTES: usize = 1_024;

/// Calls to discard in a row. A next hop that sends without end must not keep its task from writing.
const DISCARD_CALLS: usize = 16;

/// Why a connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gone {
    /// The next hop closed it, or the network broke it.
    Closed,
    /// The next hop took no packet for too long.
    Stalled,
}

impl From<io::Error> for Gone {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // The kernel's own time limit for unacknowledged bytes.
            ErrorKind::TimedOut => Self::Stalled,
            _ => Self::Closed,
        }
    }
}

/// What was read from the next hop.
enum Heard {
    /// Bytes, and perhaps more to come.
    Noise,
    /// The end of the stream.
    End,
}

/// A TCP connection to a next hop.
#[derive(Debug)]
pub(crate) struct HopConnection {
    stream: TcpStream,
    write_timeout: Duration,
    has_sent: bool,
}

impl HopConnection {
    /// Connects.
    ///
    /// # Errors
    /// If the connection cannot be made within `connect_timeout`.
    pub(crate) async fn open(
        next_hop: SocketAddr,
        connect_timeout: Duration,
        write_timeout: Duration,
    ) -> io::Result<Self> {
        let stream = timeout(connect_timeout, TcpStream::connect(next_hop)).await??;
        stream.set_nodelay(true)?;
        // Without this time limit the kernel retries for a quarter of an hour when a next hop has vanished.
        let milliseconds = u32::try_from(write_timeout.as_millis()).unwrap_or(u32::MAX);
        setsockopt(&stream, TcpUserTimeout, &milliseconds)?;
        Ok(Self { stream, write_timeout, has_sent: false })
    }

    /// Waits until the connection has ended, and discards what the next hop sends meanwhile.
    pub(crate) async fn gone(&self) -> Gone {
        loop {
            if let Err(error) = self.stream.readable().await {
                return error.into();
            }
            match self.stream.try_io(Interest::READABLE, || self.discard()) {
                Ok(Heard::End) => return Gone::Closed,
                Ok(Heard::Noise) => tokio::task::yield_now().await,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return error.into(),
            }
        }
    }

    /// Writes the whole batch. Frames leave the batch as they are written, and are counted.
    ///
    /// # Errors
    /// If the connection has ended. The frames that are still in the batch are not sent.
    pub(crate) async fn write(&mut self, batch: &mut Batch, counters: &EgressCounters) -> Result<(), Gone> {
        let mut time_limit = Instant::now() + self.write_timeout;
        while !batch.is_empty() {
            self.check_open()?;
            match batch.with_unwritten(|parts| self.stream.try_write_vectored(parts)) {
                Ok(bytes) => {
                    let sent = batch.advance(bytes);
                    if sent > 0 {
                        self.has_sent = true;
                        count_many(&counters.packets_sent, sent);
                        time_limit = Instant::now() + self.write_timeout;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => select! {
                    ready = self.stream.writable() => ready?,
                    gone = self.gone() => return Err(gone),
                    () = sleep_until(time_limit) => return Err(Gone::Stalled),
                },
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Whether a whole packet was ever written.
    pub(crate) const fn has_sent(&self) -> bool {
        self.has_sent
    }

    /// Closes at once, and drops what the kernel still holds for the next hop.
    pub(crate) fn abandon(self) {
        if let Err(error) = self.stream.set_zero_linger() {
            tracing::debug!(%error, "a stalled connection closes only when the kernel gives up");
        }
    }

    /// Asks the kernel whether the connection has ended, because the runtime may learn of it later.
    fn check_open(&self) -> Result<(), Gone> {
        match self.discard() {
            Ok(Heard::End) => Err(Gone::Closed),
            Ok(Heard::Noise) => Ok(()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads and discards.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing more to read, or the error that ended the connection.
    fn discard(&self) -> io::Result<Heard> {
        let mut nowhere = [0; DISCARD_BYTES];
        for _ in 0..DISCARD_CALLS {
            match recv(self.stream.as_raw_fd(), &mut nowhere, MsgFlags::MSG_DONTWAIT) {
                Ok(0) => return Ok(Heard::End),
                Ok(_) => {}
                Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(Heard::Noise)
    }
}
