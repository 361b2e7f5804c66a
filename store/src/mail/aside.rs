//! A message that cannot be read is kept for the operator, in a file of its own, until its client is forgotten.

use wire::address::ClientAddress;

use super::{Log, MailLog, shelf::Shelf};

/// Files kept; further messages that cannot be read are dropped.
const KEPT: usize = 1_024;
const EXTENSION: &str = ".aside";

/// Name of the file for a message.
fn name(client: &ClientAddress, number: u64) -> String {
    format!("{client}-{number:016x}{EXTENSION}")
}

/// The owner of a file of such a name.
fn owner(name: &str) -> Option<ClientAddress> {
    name.strip_suffix(EXTENSION)?.split_once('-')?.0.parse().ok()
}

impl<S: Shelf> MailLog<S> {
    /// Keeps bytes that should be a message.
    pub(crate) fn keep_aside(&self, client: &ClientAddress, number: u64, bytes: &[u8]) {
        self.log.keep_aside(client, number, bytes);
    }

    /// Removes the files of all but these clients.
    pub(crate) fn remove_set_aside_unless(&self, is_client: impl Fn(&ClientAddress) -> bool) {
        let names = self.log.shelf.list().unwrap_or_default();
        for client in names.iter().filter_map(|name| owner(name)).filter(|client| !is_client(client)) {
            self.log.remove_set_aside(&client);
        }
    }
}

impl<S: Shelf> Log<S> {
    /// Keeps the bytes at the place of the message.
    pub(super) fn leave_aside(&self, client: &ClientAddress, number: u64) {
        match self.raw(client, number) {
            Ok(bytes) => self.keep_aside(client, number, &bytes),
            Err(error) => {
                tracing::warn!(
                    id = "GWD-S031", %error,
                    "a message that cannot be read cannot be kept for the operator either"
                )
            }
        }
    }

    /// Keeps bytes that should be a message.
    fn keep_aside(&self, client: &ClientAddress, number: u64, bytes: &[u8]) {
        let kept = self.shelf.list().map(|names| names.iter().filter(|name| owner(name).is_some()).count());
        let outcome = kept.and_then(|kept| match kept < KEPT {
            true => self.shelf.leave(&name(client, number), bytes),
            false => Ok(()),
        });
        if let Err(error) = outcome {
            tracing::warn!(id = "GWD-S032", %error, "a record that is no message cannot be kept for the operator");
        }
    }

    /// Removes what was kept of a client.
    pub(super) fn remove_set_aside(&self, client: &ClientAddress) {
        let names = self.shelf.list().unwrap_or_default();
        for name in names.iter().filter(|name| owner(name) == Some(*client)) {
            if let Err(error) = self.shelf.remove(name) {
                tracing::warn!(id = "GWD-S033", %error, "files kept of a forgotten client cannot be removed");
            }
        }
    }
}
