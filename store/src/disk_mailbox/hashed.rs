//! Hashes everything that is read or written, so that a file can end with the hash of all before it.

use std::io::{self, Read, Write};

/// A reader or writer, and the hash of what went through.
pub(super) struct Hashed<T> {
    pub(super) inner: T,
    pub(super) hasher: blake3::Hasher,
}

impl<T> Hashed<T> {
    pub(super) fn new(inner: T) -> Self {
        Self { inner, hasher: blake3::Hasher::new() }
    }
}

impl<W: Write> Hashed<W> {
    /// Writes the hash of everything before, and gives the writer back.
    pub(super) fn seal(mut self) -> io::Result<W> {
        self.inner.write_all(self.hasher.finalize().as_bytes())?;
        Ok(self.inner)
    }
}

impl<R: Read> Hashed<R> {
    /// Reads the hash of everything before, and compares it.
    pub(super) fn check(mut self) -> io::Result<()> {
        let mut expected = [0; blake3::OUT_LEN];
        self.inner.read_exact(&mut expected)?;
        if self.hasher.finalize() == blake3::Hash::from(expected) {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "it is not as it was written"))
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or(bytes));
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(bytes)?;
        self.hasher.update(bytes.get(..read).unwrap_or_default());
        Ok(read)
    }
}
