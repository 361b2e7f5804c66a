//! Takes over the inboxes of nym-gateway 0.10.x: `<inboxes>/<address in base58>/<random name>`, one file a message.
//!
//! *Promises*: a file is removed only when its message is committed; a crash in between repeats a message and loses none.
//! Empty files are dropped (a client of 2021 would crash on them). Folders of unknown clients, and what is no message,
//! stay where they are, with a warning.

use std::{
    io::{self, Read},
    os::fd::{AsFd, OwnedFd},
};

use bytes::Bytes;
use ipc::ingress_store::Ack;
use nix::{
    dir::{Dir, Type},
    errno::Errno,
    fcntl::{AtFlags, OFlag, openat},
    sys::stat::{Mode, fstatat},
    unistd::{UnlinkatFlags, unlinkat},
};
use session_ipc::Sequence;
use wire::address::ClientAddress;

use crate::{
    mailbox::{MailBatch, Mailbox, MailboxError},
    plain_file,
};

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
                tracing::warn!(
                    id = "GWD-S018", folder = %client,
                    "an inbox folder of a client that is not in the ledger stays as it is"
                );
                continue;
            }
            Err(error @ MailboxError::UnknownRecord { .. }) => {
                tracing::error!(id = "GWD-S019", %error, "its inbox folder stays as it is");
                continue;
            }
            Err(error) => return Err(error),
        }
        let folder = open_folder(inboxes, &name)?;
        let imported = import_folder(mailbox, &client, &folder)?;
        match unlinkat(inboxes.as_fd(), name.as_str(), UnlinkatFlags::RemoveDir) {
            Ok(()) => tracing::info!(messages = imported, "took over an inbox folder of nym-gateway 0.10"),
            Err(error) => tracing::warn!(
                id = "GWD-S020", %error, folder = %client,
                "an inbox folder could not be emptied"
            ),
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
        let mut next = mailbox.summary_of(client)?.next;
        let mut batch = MailBatch::default();
        let mut taken = Vec::new();
        let mut bytes = 0;
        while bytes < BATCH_BYTES
            && let Some((_, name, size)) = files.next()
        {
            if size > MAX_MESSAGE {
                tracing::warn!(
                    id = "GWD-S021", %client, file = ?name, size,
                    "a file too large to be a message stays as it is"
                );
                continue;
            }
            let Some(message) = read(folder, &name)? else {
                tracing::warn!(
                    id = "GWD-S022", %client, file = ?name,
                    "not a plain file with one name: it stays as it is"
                );
                continue;
            };
            taken.push(name);
            if message.is_empty() {
                continue;
            }
            let len = message.len() as u64;
            batch.put(*client, Sequence(next), message, Ack::Owed);
            next += 1;
            bytes += len;
            imported += 1;
        }
        if !batch.is_empty() {
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

fn open_folder(at: &OwnedFd, name: &str) -> Result<OwnedFd, MailboxError> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    openat(at, name, flags, Mode::empty()).map_err(failed("open an inbox of nym-gateway 0.10"))
}

/// The message in a file; none if the file is a link or has a second name: it may be a file of another user.
fn read(folder: &OwnedFd, name: &str) -> Result<Option<Bytes>, MailboxError> {
    let file = match plain_file::open(folder, name, OFlag::O_RDONLY) {
        Err(error) if is_no_plain_file(&error) => return Ok(None),
        file => file.map_err(|source| MailboxError::File { database: "inboxes", action: "open a message", source })?,
    };
    let mut message = Vec::new();
    file.take(MAX_MESSAGE).read_to_end(&mut message).map_err(|source: io::Error| MailboxError::File {
        database: "inboxes",
        action: "read a message",
        source,
    })?;
    Ok(Some(message.into()))
}

/// Whether [`plain_file`] or the kernel refused the file: a file of another user cannot be read, and a link is not followed.
fn is_no_plain_file(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied || error.raw_os_error() == Some(Errno::ELOOP as i32)
}

/// Names and kinds of the files in a directory. No file of nym-gateway has a name that is no text.
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
            // Some file systems do not list the kind.
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
