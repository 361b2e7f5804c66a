//! A listening port: who knocks is let in if there is a place and a descriptor, and turned away otherwise.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::socket::{setsockopt, sockopt},
};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{Instant, sleep_until, timeout},
};

use super::{Crowded, Seat, Seats};

/// Between attempts to accept while something that the process or the whole system lacks is used up.
const PAUSE: Duration = Duration::from_millis(100);
/// So long nothing must have been lacking before it is said again that something is: connections that come and go at the limit
/// would fill the log.
const QUIET: Duration = Duration::from_secs(60);

/// The port. *Promises*: never more connections than there are seats; when descriptors run out, newcomers are turned away one
/// by one instead of left waiting, and the processor is not kept busy with it.
#[derive(Debug)]
pub struct Door {
    listener: TcpListener,
    /// Given up for a moment to turn somebody away when there is no other descriptor.
    spare: Option<OwnedFd>,
    /// When something was last used up.
    exhausted: Option<Instant>,
    pause: Option<Instant>,
    seats: Seats,
}

/// A connection, prepared for use.
#[derive(Debug)]
pub struct Newcomer {
    /// The connection.
    pub stream: TcpStream,
    /// Whose it is.
    pub peer: SocketAddr,
    /// Its place, to its end.
    pub seat: Seat,
}

/// Why a connection was closed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnedAway {
    /// There was no place for it.
    Crowded(Crowded),
    /// There was no descriptor for it.
    NoDescriptor,
}

impl Door {
    /// A door to so many seats.
    pub fn new(listener: TcpListener, seats: Seats) -> Self {
        let mut door = Self { listener, spare: None, exhausted: None, pause: None, seats };
        door.keep_spare();
        door
    }

    /// Waits for the next who is let in. Nobody is lost or left uncounted if the wait is given up.
    ///
    /// # Errors
    /// If the next was turned away instead, and why.
    pub async fn next(&mut self) -> Result<Newcomer, TurnedAway> {
        loop {
            if let Some(end) = self.pause {
                sleep_until(end).await;
                self.pause = None;
            }
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    self.keep_spare();
                    let seat = self.seats.take(peer.ip().into()).map_err(TurnedAway::Crowded)?;
                    match prepare(&stream) {
                        Ok(()) => return Ok(Newcomer { stream, peer, seat }),
                        Err(error) => tracing::debug!(%error, "a connection ended before it was served"),
                    }
                }
                Err(error) if is_exhaustion(&error) => {
                    if self.turn_one_away(&error).await {
                        return Err(TurnedAway::NoDescriptor);
                    }
                }
                // accept(2) reports errors of the connection that is gone.
                Err(error) => tracing::debug!(%error, "a connection ended before it was accepted"),
            }
        }
    }

    /// Nothing can be accepted: with the spare descriptor one newcomer is told so, if there is one, and then there is a pause.
    async fn turn_one_away(&mut self, error: &io::Error) -> bool {
        let now = Instant::now();
        if self.exhausted.replace(now).is_none_or(|last| now > last + QUIET) {
            tracing::error!(
                %error,
                "cannot accept connections; raise the limit on open files or lower the number of connections allowed"
            );
        }
        drop(self.spare.take());
        let turned_away = matches!(timeout(PAUSE, self.listener.accept()).await, Ok(Ok(_)));
        self.keep_spare();
        self.pause = Some(Instant::now() + PAUSE);
        turned_away
    }

    /// A duplicate, because the jail leaves nothing that could be opened.
    fn keep_spare(&mut self) {
        if self.spare.is_none() {
            self.spare = self.listener.as_fd().try_clone_to_owned().ok();
        }
    }
}

/// Without the first, latency jumps by tens of milliseconds under light load. Without the second, a peer that vanished keeps
/// its place for ever if nothing is written to it.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    Ok(setsockopt(stream, sockopt::KeepAlive, &true)?)
}

/// Whether the process or the system has run out of something; such an error repeats until somebody gives it back.
fn is_exhaustion(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    async fn door(seats: Seats) -> (Door, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (Door::new(listener, seats), address)
    }

    #[tokio::test]
    async fn one_who_cannot_be_served_for_want_of_descriptors_is_turned_away_and_the_next_comes_in_after_a_pause() {
        let (mut door, address) = door(Seats::new(1, 1)).await;
        let mut first = TcpStream::connect(address).await.unwrap();
        let began = Instant::now();
        assert!(door.turn_one_away(&io::Error::from_raw_os_error(Errno::EMFILE as i32)).await);
        assert_eq!(first.read(&mut [0; 1]).await.unwrap(), 0);
        assert!(door.spare.is_some() && door.exhausted.is_some());
        let second = TcpStream::connect(address).await.unwrap();
        let newcomer = door.next().await.unwrap();
        assert_eq!(newcomer.peer, second.local_addr().unwrap());
        assert!(began.elapsed() >= PAUSE);
    }

    #[tokio::test]
    async fn without_descriptors_and_without_anybody_at_the_door_nobody_is_counted() {
        let (mut door, _) = door(Seats::new(1, 1)).await;
        assert!(!door.turn_one_away(&io::Error::from_raw_os_error(Errno::ENFILE as i32)).await);
    }

    #[tokio::test]
    async fn one_too_many_is_closed_and_the_reason_named() {
        let (mut door, address) = door(Seats::new(1, 1)).await;
        let _first = TcpStream::connect(address).await.unwrap();
        let newcomer = door.next().await.unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        assert_eq!(door.next().await.unwrap_err(), TurnedAway::Crowded(Crowded::InAll));
        assert_eq!(second.read(&mut [0; 1]).await.unwrap(), 0);
        drop(newcomer);
        let _third = TcpStream::connect(address).await.unwrap();
        assert!(door.next().await.is_ok());
    }
}
