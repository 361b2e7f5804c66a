//! One generation of marks as a file.
//!
//! ```text
//! "packseen"  version u32  number u64  seed 16 bytes  hashes u32  marked u64  begun u64  len u64
//! len bytes of marks
//! BLAKE3 of everything before, 32 bytes
//! ```
//!
//! Numbers are little-endian. A generation has one of a fixed number of places, by its number, so there is a limit on files
//! whatever numbers are asked for. What the marks mean is part of the version: in another one the same packet has other marks, so
//! files of earlier versions are of no use. The first gateways had two places, for even and odd numbers.
//!
//! *Trusts* nothing it finds. *Promises*: a name always leads to a whole file, because it is written under another name,
//! synced, and then renamed.

use std::{
    fs::File,
    io::{self, Read, Write},
    ops::Range,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::FileExt,
    },
};

use ipc::ingress_store::{GENERATIONS_LIMIT, MARKS_LEN, ReplayGeneration};
use nix::{
    errno::Errno,
    fcntl::{OFlag, openat, renameat},
    sys::stat::Mode,
    unistd::{UnlinkatFlags, fsync, unlinkat},
};

use crate::disk;

/// The places of the first gateways: for generations with an even and with an odd number.
const EARLIER_NAMES: [&str; 2] = ["generation-even", "generation-odd"];
/// What is being written.
const DRAFT: &str = "generation.new";

const MAGIC: [u8; 8] = *b"packseen";
/// Since version 2 a packet is named by the first keys of its secret, and no more by its last; since version 3 all its bits are in
/// one block.
const VERSION: u32 = 3;
const EARLIER_VERSIONS: Range<u32> = 1..VERSION;
const HEADER_LEN: usize = 64;
const CHECKSUM_LEN: usize = blake3::OUT_LEN;
/// Bytes after which a draft is synced: what waits to be written holds up the commits of others in the same file system.
const SYNC_EVERY: u64 = 1024 * 1024;
/// Bytes of the disk that are left to mail.
const ROOM_FOR_MAIL: u64 = 64 * 1024 * 1024;

/// Why a file is no generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Damage {
    #[error("it is something else, or was written by a later version")]
    Foreign,
    #[error("it has not the length that it says it has")]
    Length,
    #[error("its checksum is wrong")]
    Checksum,
    #[error("it has the number of another file")]
    Misplaced,
}

/// Why a file cannot be offered.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error("it was written by an earlier version")]
    Earlier,
    #[error(transparent)]
    Damaged(#[from] Damage),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<Errno> for OpenError {
    fn from(error: Errno) -> Self {
        Self::Io(error.into())
    }
}

/// Where a generation is kept.
pub(super) fn name_of(number: u64) -> String {
    format!("generation-{:02}", number % GENERATIONS_LIMIT as u64)
}

/// All names under which a generation may be found.
pub(super) fn names() -> impl Iterator<Item = String> {
    (0..GENERATIONS_LIMIT as u64).map(name_of).chain(EARLIER_NAMES.map(str::to_owned))
}

/// Renames a damaged file, so that the operator can look at it; only the last one is kept.
pub(super) fn put_aside(directory: &OwnedFd, name: &str) -> nix::Result<()> {
    renameat(directory, name, directory, format!("{name}.damaged").as_str())
}

/// A file that was read to its end and is what was written.
#[derive(Debug)]
pub(super) struct Intact {
    generation: ReplayGeneration,
    file: File,
}

impl Intact {
    /// Opens the file of that name and reads it once; none if there is no such file.
    pub(super) fn open(directory: &OwnedFd, name: &str) -> Result<Option<Self>, OpenError> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let file = match openat(directory, name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::ENOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut reader = &file;
        let mut header = [0; HEADER_LEN];
        match reader.read_exact(&mut header) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(Damage::Length.into()),
            read => read?,
        }
        let (version, generation) = decode(&header).ok_or(Damage::Foreign)?;
        if EARLIER_VERSIONS.contains(&version) {
            return Err(OpenError::Earlier);
        }
        if version != VERSION {
            return Err(Damage::Foreign.into());
        }
        let expected = (HEADER_LEN + CHECKSUM_LEN) as u64;
        if file.metadata()?.len().checked_sub(expected) != Some(generation.len) {
            return Err(Damage::Length.into());
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(&header);
        let mut marks = reader.take(generation.len);
        let mut buffer = vec![0; MARKS_LEN];
        loop {
            match marks.read(&mut buffer)? {
                0 => break,
                len => hasher.update(buffer.get(..len).unwrap_or_default()),
            };
        }
        let mut checksum = [0; CHECKSUM_LEN];
        file.read_exact_at(&mut checksum, HEADER_LEN as u64 + generation.len)?;
        // Compared in constant time, which does not matter here.
        if hasher.finalize() != checksum {
            return Err(Damage::Checksum.into());
        }
        if name != name_of(generation.number) {
            return Err(Damage::Misplaced.into());
        }
        Ok(Some(Self { generation, file }))
    }

    /// What it holds.
    pub(super) const fn generation(&self) -> ReplayGeneration {
        self.generation
    }

    /// The marks from byte `offset` on, at most `len`; none behind the last.
    pub(super) fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let left = self.generation.len.saturating_sub(offset);
        let mut marks = vec![0; usize::try_from(left).unwrap_or(usize::MAX).min(len)];
        self.file.read_exact_at(&mut marks, (HEADER_LEN as u64).saturating_add(offset))?;
        Ok(marks)
    }
}

/// A generation that is being written.
#[derive(Debug)]
pub(super) struct Draft {
    generation: ReplayGeneration,
    file: File,
    hasher: blake3::Hasher,
    written: u64,
    synced: u64,
}

impl Draft {
    /// Begins a file for `generation`; one that was begun before is given up.
    pub(super) fn begin(directory: &OwnedFd, generation: ReplayGeneration) -> io::Result<Self> {
        if disk::free(directory)? < generation.len.saturating_add(ROOM_FOR_MAIL) {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "the rest of the disk is left to mail"));
        }
        // A new file, so that no other name of the one before is written to.
        discard_draft(directory);
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let file = File::from(openat(directory, DRAFT, flags, Mode::S_IRUSR | Mode::S_IWUSR)?);
        let mut draft = Self { generation, file, hasher: blake3::Hasher::new(), written: 0, synced: 0 };
        draft.append(&encode(&generation))?;
        Ok(draft)
    }

    /// How many bytes of marks are still to come.
    pub(super) const fn missing(&self) -> u64 {
        self.generation.len.saturating_sub(self.written)
    }

    /// Writes the next marks.
    pub(super) fn write(&mut self, marks: &[u8]) -> io::Result<()> {
        self.append(marks)?;
        self.written = self.written.saturating_add(marks.len() as u64);
        if self.written.saturating_sub(self.synced) >= SYNC_EVERY {
            self.file.sync_data()?;
            self.synced = self.written;
        }
        Ok(())
    }

    /// Puts the file, which is whole, in the place of its generation.
    pub(super) fn commit(mut self, directory: &OwnedFd) -> io::Result<()> {
        let checksum = self.hasher.finalize();
        self.file.write_all(checksum.as_bytes())?;
        self.file.sync_all()?;
        renameat(directory, DRAFT, directory, name_of(self.generation.number).as_str())?;
        fsync(directory)?;
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.file.write_all(bytes)
    }
}

/// Removes a generation that is of no more use.
pub(super) fn remove(directory: &OwnedFd, name: &str) -> nix::Result<()> {
    unlinkat(directory.as_fd(), name, UnlinkatFlags::NoRemoveDir)
}

/// Removes what was written of a file that will not be finished, so that it takes no room.
pub(super) fn discard_draft(directory: &OwnedFd) {
    // If it is not there, nothing takes room.
    let _ = remove(directory, DRAFT);
}

fn encode(generation: &ReplayGeneration) -> Vec<u8> {
    let ReplayGeneration { number, seed, hashes, marked, begun, len } = generation;
    let mut header = Vec::with_capacity(HEADER_LEN);
    header.extend_from_slice(&MAGIC);
    header.extend_from_slice(&VERSION.to_le_bytes());
    header.extend_from_slice(&number.to_le_bytes());
    header.extend_from_slice(seed);
    header.extend_from_slice(&hashes.to_le_bytes());
    for field in [marked, begun, len] {
        header.extend_from_slice(&field.to_le_bytes());
    }
    header
}

/// The version of a file, and what it holds if the version is ours.
fn decode(header: &[u8; HEADER_LEN]) -> Option<(u32, ReplayGeneration)> {
    let rest = header.strip_prefix(&MAGIC)?;
    let (version, rest) = rest.split_first_chunk()?;
    let (number, rest) = rest.split_first_chunk()?;
    let (seed, rest) = rest.split_first_chunk()?;
    let (hashes, rest) = rest.split_first_chunk()?;
    let (marked, rest) = rest.split_first_chunk()?;
    let (begun, rest) = rest.split_first_chunk()?;
    let (len, _) = rest.split_first_chunk()?;
    let generation = ReplayGeneration {
        number: u64::from_le_bytes(*number),
        seed: *seed,
        hashes: u32::from_le_bytes(*hashes),
        marked: u64::from_le_bytes(*marked),
        begun: u64::from_le_bytes(*begun),
        len: u64::from_le_bytes(*len),
    };
    Some((u32::from_le_bytes(*version), generation))
}
