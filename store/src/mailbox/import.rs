//! Takes over the inboxes of nym-gateway 0.10.x: `<inboxes>/<address in base58>/<random name>`, one file a message.
//!
//! *Promises*: a file is removed only when its message is committed; a crash in between repeats a message and loses none.
//! Empty files are dropped (a client of 2021 would crash on them). Folders of unknown clients, and what is no message,
//! stay where they are, with a warning.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::{AsFd, OwnedFd},
};

use bytes::Bytes;
use nix::{
    dir::{Dir, Type},
    fcntl::{AtFlags, OFlag, openat},
    sys::stat::{Mode, fstatat},
    unistd::{UnlinkatFlags, unlinkat},
};
use proto::{address::ClientAddress, ipc::store_edge::Sequence};

use super::{MailBatch, Mailbox, MailboxError};

/// Bytes taken over in one commit.
const BATCH_BYTES: u64 = 4 * 1024 * 1024;
/// No message was ever larger than the plaintext of the largest packet.
const MAX_MESSAGE: u64 = 64 * 1024;

/// Takes over every file, oldest first.
pub(super) fn import_files(mailbox: &impl Mailbox, inboxes: &OwnedFd) -> Result<(), MailboxError> {
    for (name, kind) in list(inboxes)? {
        let Some(client) = name.parse::<ClientAddress>().ok().filter(|_| kind == Type::Directory) else { continue };
        match mailbox.key_of(&client) {
            Ok(Some(_)) => {}
            Ok(None) => {
                tracing::warn!(folder = %client, "an inbox folder of a client that is not in the ledger stays as it is");
                continue;
            }
            Err(error @ MailboxError::UnknownRecord { .. }) => {
                tracing::error!(%error, "its inbox folder stays as it is");
                continue;
            }
            Err(error) => return Err(error),
        }
        let folder = open(inboxes, &name, OFlag::O_DIRECTORY)?;
        let imported = import_folder(mailbox, &client, &folder)?;
        match unlinkat(inboxes.as_fd(), name.as_str(), UnlinkatFlags::RemoveDir) {
            Ok(()) => tracing::info!(messages = imported, "took over an inbox folder of nym-gateway 0.10"),
            Err(error) => tracing::warn!(%error, folder = %client, "an inbox folder could not be emptied"),
        }
    }
    Ok(())
}

fn import_folder(mailbox: &impl Mailbox, client: &ClientAddress, folder: &OwnedFd) -> Result<u64, MailboxError> {
    let mut files = Vec::new();
    for (name, kind) in list(folder)? {
        if kind != Type::File {
            continue;
        }
        let stat = fstatat(folder, name.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW).map_err(failed("look at a file"))?;
        let age = (stat.st_mtime, stat.st_mtime_nsec);
        files.push((age, name, u64::try_from(stat.st_size).unwrap_or(u64::MAX)));
    }
    files.sort();
    let mut imported = 0;
    let mut files = files.into_iter().peekable();
    while files.peek().is_some() {
        let mut summary = mailbox.summary_of(client)?;
        let mut batch = MailBatch::default();
        let mut taken = Vec::new();
        let mut bytes = 0;
        while bytes < BATCH_BYTES
            && let Some((_, name, size)) = files.next()
        {
            if size > MAX_MESSAGE {
                tracing::warn!(%client, file = ?name, size, "a file too large to be a message stays as it is");
                continue;
            }
            let message = read(folder, &name)?;
            taken.push(name);
            if message.is_empty() {
                continue;
            }
            let len = message.len() as u64;
            batch.put(*client, Sequence(summary.next), message);
            summary.next += 1;
            summary.messages += 1;
            summary.bytes += len;
            bytes += len;
            imported += 1;
        }
        if !batch.is_empty() {
            batch.summarize(*client, summary);
            mailbox.commit_mail(&batch)?;
        }
        for name in taken {
            unlinkat(folder.as_fd(), name.as_str(), UnlinkatFlags::NoRemoveDir).map_err(failed("remove a file"))?;
        }
    }
    Ok(imported)
}

fn failed(action: &'static str) -> impl Fn(nix::Error) -> MailboxError {
    move |error| MailboxError::File { database: "inboxes", action, source: error.into() }
}

fn open(at: &OwnedFd, name: &str, flags: OFlag) -> Result<OwnedFd, MailboxError> {
    let flags = flags | OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    openat(at, name, flags, Mode::empty()).map_err(failed("open an inbox of nym-gateway 0.10"))
}

fn read(folder: &OwnedFd, name: &str) -> Result<Bytes, MailboxError> {
    let mut message = Vec::new();
    File::from(open(folder, name, OFlag::empty())?)
        .take(MAX_MESSAGE)
        .read_to_end(&mut message)
        .map_err(|source: io::Error| MailboxError::File { database: "inboxes", action: "read a message", source })?;
    Ok(message.into())
}

/// Names and kinds of what a directory holds; names that are no text were made by somebody else.
fn list(directory: &OwnedFd) -> Result<Vec<(String, Type)>, MailboxError> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut listing = Dir::openat(directory, ".", flags, Mode::empty()).map_err(failed("list"))?;
    let mut entries = Vec::new();
    for entry in listing.iter() {
        let entry = entry.map_err(failed("list"))?;
        let Ok(name) = entry.file_name().to_str() else { continue };
        if name == "." || name == ".." {
            continue;
        }
        let kind = match entry.file_type() {
            Some(kind) => kind,
            // Some file systems do not say in the listing.
            None => match fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW).map_err(failed("look at a file"))? {
                stat if stat.st_mode & nix::libc::S_IFMT == nix::libc::S_IFDIR => Type::Directory,
                stat if stat.st_mode & nix::libc::S_IFMT == nix::libc::S_IFREG => Type::File,
                _ => continue,
            },
        };
        entries.push((name.to_owned(), kind));
    }
    Ok(entries)
}
