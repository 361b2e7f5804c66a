//! Where segments are kept: the few calls that the log makes to a file system. Tests put a file system in its place that loses power,
//! reports errors late, and is full.

pub(crate) mod directory;
#[cfg(test)]
pub(crate) mod memory;

use std::{fmt::Debug, io};

/// A folder of segments.
pub(crate) trait Shelf: Debug + Send + Sync + 'static {
    /// An open file of it.
    type File: SegmentFile;

    /// The names of its files.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes a file of zeros. Every byte has its place on the medium, where the file system can promise that. No file may have the name.
    /// The file is synced; its name is synced by [`sync_names`](Self::sync_names).
    fn make(&self, name: &str, len: u64) -> io::Result<Self::File>;

    /// Opens a file.
    fn open(&self, name: &str) -> io::Result<Self::File>;

    /// Gives a file another name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Takes a file away.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Returns when every name that was made, changed or removed is so on the medium.
    fn sync_names(&self) -> io::Result<()>;

    /// Bytes free on the medium.
    fn free(&self) -> io::Result<u64>;

    /// Keeps some bytes in a file of their own, for the operator; nothing rests on them.
    fn leave(&self, name: &str, bytes: &[u8]) -> io::Result<()>;
}

/// A file of a [`Shelf`]. Every call names its offset, since after an error the position of a file cannot be relied on.
pub(crate) trait SegmentFile: Debug + Send + Sync + 'static {
    /// Fills the bytes with what is at this place.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all bytes at this place.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Returns when all that was written is on the medium. After an error nothing is known of what was written since the last
    /// success, whatever a second call returns.
    fn sync(&self) -> io::Result<()>;

    /// Bytes of the file.
    fn len(&self) -> io::Result<u64>;
}
