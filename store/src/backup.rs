//! The store's part of a backup: ledger, mail and marks of packets seen, written to a socket that it is lent.
//!
//! *Trusts* the operator, who reads the socket, with all of it. *Promises*: every client that is registered and every message that is on
//! the medium when it begins are in it, unless they are removed meanwhile; mail comes first, so that no message lacks its client. It
//! happens on a thread of its own, a page at a time, so that commits wait for no more than one page of the ledger. A reader that takes
//! nothing for too long ends it.
//!
//! Classes of clients are left out: clients prove once more that they read.

use std::{
    fs::File,
    io::{self, BufWriter, Read as _, Write},
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use ipc::backup::{self, LONGEST, PartFolder};

use crate::{mailbox::MailboxError, replay};

/// A reader that takes nothing for so long is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// What can be backed up while it is in use.
pub trait BackUp: Send + Sync + 'static {
    /// Writes all mail, in the form of the file from which a start takes it over.
    ///
    /// # Errors
    /// If it cannot be read or written.
    fn write_mail(&self, out: &mut dyn Write) -> Result<(), BackupError>;

    /// Writes the ledger, as one that knows that it comes from a backup.
    ///
    /// # Errors
    /// If it cannot be read or written.
    fn write_ledger(&self, out: &mut dyn Write) -> Result<(), BackupError>;

    /// The names of the two files: of mail, and of the ledger.
    fn names(&self) -> (&'static str, &'static str);
}

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// What is stored cannot be read.
    #[error(transparent)]
    Mailbox(#[from] MailboxError),
    /// A file cannot be read, or the reader is gone.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Whoever reads the backup.
#[derive(Debug)]
pub(crate) struct Reader {
    socket: File,
    is_ending: Arc<AtomicBool>,
}

impl Reader {
    /// The reader at the other end of `socket`, on which a write returns after a time. `is_ending` says that the process is to end.
    pub(crate) fn new(socket: OwnedFd, is_ending: Arc<AtomicBool>) -> Self {
        Self { socket: socket.into(), is_ending }
    }
}

impl Write for Reader {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let end = Instant::now() + PATIENCE;
        loop {
            if self.is_ending.load(Ordering::Relaxed) {
                return Err(io::Error::other("the gateway is ending"));
            }
            match self.socket.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < end => {}
                written => return written,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes everything to `socket`.
pub(crate) fn write(source: &impl BackUp, replay: &OwnedFd, mut socket: Reader) {
    tracing::info!("a backup begins");
    match write_parts(source, replay, &mut socket) {
        Ok(()) => tracing::info!("a backup was written"),
        Err(error) => {
            tracing::error!(id = "GWD-S001", %error, "a backup could not be written");
            // If the reader is gone, it knows by itself.
            let _ = backup::fail(&mut socket, &error.to_string());
        }
    }
}

fn write_parts(source: &impl BackUp, replay: &OwnedFd, socket: &mut Reader) -> Result<(), BackupError> {
    let (mail, ledger) = source.names();
    write_part(socket, PartFolder::Inboxes, mail, |out| source.write_mail(out))?;
    write_part(socket, PartFolder::Ledger, ledger, |out| source.write_ledger(out))?;
    for (name, mut file) in replay::saved(replay)? {
        write_part(socket, PartFolder::Replay, &name, |out| copy(&mut file, out))?;
    }
    Ok(backup::end(socket)?)
}

fn write_part(
    socket: &mut Reader,
    folder: PartFolder,
    name: &str,
    write: impl FnOnce(&mut dyn Write) -> Result<(), BackupError>,
) -> Result<(), BackupError> {
    backup::begin_part(socket, folder, name)?;
    let mut out = BufWriter::with_capacity(LONGEST, Pieces(socket));
    write(&mut out)?;
    Ok(out.flush()?)
}

/// Copies with plain reads and writes: other ways to copy need system calls that the jail does not allow.
fn copy(file: &mut File, out: &mut dyn Write) -> Result<(), BackupError> {
    let mut buffer = vec![0; LONGEST];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(()),
            len => out.write_all(buffer.get(..len).unwrap_or_default())?,
        }
    }
}

/// Writes bytes as pieces of the stream.
struct Pieces<'a>(&'a mut Reader);

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        backup::write_bytes(self.0, bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
