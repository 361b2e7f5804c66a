//! Takes over the mail that versions before the mail log kept in a sled database, in the folder of the inboxes.
//!
//! *Promises*: a message is in the log before the database goes, and the database goes as a whole. A crash in between repeats
//! nothing: messages keep their numbers, and those that the log has are passed over. Memory is bounded by one commit.

use std::{
    io,
    time::{Duration, Instant},
};

use bytes::Bytes;
use ipc::ingress_store::Ack;
use nix::fcntl::OFlag;
use session_ipc::Sequence;
use wire::address::ClientAddress;

use super::{
    DiskMailbox,
    databases::{Database, Layout},
    record, rewrite,
};
use crate::{
    mail::TakenOver,
    mailbox::{Mailbox, MailboxError},
    plain_file,
};

/// As it was made: a leaf full of the largest messages fits a segment.
const INBOXES: Layout = Layout { name: "inboxes", segment_size: 4 * 1024 * 1024, cache: 8 * 1024 * 1024 };
/// The tree of what was found among the messages and is none.
const SET_ASIDE: &str = "set_aside";
/// Bytes taken over in one commit, and messages.
const AT_ONCE: usize = 2 * 1024 * 1024;
const MESSAGES_AT_ONCE: usize = 1_024;
/// How often the progress is logged.
const PROGRESS: Duration = Duration::from_secs(5);

impl DiskMailbox {
    /// Takes over all mail of the database, if there is one.
    pub(super) fn take_over_sled_inboxes(&self) -> Result<(), MailboxError> {
        let failed = |action| move |source| MailboxError::File { database: "inboxes", action, source };
        match plain_file::open(self.inbox_directory(), "db", OFlag::O_RDWR) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed("open the file `db`")(error)),
        }
        let directory = self.inbox_directory().try_clone().map_err(failed("open the directory"))?;
        let database = Database::open(directory, INBOXES)?;
        tracing::info!(bytes = database.len()?, "taking over stored mail from the database of an earlier version");
        let messages = self.take_over(&database)?;
        drop(database);
        rewrite::remove_database(self.inbox_directory())
            .map_err(failed("remove the database of an earlier version"))?;
        tracing::info!(messages, "stored mail was taken over");
        Ok(())
    }

    fn take_over(&self, database: &Database) -> Result<u64, MailboxError> {
        let mut taken = 0;
        let mut batch: Vec<TakenOver> = Vec::new();
        let mut bytes = 0;
        let mut told = Instant::now();
        let mut owner: Option<(ClientAddress, bool)> = None;
        for entry in database.default_tree().iter() {
            let (key, value) = entry.map_err(|error| database.error(error))?;
            let (Some(client), Some(number)) = (record::owner_of(&key), record::sequence_of(&key)) else { continue };
            if owner.is_none_or(|(known, _)| known != client) {
                owner = Some((client, !matches!(self.key_of(&client), Ok(None))));
            }
            // The client was forgotten, and the gateway died before the mail was removed.
            if !owner.is_some_and(|(_, is_client)| is_client) {
                continue;
            }
            let Some((message, arrival)) = record::decode_message(&value).zip(record::arrival(&value)) else {
                tracing::error!(
                    id = "GWD-S029", inbox = %client,
                    "a stored message has an unknown form and is set aside"
                );
                self.mail().keep_aside(&client, number.0, &value);
                continue;
            };
            bytes += message.len();
            // Earlier versions did not keep whether it came with a SURB-ack.
            let (ack, body) = (Ack::Owed, Bytes::copy_from_slice(message));
            batch.push(TakenOver { client, number, arrival, ack, body });
            if bytes >= AT_ONCE || batch.len() >= MESSAGES_AT_ONCE {
                taken += self.mail().take_over(&std::mem::take(&mut batch))?;
                bytes = 0;
            }
            if told.elapsed() >= PROGRESS {
                told = Instant::now();
                tracing::info!(messages = taken, "still taking over stored mail");
            }
        }
        taken += self.mail().take_over(&batch)?;
        for entry in database.tree(SET_ASIDE)?.iter() {
            let (key, value) = entry.map_err(|error| database.error(error))?;
            if let (Some(client), Some(Sequence(number))) = (record::owner_of(&key), record::sequence_of(&key)) {
                self.mail().keep_aside(&client, number, &value);
            }
        }
        Ok(taken)
    }
}
