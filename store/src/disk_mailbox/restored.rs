//! Mail that comes from a backup: how it is written there, and how a start takes it over from the file that `gatewayd restore` left.
//!
//! *Trusts* the file only as a whole: its hash is checked before the first message is taken. *Promises*: a message is in the log before the
//! file goes. A crash in between repeats nothing: messages keep their numbers, and those that the log has are passed over. Memory is
//! bounded by one commit.
//!
//! The file is a row of: 1, address 32, number 8, time of arrival in Unix milliseconds 8, whether it came with a SURB-ack 1, length 4,
//! body. At its end are a byte of 0 and a BLAKE3 hash over all before it. Numbers are big-endian.

use std::{
    io::{self, BufReader, Read, Write},
    os::fd::AsFd as _,
};

use ipc::ingress_store::Ack;
use nix::{
    fcntl::OFlag,
    unistd::{UnlinkatFlags, fsync, unlinkat},
};
use session_ipc::Sequence;
use wire::address::ClientAddress;

use super::{DiskMailbox, hashed::Hashed};
use crate::{
    mail::TakenOver,
    mailbox::{Mailbox, MailboxError},
    plain_file,
};

/// Name of the file, in the folder of the inboxes.
pub(super) const RESTORED: &str = "mail.restored";
const MESSAGE: u8 = 1;
const END: u8 = 0;
/// No message is longer.
const LONGEST: u32 = 1 << 24;
/// Messages and bytes taken over in one commit.
const MESSAGES_AT_ONCE: usize = 1_024;
const BYTES_AT_ONCE: usize = 2 * 1024 * 1024;

/// Writes one message.
pub(super) fn write_message(out: &mut impl Write, message: &TakenOver) -> io::Result<()> {
    let TakenOver { client, number, arrival, ack, body } = message;
    let mut head = vec![MESSAGE];
    head.extend_from_slice(client.as_bytes());
    head.extend_from_slice(&number.0.to_be_bytes());
    head.extend_from_slice(&arrival.to_be_bytes());
    head.push(u8::from(*ack == Ack::Owed));
    head.extend_from_slice(&u32::try_from(body.len()).map_err(io::Error::other)?.to_be_bytes());
    out.write_all(&head)?;
    out.write_all(body)
}

/// Ends the file.
pub(super) fn seal(mut out: Hashed<impl Write>) -> io::Result<()> {
    out.write_all(&[END])?;
    out.seal()?.flush()
}

fn read_message(input: &mut impl Read) -> io::Result<Option<TakenOver>> {
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "a message has an unknown form");
    let mut kind = [0];
    input.read_exact(&mut kind)?;
    match kind {
        [MESSAGE] => {}
        [END] => return Ok(None),
        _ => return Err(malformed()),
    }
    let mut client = [0; ClientAddress::LEN];
    input.read_exact(&mut client)?;
    let mut numbers = [[0; 8]; 2];
    input.read_exact(numbers.as_flattened_mut())?;
    let [number, arrival] = numbers.map(u64::from_be_bytes);
    let (mut owed, mut len) = ([0], [0; 4]);
    input.read_exact(&mut owed)?;
    input.read_exact(&mut len)?;
    let ack = match owed {
        [1] => Ack::Owed,
        [0] => Ack::NotOwed,
        _ => return Err(malformed()),
    };
    let len = u32::from_be_bytes(len);
    if len > LONGEST {
        return Err(malformed());
    }
    let mut body = vec![0; len as usize];
    input.read_exact(&mut body)?;
    let (client, number) = (ClientAddress(client), Sequence(number));
    Ok(Some(TakenOver { client, number, arrival, ack, body: body.into() }))
}

impl DiskMailbox {
    /// Takes over the mail of a backup, if there is any.
    pub(super) fn take_over_restored(&self) -> Result<(), MailboxError> {
        let failed = |action| move |source| MailboxError::File { database: "mail", action, source };
        let read_failed = failed("take over the restored mail (restore the backup once more)");
        let open = || -> io::Result<_> {
            let file = plain_file::open(self.inbox_directory(), RESTORED, OFlag::O_RDONLY)?;
            Ok(Hashed::new(BufReader::with_capacity(256 * 1024, file)))
        };
        let mut whole = match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            opened => opened.map_err(read_failed)?,
        };
        while read_message(&mut whole).map_err(read_failed)?.is_some() {}
        whole.check().map_err(read_failed)?;

        let mut input = open().map_err(read_failed)?;
        let (mut batch, mut bytes, mut taken) = (Vec::new(), 0, 0);
        let mut owner: Option<(ClientAddress, bool)> = None;
        while let Some(message) = read_message(&mut input).map_err(read_failed)? {
            if owner.is_none_or(|(known, _)| known != message.client) {
                owner = Some((message.client, !matches!(self.key_of(&message.client), Ok(None))));
            }
            // The client was forgotten while the backup was made.
            if !owner.is_some_and(|(_, is_client)| is_client) {
                continue;
            }
            bytes += message.body.len();
            batch.push(message);
            if bytes >= BYTES_AT_ONCE || batch.len() >= MESSAGES_AT_ONCE {
                taken += self.mail().take_over(&std::mem::take(&mut batch))?;
                bytes = 0;
            }
        }
        taken += self.mail().take_over(&batch)?;
        unlinkat(self.inbox_directory().as_fd(), RESTORED, UnlinkatFlags::NoRemoveDir)
            .and_then(|()| fsync(self.inbox_directory()))
            .map_err(|error| failed("remove the restored mail that was taken over")(error.into()))?;
        tracing::info!(messages = taken, "the mail of a backup was taken over");
        Ok(())
    }
}
