//! A stream that ends at a fixed time. Timeouts of single reads alone would let a peer that sends one byte a second go on for ever.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    time::Instant,
};

/// A connection on which nothing is read or written after `end`.
#[derive(Debug)]
pub(crate) struct Deadline {
    stream: TcpStream,
    end: Instant,
}

impl Deadline {
    /// Ends `stream` at `end`.
    pub(crate) const fn new(stream: TcpStream, end: Instant) -> Self {
        Self { stream, end }
    }

    fn left(&self) -> io::Result<std::time::Duration> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::Error::new(io::ErrorKind::TimedOut, "it is too slow")) } else { Ok(left) }
    }
}

impl Read for Deadline {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        self.stream.read(bytes)
    }
}

impl Write for Deadline {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread, time::Duration};

    use super::*;

    #[test]
    fn a_peer_that_sends_byte_by_byte_does_not_go_on_for_ever() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        // Ends when the other side is gone.
        let slow = thread::spawn(move || while peer.write_all(b"x").is_ok() {});
        let mut stream = Deadline::new(stream, Instant::now() + Duration::from_millis(50));
        let error = io::copy(&mut stream, &mut io::sink()).unwrap_err();
        assert!(matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock), "{error}");
        drop(stream);
        slow.join().unwrap();
    }
}
