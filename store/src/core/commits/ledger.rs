//! Ledger entries on their way to the disk: those that wait, those that are being committed, and for which sessions.
//!
//! *Holds* the entries until their commit begins. *Promises*:
//!
//! - [`LedgerCommits::concerns`] names a client whose key or last login is on its way until the outcome is known, even if its session
//!   has ended: the ledger's entry for it is out of date meanwhile.
//! - [`LedgerCommits::has_shown`] knows the nonce or the time of each login on its way. So the same login is not written twice, however
//!   often a listener sends it before the ledger knows it.
//! - Each outcome goes to the incarnation of `client-edge` that the entry was written for.

use std::{collections::HashMap, mem};

use client_wire::{key::KeyKind, login::Freshness};
use wire::address::ClientAddress;

use crate::core::session_ref::SessionRef;
use crate::mailbox::LedgerEntry;

/// Entries on their way to the disk.
#[derive(Debug, Default)]
pub(in crate::core) struct LedgerCommits {
    /// Entries of the next commit, and the session that waits for each.
    entries: Vec<(LedgerEntry, Option<SessionRef>)>,
    under_way: Option<Vec<Written>>,
    /// What is on its way for each client.
    concerned: HashMap<ClientAddress, Concern>,
    /// Clients whose registration may or may not have reached the disk, because its commit failed.
    unsure: Vec<ClientAddress>,
}

/// What is on its way for one client.
#[derive(Debug, Default)]
struct Concern {
    entries: usize,
    /// What its logins among them have shown.
    shown: Vec<Freshness>,
}

/// An entry whose commit is over.
#[derive(Debug)]
pub(in crate::core) struct Written {
    /// The session that waits for it, if any does.
    pub(in crate::core) waiting: Option<SessionRef>,
    /// What it changed.
    pub(in crate::core) change: LedgerChange,
}

/// What an entry changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::core) enum LedgerChange {
    /// The client has a key of this kind.
    Registered(ClientAddress, KeyKind),
    /// The client has logged in.
    LoggedIn(ClientAddress),
    /// The client was seen.
    Seen,
    /// The client is not registered any more.
    Forgotten(ClientAddress),
}

impl LedgerChange {
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
    /// Has an entry written with the next commit. The session `waiting` waits for it.
    pub(in crate::core) fn push(&mut self, entry: LedgerEntry, waiting: Option<SessionRef>) {
        if let Some(client) = LedgerChange::of(&entry).client() {
            let concern = self.concerned.entry(client).or_default();
            concern.entries += 1;
            if let LedgerEntry::Login { freshness, .. } = &entry {
                concern.shown.push(*freshness);
            }
        }
        self.entries.push((entry, waiting));
    }

    /// Whether something that decides about the client is on its way.
    pub(in crate::core) fn concerns(&self, client: &ClientAddress) -> bool {
        self.concerned.contains_key(client)
    }

    /// Whether a login on its way has shown this nonce, or this time or a later one.
    pub(in crate::core) fn has_shown(&self, client: &ClientAddress, freshness: &Freshness) -> bool {
        let covers = |shown: &Freshness| match (shown, freshness) {
            (Freshness::Timestamp(shown), Freshness::Timestamp(time)) => shown >= time,
            _ => shown == freshness,
        };
        self.concerned.get(client).is_some_and(|concern| concern.shown.iter().any(covers))
    }

    /// Entries that wait.
    pub(in crate::core) const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing waits.
    pub(in crate::core) const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether a commit is under way.
    pub(in crate::core) const fn is_committing(&self) -> bool {
        self.under_way.is_some()
    }

    /// What to commit now: all that waits, unless a commit is under way.
    pub(in crate::core) fn begin(&mut self) -> Option<Vec<LedgerEntry>> {
        if self.is_committing() || self.is_empty() {
            return None;
        }
        let (entries, written) = mem::take(&mut self.entries)
            .into_iter()
            .map(|(entry, waiting)| {
                let change = LedgerChange::of(&entry);
                (entry, Written { waiting, change })
            })
            .unzip();
        self.under_way = Some(written);
        Some(entries)
    }

    /// The commit under way is over; returns its entries, in order.
    pub(in crate::core) fn end(&mut self, has_failed: bool) -> Vec<Written> {
        let written = self.under_way.take().unwrap_or_default();
        for Written { change, .. } in &written {
            if let Some(client) = change.client()
                && let Some(concern) = self.concerned.get_mut(&client)
            {
                debug_assert!(concern.entries > 0, "an entry ends that was never pushed");
                concern.entries = concern.entries.saturating_sub(1);
                if concern.entries == 0 {
                    self.concerned.remove(&client);
                }
            }
            if let LedgerChange::Registered(client, _) = change
                && has_failed
            {
                self.unsure.push(*client);
            }
        }
        written
    }

    /// Clients whose kind of key must be looked up, now that the ledger can be read again.
    pub(in crate::core) fn take_unsure(&mut self) -> Vec<ClientAddress> {
        mem::take(&mut self.unsure)
    }
}
