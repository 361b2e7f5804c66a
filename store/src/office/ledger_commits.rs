//! Ledger entries on their way to the disk: those that wait, those that are being committed, and for which sessions.
//!
//! *Holds* the entries until their commit begins. *Promises*:
//!
//! - A client whose key or last login is on its way is named by [`LedgerCommits::concerns`] until the outcome is known, even if
//!   its session has ended: what the ledger says of it meanwhile is out of date.
//! - Each outcome goes to the incarnation of `client-edge` that the entry was written for.

use std::{collections::HashMap, mem};

use proto::{address::ClientAddress, wire::client::key::KeyKind};

use super::orders::Visit;
use crate::mailbox::LedgerEntry;

/// Entries on their way to the disk.
#[derive(Debug, Default)]
pub(super) struct LedgerCommits {
    waiting: Vec<(LedgerEntry, Option<Visit>)>,
    under_way: Option<Vec<Written>>,
    /// How many entries are on their way for each client.
    concerned: HashMap<ClientAddress, usize>,
    /// Clients whose registration may or may not have reached the disk, because its commit failed.
    unsure: Vec<ClientAddress>,
}

/// An entry whose commit is over.
#[derive(Debug)]
pub(super) struct Written {
    /// The session that waits for it, if any does.
    pub(super) visit: Option<Visit>,
    /// What it changed.
    pub(super) change: Change,
}

/// What an entry changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The client has a key of this kind.
    Registered(ClientAddress, KeyKind),
    /// The client has logged in.
    LoggedIn(ClientAddress),
    /// The client was seen.
    Seen,
    /// The client is not registered any more.
    Forgotten(ClientAddress),
}

impl Change {
    const fn of(entry: &LedgerEntry) -> Self {
        match entry {
            LedgerEntry::Register { client, key, .. } => Self::Registered(*client, key.kind()),
            LedgerEntry::Login { client, .. } => Self::LoggedIn(*client),
            LedgerEntry::Seen { .. } => Self::Seen,
            LedgerEntry::Forget { client } => Self::Forgotten(*client),
        }
    }

    const fn client(self) -> Option<ClientAddress> {
        match self {
            Self::Registered(client, _) | Self::LoggedIn(client) | Self::Forgotten(client) => Some(client),
            Self::Seen => None,
        }
    }
}

impl LedgerCommits {
    /// Has an entry written with the next commit. `visit` waits for it.
    pub(super) fn push(&mut self, entry: LedgerEntry, visit: Option<Visit>) {
        if let Some(client) = Change::of(&entry).client() {
            *self.concerned.entry(client).or_default() += 1;
        }
        self.waiting.push((entry, visit));
    }

    /// Whether something that decides about the client is on its way.
    pub(super) fn concerns(&self, client: &ClientAddress) -> bool {
        self.concerned.contains_key(client)
    }

    /// Entries that wait.
    pub(super) const fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nothing waits.
    pub(super) const fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether a commit is under way.
    pub(super) const fn is_committing(&self) -> bool {
        self.under_way.is_some()
    }

    /// What to commit now: all that waits, unless a commit is under way.
    pub(super) fn begin(&mut self) -> Option<Vec<LedgerEntry>> {
        if self.is_committing() || self.is_empty() {
            return None;
        }
        let (entries, written) = mem::take(&mut self.waiting)
            .into_iter()
            .map(|(entry, visit)| {
                let change = Change::of(&entry);
                (entry, Written { visit, change })
            })
            .unzip();
        self.under_way = Some(written);
        Some(entries)
    }

    /// The commit under way is over; returns its entries, in order.
    pub(super) fn end(&mut self, has_failed: bool) -> Vec<Written> {
        let written = self.under_way.take().unwrap_or_default();
        for Written { change, .. } in &written {
            if let Some(client) = change.client()
                && let Some(entries) = self.concerned.get_mut(&client)
            {
                *entries -= 1;
                if *entries == 0 {
                    self.concerned.remove(&client);
                }
            }
            if let Change::Registered(client, _) = change
                && has_failed
            {
                self.unsure.push(*client);
            }
        }
        written
    }

    /// Clients whose kind of key must be looked up, now that the ledger can be read again.
    pub(super) fn take_unsure(&mut self) -> Vec<ClientAddress> {
        mem::take(&mut self.unsure)
    }
}
