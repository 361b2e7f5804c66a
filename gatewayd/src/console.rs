//! Writes to standard output.
//!
//! *Promises*: a reader that goes away (`gatewayd init | head`) neither stops a command half-way nor makes it panic. The rest of the
//! output is dropped, and the work is done.

use std::{fmt, io};

/// A writer of lines.
pub struct Console<'a> {
    out: &'a mut dyn io::Write,
    gone: bool,
}

impl<'a> Console<'a> {
    /// A console over `out`.
    pub fn new(out: &'a mut dyn io::Write) -> Self {
        Self { out, gone: false }
    }

    /// Prints `text` and a line feed.
    pub fn line(&mut self, text: impl fmt::Display) {
        if !self.gone {
            self.gone = writeln!(self.out, "{text}").is_err();
        }
    }

    /// Writes everything that was printed so far.
    pub fn flush(&mut self) {
        if !self.gone {
            self.gone = self.out.flush().is_err();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pipe whose reader goes away after `room` bytes.
    struct Pipe {
        room: usize,
        read: Vec<u8>,
    }

    impl io::Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.room = self.room.checked_sub(bytes.len()).ok_or(io::ErrorKind::BrokenPipe)?;
            self.read.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_is_silent_and_final() {
        let mut pipe = Pipe { room: 6, read: Vec::new() };
        let mut console = Console::new(&mut pipe);
        console.line("one");
        console.line("three");
        console.line("x");
        console.flush();
        assert_eq!(pipe.read, b"one\n");
    }
}
