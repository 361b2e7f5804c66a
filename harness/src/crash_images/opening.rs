//! Opens what a loss of power left, as a start of the store does, and looks whether every promise was kept.

use std::{fs::File, os::fd::OwnedFd, path::Path, sync::Arc};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use session_ipc::Sequence;
use store::{
    counters::StoreCounters,
    disk_mailbox::DiskMailbox,
    mailbox::{Mailbox, PageLimit},
};
use wire::address::ClientAddress;

use super::promises::Claim;

/// More than any inbox of a test holds.
const EVERYTHING: PageLimit = PageLimit { messages: usize::MAX, bytes: usize::MAX };

/// The mailbox in a gateway's folder of data.
#[derive(Debug)]
pub struct Opened(DiskMailbox);

impl Opened {
    /// Opens ledger and inboxes, which have `limit` bytes at the most.
    ///
    /// # Errors
    /// If that fails: a store would not start.
    pub fn open(data: &Path, limit: u64) -> Result<Self> {
        let folder = |name: &str| {
            let folder = File::open(data.join(name)).with_context(|| format!("the folder {name} cannot be opened"))?;
            Ok::<OwnedFd, anyhow::Error>(folder.into())
        };
        let (ledger, inboxes) = (folder("client_ledger.sled")?, folder("inboxes")?);
        let opened = DiskMailbox::open(ledger, inboxes, limit, Arc::new(StoreCounters::default()));
        Ok(Self(opened.context("the store would not start")?))
    }

    /// Checks that a client has what it may rely on.
    ///
    /// # Errors
    /// If it has not.
    pub fn check(&self, client: &ClientAddress, claim: &Claim) -> Result<()> {
        let key = self.0.key_of(client)?;
        ensure!(key.is_some() || claim.may_be_unknown, "its registration is lost");
        ensure!(key.is_none_or(|key| claim.keys.contains(&key)), "it has a key that it must not have");
        for freshness in &claim.spent {
            ensure!(!self.0.is_fresh(client, freshness)?, "a login is good for a second time");
        }
        let found = self.mail_of(client)?;
        let missing = claim.mail.iter().filter(|message| !found.contains(*message));
        let missing: Vec<usize> = missing.map(Bytes::len).collect();
        ensure!(missing.is_empty(), "{} accepted messages are lost, of these lengths: {missing:?}", missing.len());
        let foreign = found.iter().filter(|message| !claim.possible.contains(*message)).count();
        ensure!(foreign == 0, "{foreign} messages are there that must not be");
        Ok(())
    }

    fn mail_of(&self, client: &ClientAddress) -> Result<std::collections::BTreeSet<Bytes>> {
        let end = self.0.summary_of(client)?.next;
        let page = self.0.peek(client, (Sequence(0), Sequence(end)), EVERYTHING)?;
        ensure!(page.unreadable.is_empty(), "{} messages cannot be read", page.unreadable.len());
        Ok(page.messages.into_iter().map(|(_, message)| message).collect())
    }
}
