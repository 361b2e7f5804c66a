//! The nonces that logins by token have shown, so that each is good for once.
//!
//! A token has no time in it, so nothing but this memory tells an old one from a new one. What is kept of a nonce is a fingerprint of
//! 5 bytes under a key that only the ledger has. A client has at most [`PAGES`] pages of [`ON_PAGE`] fingerprints, 32 KiB with
//! their keys, and so 5,760 logins are remembered.
//!
//! *Promises*:
//!
//! - A nonce that was shown is refused for as long as the client has the same key, and for [`KEY_LIFE`] at least. A memory that is
//!   full forgets its oldest page only if that was begun so long ago; until then it takes no more logins, and the client has to
//!   register again, with a new key for which nothing needs to be remembered. A client that logs in less than 32 times a day never
//!   meets that limit. If the memory forgot sooner, an attacker that cuts a client's connections, so that the client logs in again and
//!   again, could wait for an old login to become good.
//!   Days are those of a clock that is believed: a clock that has leapt makes no page old. Logins that are written together may begin
//!   a page or two more than there is room for.
//! - A new nonce is refused by mistake with a probability of 5,760 to 2^40: once in 190 million logins. The client takes it for a
//!   key that is not valid any more.
//!
//! | tree | key | value |
//! |---|---|---|
//! | `spent` | address 32, number of the page 4 | day on which it was begun, since 1970 4, fingerprints 5 each |
//! | `spent` | `key` | the key of fingerprints 32 |

use std::collections::{HashMap, VecDeque, hash_map};

use sled::{Batch, IVec, Tree};
use wire::address::ClientAddress;

pub(super) mod take_over;

/// Pages of one client at the most.
const PAGES: usize = 96;
/// Fingerprints on one page.
const ON_PAGE: usize = 60;
/// Bytes of a fingerprint.
const FINGERPRINT: usize = 5;
/// Bytes of the day before them.
const DAY_LEN: usize = 4;
/// Days for which a nonce is remembered at least.
const KEY_LIFE: u32 = 180;
const SECONDS_A_DAY: u64 = 86_400;
/// The key in the tree.
const SECRET: &[u8] = b"key";

type Fingerprint = [u8; FINGERPRINT];

/// What is known of a nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nonce {
    /// It was not shown before.
    New,
    /// It was shown before.
    Shown,
    /// There is no room to remember it.
    TooMany,
}

/// As of when nonces are looked up and remembered, in seconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dates {
    /// What begins is dated this.
    pub(super) now: u64,
    /// The time by a clock that is believed. What ends, ends by this.
    pub(super) believed: u64,
}

/// The tree, and the key of fingerprints.
#[derive(Debug)]
pub(super) struct Spent {
    tree: Tree,
    secret: [u8; 32],
}

/// What a commit adds and removes.
#[derive(Debug, Default)]
pub(super) struct SpentChanges {
    batch: Batch,
    /// The newest pages of clients that have logged in in this commit.
    pages: HashMap<ClientAddress, Pages>,
}

impl SpentChanges {
    pub(super) const fn batch(&self) -> &Batch {
        &self.batch
    }
}

/// The pages of one client.
#[derive(Clone, Debug, Default)]
struct Pages {
    /// The numbers of the first and of the last, which is `newest`.
    first: u32,
    last: u32,
    /// On which day each was begun.
    days: VecDeque<u32>,
    newest: Vec<u8>,
    /// The numbers of those that this commit writes.
    written: Vec<u32>,
}

impl Pages {
    fn newest_is_full(&self) -> bool {
        self.newest.len() >= DAY_LEN + ON_PAGE * FINGERPRINT
    }
}

impl Spent {
    /// The memory in this tree; makes its key if there is none.
    pub(super) fn new(tree: Tree) -> sled::Result<Self> {
        let known = tree.get(SECRET)?.and_then(|value| value.as_ref().try_into().ok());
        let secret = match known {
            Some(secret) => secret,
            None => {
                let secret: [u8; 32] = rand::random();
                tree.insert(SECRET, &secret)?;
                secret
            }
        };
        Ok(Self { tree, secret })
    }

    pub(super) const fn tree(&self) -> &Tree {
        &self.tree
    }

    fn fingerprint(&self, client: &ClientAddress, nonce: &[u8]) -> Fingerprint {
        let mut hasher = blake3::Hasher::new_keyed(&self.secret);
        hasher.update(client.as_bytes()).update(nonce);
        let mut fingerprint = Fingerprint::default();
        hasher.finalize_xof().fill(&mut fingerprint);
        fingerprint
    }

    /// Whether the client has shown this nonce, and whether there is room to remember it on this day.
    pub(super) fn look_up(&self, client: &ClientAddress, nonce: &[u8], dates: Dates) -> sled::Result<Nonce> {
        let wanted = self.fingerprint(client, nonce);
        let (mut pages, mut oldest, mut has_room) = (0, None, true);
        for page in self.pages_of(client) {
            let (_, page) = page?;
            let Some((day, fingerprints)) = page.split_first_chunk::<DAY_LEN>() else { continue };
            if fingerprints.as_chunks::<FINGERPRINT>().0.contains(&wanted) {
                return Ok(Nonce::Shown);
            }
            pages += 1;
            oldest = oldest.or(Some(u32::from_be_bytes(*day)));
            has_room = fingerprints.len() < ON_PAGE * FINGERPRINT;
        }
        let has_room = pages < PAGES || pages == PAGES && has_room;
        Ok(if has_room || oldest.is_none_or(|begun| dates.are_after_life_of(begun)) {
            Nonce::New
        } else {
            Nonce::TooMany
        })
    }

    /// The client has shown this nonce.
    pub(super) fn spend(
        &self,
        client: &ClientAddress,
        nonce: &[u8],
        dates: Dates,
        changes: &mut SpentChanges,
    ) -> sled::Result<()> {
        let fingerprint = self.fingerprint(client, nonce);
        let pages = match changes.pages.entry(*client) {
            hash_map::Entry::Occupied(pages) => pages.into_mut(),
            hash_map::Entry::Vacant(pages) => pages.insert(self.read_pages(client)?),
        };
        if pages.days.is_empty() || pages.newest_is_full() {
            let day = day_of(dates.now);
            pages.last = if pages.days.is_empty() { pages.first } else { pages.last.saturating_add(1) };
            pages.days.push_back(day);
            pages.newest = day.to_be_bytes().to_vec();
        }
        pages.newest.extend_from_slice(&fingerprint);
        if pages.written.last() != Some(&pages.last) {
            pages.written.push(pages.last);
        }
        changes.batch.insert(page_key(client, pages.last).as_slice(), pages.newest.as_slice());
        while pages.days.len() > PAGES && pages.days.front().is_some_and(|begun| dates.are_after_life_of(*begun)) {
            changes.batch.remove(page_key(client, pages.first).as_slice());
            pages.first = pages.first.saturating_add(1);
            pages.days.pop_front();
        }
        Ok(())
    }

    /// The client has another key, or is gone: what was shown is good for nothing anyway.
    pub(super) fn forget(&self, client: &ClientAddress, changes: &mut SpentChanges) -> sled::Result<()> {
        for page in self.pages_of(client) {
            changes.batch.remove(page?.0);
        }
        if let Some(pages) = changes.pages.insert(*client, Pages::default()) {
            for page in pages.written {
                changes.batch.remove(page_key(client, page).as_slice());
            }
        }
        Ok(())
    }

    fn pages_of(&self, client: &ClientAddress) -> impl Iterator<Item = sled::Result<(IVec, IVec)>> {
        // A key of another length is no page.
        self.tree
            .scan_prefix(client.as_bytes())
            .filter(|page| page.as_ref().map_or(true, |(key, _)| number(key).is_some()))
    }

    fn read_pages(&self, client: &ClientAddress) -> sled::Result<Pages> {
        let mut pages = Pages::default();
        for page in self.pages_of(client) {
            let (key, newest) = page?;
            let number = number(&key).unwrap_or_default();
            if pages.days.is_empty() {
                pages.first = number;
            }
            pages.last = number;
            // A page that cannot be read counts as begun on day 0.
            pages.days.push_back(newest.first_chunk().map_or(0, |day| u32::from_be_bytes(*day)));
            pages.newest = newest.to_vec();
        }
        Ok(pages)
    }
}

impl Dates {
    /// Whether what was begun on this day has been kept for long enough.
    fn are_after_life_of(self, begun: u32) -> bool {
        day_of(self.believed).saturating_sub(begun) >= KEY_LIFE
    }
}

fn day_of(now: u64) -> u32 {
    u32::try_from(now / SECONDS_A_DAY).unwrap_or(u32::MAX)
}

fn page_key(client: &ClientAddress, page: u32) -> Vec<u8> {
    [client.as_bytes().as_slice(), &page.to_be_bytes()].concat()
}

/// The number of the page under this key.
fn number(key: &[u8]) -> Option<u32> {
    let (_, number) = key.split_first_chunk::<{ ClientAddress::LEN }>()?;
    Some(u32::from_be_bytes(number.try_into().ok()?))
}
