//! Writes to standard output.
//!
//! *Promises*: a reader that goes away (`gatewayd init | head`) neither stops a command half-way nor makes it panic. The rest of the
//! output is dropped, and the work is done. Output that is lost for another reason, such as a full disk, is an error in the end.

use std::{fmt, io};

/// A writer of lines.
pub struct Console<'a> {
    out: &'a mut dyn io::Write,
    /// Why nothing is written any more.
    gone: Option<io::Error>,
}

impl<'a> Console<'a> {
    /// A console over `out`.
    pub fn new(out: &'a mut dyn io::Write) -> Self {
        Self { out, gone: None }
    }

    /// Prints `text` and a line feed.
    pub fn line(&mut self, text: impl fmt::Display) {
        if self.gone.is_none() {
            self.gone = writeln!(self.out, "{text}").err();
        }
    }

    /// Writes everything that was printed so far.
    pub fn flush(&mut self) {
        if self.gone.is_none() {
            self.gone = self.out.flush().err();
        }
    }

    /// Whether nothing is written any more, because an earlier line could not be.
    pub const fn is_lost(&self) -> bool {
        self.gone.is_some()
    }

    /// Writes everything that was printed so far, after which nothing is printed.
    ///
    /// # Errors
    /// If some of it is lost, and not because its reader did not want it.
    pub fn finish(mut self) -> io::Result<()> {
        self.flush();
        match self.gone {
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

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
        assert!(console.is_lost());
        console.line("x");
        console.finish().unwrap();
        assert_eq!(pipe.read, b"one\n");
    }

    #[test]
    fn output_that_a_full_disk_loses_is_an_error() {
        let mut full = File::options().write(true).open("/dev/full").unwrap();
        let mut console = Console::new(&mut full);
        console.line("one");
        assert_eq!(console.finish().unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
