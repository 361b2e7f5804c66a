//! Rewrites a database, without what is dead in it.
//!
//! sled gives no space back, and its file grows with every change for a while. A ledger holds little and changes often: a flood of
//! logins would fill the disk with dead records. So a ledger that has outgrown its share is closed, and everything alive in it is
//! written to one file, `records`, from which the database is made again.
//!
//! | step | what is there | after a crash |
//! |---|---|---|
//! | 1 | the database, and `records.part`, which grows | the part is removed, and the database is as before |
//! | 2 | the database, and `records`, whole and on the medium | the database is removed, and made from `records` |
//! | 3 | `records`, and a database that is being made from it | the same |
//! | 4 | the new database, on the medium | nothing is left to do |
//!
//! *Promises*: at every moment either the database or `records` is whole. Memory is bounded by one batch.
//!
//! `records` is a row of: number of the tree's name and its bytes, lengths of key and value, key, value; and at its end a byte of
//! 0xff and a BLAKE3 hash over all before it.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Write},
    os::fd::{AsFd, OwnedFd},
};

use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::{OFlag, renameat},
    sys::stat::Mode,
    unistd::{UnlinkatFlags, fsync, unlinkat},
};

use super::{databases::Database, hashed::Hashed};
use crate::{mailbox::MailboxError, plain_file};

pub(super) const RECORDS: &str = "records";
const PART: &str = "records.part";
/// In place of the length of a tree's name: no record follows.
pub(super) const END: u8 = 0xff;
/// Records made from the file in one batch.
const BATCH: usize = 1_024;
/// Bytes of one key or value at the most; the ledger's own have a few hundred.
const LONGEST: u32 = 1 << 20;

/// Whether a rewrite was begun and its records are whole. Records that are not whole are removed.
pub(super) fn is_pending(directory: &OwnedFd) -> io::Result<bool> {
    match unlinkat(directory.as_fd(), PART, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(error) => return Err(error.into()),
    }
    match plain_file::open(directory, RECORDS, OFlag::O_RDONLY) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Steps 1 and 2: writes what is alive in the database to `records`.
pub(super) fn write_records(database: &Database, directory: &OwnedFd) -> Result<(), MailboxError> {
    let failed = |source| database.file_error("write what is alive", source);
    // There is none of that name: see `is_pending`.
    let file = plain_file::open(directory, PART, OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY).map_err(failed)?;
    let written = write_all(database, file).and_then(|()| {
        renameat(directory, PART, directory, RECORDS).map_err(|error| failed(error.into()))?;
        fsync(directory).map_err(|error| failed(error.into()))
    });
    if written.is_err() {
        // The part is of no use, and takes room.
        let _ = unlinkat(directory.as_fd(), PART, UnlinkatFlags::NoRemoveDir);
    }
    written
}

fn write_all(database: &Database, file: File) -> Result<(), MailboxError> {
    let failed = |source| database.file_error("write what is alive", source);
    let mut out = Hashed::new(BufWriter::new(file));
    for name in database.tree_names() {
        let tree = database.tree_of(&name)?;
        for record in tree.iter() {
            let (key, value) = record.map_err(|error| database.error(error))?;
            write_record(&mut out, &name, &key, &value).map_err(failed)?;
        }
    }
    out.write_all(&[END]).map_err(failed)?;
    let file = out.seal().map_err(failed)?.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)
}

pub(super) fn write_record(out: &mut impl Write, tree: &[u8], key: &[u8], value: &[u8]) -> io::Result<()> {
    let name_len = u8::try_from(tree.len()).map_err(io::Error::other)?;
    out.write_all(&[name_len])?;
    out.write_all(tree)?;
    for bytes in [key, value] {
        out.write_all(&u32::try_from(bytes.len()).map_err(io::Error::other)?.to_be_bytes())?;
    }
    out.write_all(key)?;
    out.write_all(value)
}

/// Before step 3: removes the old database, which must not be open. Its folder of large values, of which a ledger has none, stays.
pub(super) fn remove_database(directory: &OwnedFd) -> io::Result<()> {
    let mut listing =
        Dir::openat(directory, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    for entry in listing.iter() {
        let entry = entry?;
        let name = entry.file_name();
        let is_of_it = matches!(name.to_bytes(), b"db" | b"conf") || name.to_bytes().starts_with(b"snap.");
        if is_of_it {
            unlinkat(directory.as_fd(), name, UnlinkatFlags::NoRemoveDir)?;
        }
    }
    Ok(fsync(directory)?)
}

/// Step 3: makes the database from `records`, and returns when it is on the medium and `records` is gone.
pub(super) fn read_records(database: &Database, directory: &OwnedFd) -> Result<u64, MailboxError> {
    let failed = |source| database.file_error("read the records of a rewrite", source);
    let file = plain_file::open(directory, RECORDS, OFlag::O_RDONLY).map_err(failed)?;
    let mut input = Hashed::new(BufReader::new(file));
    let mut made = Made { database, tree: None, batch: sled::Batch::default(), waiting: 0, records: 0 };
    while let Some((tree, key, value)) = read_record(&mut input).map_err(failed)? {
        made.add(tree, key, value)?;
    }
    made.apply()?;
    input.check().map_err(failed)?;
    database.commit()?;
    unlinkat(directory.as_fd(), RECORDS, UnlinkatFlags::NoRemoveDir).map_err(|error| failed(error.into()))?;
    fsync(directory).map_err(|error| failed(error.into()))?;
    Ok(made.records)
}

/// Name of a tree, key and value; nothing at the end.
type Record = (Vec<u8>, Vec<u8>, Vec<u8>);

fn read_record(input: &mut impl Read) -> io::Result<Option<Record>> {
    let mut name_len = [0];
    input.read_exact(&mut name_len)?;
    let [name_len] = name_len;
    if name_len == END {
        return Ok(None);
    }
    let tree = read_bytes(input, name_len.into())?;
    let mut lens = [[0; 4]; 2];
    input.read_exact(lens.as_flattened_mut())?;
    let [key_len, value_len] = lens.map(u32::from_be_bytes);
    Ok(Some((tree, read_bytes(input, key_len)?, read_bytes(input, value_len)?)))
}

fn read_bytes(input: &mut impl Read, len: u32) -> io::Result<Vec<u8>> {
    if len > LONGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a record has an impossible length"));
    }
    let mut bytes = vec![0; len as usize];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// A database that is being made.
struct Made<'a> {
    database: &'a Database,
    /// The tree of the records that wait, and its name.
    tree: Option<(Vec<u8>, sled::Tree)>,
    batch: sled::Batch,
    waiting: usize,
    records: u64,
}

impl Made<'_> {
    fn add(&mut self, name: Vec<u8>, key: Vec<u8>, value: Vec<u8>) -> Result<(), MailboxError> {
        if self.tree.as_ref().is_none_or(|(known, _)| *known != name) {
            self.apply()?;
            let tree = self.database.tree_of(&name)?;
            self.tree = Some((name, tree));
        }
        self.batch.insert(key, value);
        self.waiting += 1;
        self.records += 1;
        if self.waiting >= BATCH { self.apply() } else { Ok(()) }
    }

    fn apply(&mut self) -> Result<(), MailboxError> {
        let batch = std::mem::take(&mut self.batch);
        self.waiting = 0;
        match &self.tree {
            Some((_, tree)) => tree.apply_batch(batch).map_err(|error| self.database.error(error)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk_mailbox::ledger_file::LEDGER;

    #[test]
    fn a_record_with_an_impossible_length_takes_no_memory() {
        let read = |len| read_bytes(&mut io::repeat(7), len).map(|bytes| bytes.len());
        assert_eq!(read(LONGEST).unwrap(), 1 << 20);
        for len in [LONGEST + 1, u32::MAX] {
            assert_eq!(read(len).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }

    #[test]
    fn a_batch_of_records_is_applied_when_it_is_full() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(File::open(folder.path()).unwrap().into(), LEDGER).unwrap();
        let mut made = Made { database: &database, tree: None, batch: sled::Batch::default(), waiting: 0, records: 0 };
        for number in 1..=2 * BATCH as u32 {
            made.add(b"tree".to_vec(), number.to_be_bytes().to_vec(), Vec::new()).unwrap();
            let there = database.tree("tree").unwrap().len();
            assert_eq!(there, number as usize / BATCH * BATCH);
        }
        assert_eq!(made.records, 2 * BATCH as u64);
    }
}
