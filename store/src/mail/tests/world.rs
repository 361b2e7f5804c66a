//! A log, the shelf under it, and an oracle that knows what must be in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use ipc::ingress_store::Ack;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use session_ipc::Sequence;
use wire::address::ClientAddress;

use crate::{
    counters::StoreCounters,
    mail::{
        Log, Settings,
        entry::Fact,
        pace::Pace,
        scan,
        segment::SegmentNumber,
        shelf::{
            Shelf as _,
            memory::{End, Memory},
        },
    },
    mailbox::{MailBatch, MailboxError, PageLimit},
};

pub(super) const SETTINGS: Settings =
    Settings { segment: 64 * 1024, most: 24 * 64 * 1024, floor: 0, cleaning_wait: Duration::ZERO };

/// Whether a message of this number is put without a SURB-ack.
const fn is_ackless(number: u64) -> bool {
    number.is_multiple_of(3)
}

/// What is known of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Known {
    /// It was acknowledged and must be there.
    There(Bytes),
    /// It may be there or not.
    Perhaps(Bytes),
    /// Its removal was acknowledged: it must not be there.
    Gone,
}

/// What a batch does, without the bodies.
fn brief(batch: &MailBatch) -> String {
    let places = |places: &mut dyn Iterator<Item = (ClientAddress, Sequence)>| -> Vec<String> {
        places.map(|(client, number)| format!("{}/{}", client.0[0], number.0)).collect()
    };
    let erased: Vec<_> = batch.erased().map(|client| client.0[0]).collect();
    format!("put {:?} remove {:?} erase {erased:?}", places(&mut batch.puts()), places(&mut batch.removals()))
}

/// The log under test, the shelf that holds its files, and what the oracle knows.
#[derive(Debug)]
pub(super) struct World {
    pub(super) shelf: Memory,
    pub(super) settings: Settings,
    pub(super) log: Option<Log<Memory>>,
    known: BTreeMap<(ClientAddress, u64), Known>,
    pub(super) rng: StdRng,
    /// Something has failed since the start, so there may be files that nobody uses.
    pub(super) has_failed: bool,
    /// Cleaning has failed since the start, so a segment may still be there that the log has let go of.
    has_failed_to_clean: bool,
    pub(super) steps: Vec<String>,
    /// The last call for cleaning found nothing to do.
    is_idle: bool,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        Self::with(SETTINGS, seed)
    }

    pub(super) fn with(settings: Settings, seed: u64) -> Self {
        let shelf = Memory::of(1 << 30);
        let log = Log::open(shelf.clone(), settings, Arc::new(StoreCounters::default()), 1).unwrap();
        Self {
            shelf,
            settings,
            log: Some(log),
            known: BTreeMap::new(),
            rng: StdRng::seed_from_u64(seed),
            has_failed: false,
            has_failed_to_clean: false,
            steps: Vec::new(),
            is_idle: false,
        }
    }

    pub(super) fn log(&self) -> &Log<Memory> {
        self.log.as_ref().unwrap()
    }

    /// Adds a message behind all others of a client.
    pub(super) fn put(&mut self, batch: &mut MailBatch, client: ClientAddress, gap: u64, len: usize) {
        let next = self.known.range((client, 0)..=(client, u64::MAX)).next_back().map_or(0, |((_, n), _)| n + 1);
        let number = self.log().summary_of(&client).next.max(next) + gap;
        let mut body = vec![0; len];
        self.rng.fill(body.as_mut_slice());
        let body = Bytes::from(body);
        let ack = if is_ackless(number) { Ack::NotOwed } else { Ack::Owed };
        batch.put(client, Sequence(number), body.clone(), ack);
        self.known.insert((client, number), Known::Perhaps(body));
    }

    /// The numbers of messages that may be there.
    pub(super) fn numbers(&self, client: ClientAddress) -> Vec<u64> {
        let known = self.known.range((client, 0)..=(client, u64::MAX));
        known.filter(|(_, known)| **known != Known::Gone).map(|((_, number), _)| *number).collect()
    }

    /// Commits a batch. The oracle learns from the outcome.
    pub(super) fn commit(&mut self, batch: MailBatch) {
        self.is_idle = false;
        let puts: Vec<_> = batch.puts().collect();
        // A message that was removed before its commit is never written.
        let next: BTreeMap<_, _> =
            batch.clients().map(|client| (client, self.log().summary_of(&client).next)).collect();
        self.known.retain(|(client, number), known| {
            let is_new = next.get(client).is_some_and(|next| number >= next);
            !(is_new && matches!(known, Known::Perhaps(_)) && !puts.contains(&(*client, Sequence(*number))))
        });
        let mut gone: BTreeSet<_> = batch.removals().map(|(client, number)| (client, number.0)).collect();
        for client in batch.erased() {
            let all = self.known.range((*client, 0)..=(*client, u64::MAX)).map(|(place, _)| *place);
            gone.extend(all.filter(|(client, number)| !puts.contains(&(*client, Sequence(*number)))));
        }
        // In the gateway, the thread that cleans works at the same time.
        for _ in 0..60 {
            if self.log().may_grow().unwrap() || self.shelf.is_dead() {
                break;
            }
            self.clean_up();
        }
        let outcome = self.log().commit(&batch, 7);
        self.steps.push(format!("commit {}: {outcome:?}", brief(&batch)));
        let is_committed = outcome.is_ok();
        self.has_failed |= !is_committed && !matches!(outcome, Err(MailboxError::NoRoom(_)));
        for (client, number) in puts {
            let known = self.known.get_mut(&(client, number.0)).unwrap();
            if let (true, Known::Perhaps(body)) = (is_committed, &known) {
                *known = Known::There(body.clone());
            }
        }
        for place in gone {
            match (self.known.get_mut(&place), is_committed) {
                (Some(known), true) => *known = Known::Gone,
                (Some(known), false) => {
                    if let Known::There(body) = known {
                        *known = Known::Perhaps(body.clone());
                    }
                }
                (None, _) => {}
            }
        }
    }

    /// Does one chore of the thread that cleans, if there is one.
    pub(super) fn clean_up(&mut self) {
        let outcome = self.log().clean_up(&mut Pace::unlimited());
        self.steps.push(format!("clean up: {outcome:?}"));
        self.has_failed |= outcome.is_err();
        self.has_failed_to_clean |= outcome.is_err();
        self.is_idle = matches!(outcome, Ok(false));
    }

    /// The process ends, and the next begins.
    pub(super) fn end(&mut self, end: Option<End>) {
        self.is_idle = false;
        self.steps.push(format!("end: {end:?}"));
        let log = self.log.take().unwrap();
        match end {
            None => log.close(),
            Some(_) if !self.shelf.is_dead() => self.shelf.plan(0, crate::mail::shelf::memory::Fault::Dies),
            Some(_) => {}
        }
        drop(log);
        self.shelf.end(end.unwrap_or(End::Kill), &mut self.rng);
    }

    /// Opens the log again. Returns nothing if a planned fault prevents that.
    pub(super) fn open(&mut self) -> Result<(), MailboxError> {
        let log = Log::open(self.shelf.clone(), self.settings, Arc::new(StoreCounters::default()), 1)?;
        log.leap();
        self.log = Some(log);
        (self.has_failed, self.has_failed_to_clean) = (false, false);
        Ok(())
    }

    /// Compares the messages in the log with those of the oracle. After an open, a message that may be there or not is settled: what is
    /// found must stay.
    pub(super) fn check(&mut self, is_opened: bool) -> Result<(), String> {
        let clients: BTreeSet<_> = self.known.keys().map(|(client, _)| *client).collect();
        for client in clients {
            let limit = PageLimit { messages: usize::MAX, bytes: usize::MAX };
            let page = self.log().peek(&client, (Sequence(0), Sequence(u64::MAX)), limit);
            if !page.unreadable.is_empty() {
                return Err(format!("unreadable: {:?}", page.unreadable));
            }
            let ackless = page.messages.iter().map(|(number, _)| *number).filter(|number| is_ackless(number.0));
            let ackless: Vec<_> = ackless.collect();
            if page.ackless != ackless {
                return Err(format!("{:?} and not {ackless:?} came without a SURB-ack", page.ackless));
            }
            if self.log().oldest_ackless(&client, (Sequence(0), Sequence(u64::MAX))) != ackless.first().copied() {
                return Err(format!("{:?} is not found", ackless.first()));
            }
            let mut found: BTreeMap<u64, Bytes> = BTreeMap::new();
            let mut last = None;
            for (number, body) in page.messages {
                if last.is_some_and(|last| last >= number) {
                    return Err(format!("{number:?} comes after {last:?}"));
                }
                last = Some(number);
                found.insert(number.0, body);
            }
            let summary = self.log().summary_of(&client);
            let with_ack = || found.iter().filter(|(number, _)| !is_ackless(**number)).map(|(_, body)| body.len());
            let expected = (with_ack().count(), with_ack().sum::<usize>(), ackless.len());
            if (summary.messages as usize, summary.bytes as usize, summary.ackless as usize) != expected {
                return Err(format!("{summary:?} of {expected:?}"));
            }
            let mut forgotten = Vec::new();
            for ((_, number), known) in self.known.range_mut((client, 0)..=(client, u64::MAX)) {
                match (&known, found.remove(number)) {
                    (Known::There(body) | Known::Perhaps(body), Some(there)) if *body == there => {
                        if is_opened {
                            *known = Known::There(there);
                        }
                    }
                    (Known::There(_), None) => return Err(format!("message {number} of {client} is lost")),
                    (Known::Perhaps(_), None) if is_opened => forgotten.push(*number),
                    (Known::Perhaps(_) | Known::Gone, None) => {}
                    (Known::Gone, Some(_)) => return Err(format!("message {number} of {client} is back")),
                    (_, Some(_)) => return Err(format!("message {number} of {client} has another body")),
                }
            }
            if !found.is_empty() {
                return Err(format!("{found:?} were never put"));
            }
            // A message that was absent may come back only if a file has failed. Its client then gets it twice.
            for number in forgotten {
                self.known.insert((client, number), Known::Gone);
            }
            let mut there = self.known.range((client, 0)..=(client, u64::MAX));
            let last = there.rfind(|(_, known)| matches!(known, Known::There(_)));
            if last.is_some_and(|((_, number), _)| summary.next <= *number) {
                return Err(format!("the next number is {} and {last:?} is there", summary.next));
            }
        }
        self.recount()
    }

    /// Counts in the files what the index claims of them.
    fn recount(&self) -> Result<(), String> {
        let log = self.log();
        let index = log.index();
        let mut dead: BTreeMap<ClientAddress, u32> = BTreeMap::new();
        let mut alive = 0;
        for (slot, segment) in index.segments() {
            let end = segment.end;
            let facts = scan::scan(segment.file.as_ref(), &segment.seal, end).unwrap().facts;
            let (mut own, mut messages) = (0, 0);
            for client in &segment.unproved {
                *dead.entry(*client).or_default() += 1;
            }
            for fact in facts {
                let Fact::Put(put) = fact else { continue };
                if index.lives_at(&put, slot) {
                    own += crate::mail::message::weight(put.len);
                    messages += 1;
                } else {
                    *dead.entry(put.inbox).or_default() += 1;
                }
            }
            if (own, messages) != (segment.alive, segment.messages) {
                return Err(format!("{:?} has {own} and not {} bytes alive", segment.number, segment.alive));
            }
            alive += own;
        }
        let counted: u64 = index.segments().map(|(_, segment)| segment.alive).sum();
        if counted != alive {
            return Err(format!("{alive} bytes are alive, not {counted}"));
        }
        for client in self.known.keys().map(|(client, _)| client) {
            let there = dead.get(client).copied().unwrap_or(0);
            let may_be_more = self.has_failed_to_clean && index.dead(client) > there;
            if index.dead(client) != there && !may_be_more {
                return Err(format!("{there} messages of {client} are dead, not {}", index.dead(client)));
            }
        }
        let names = log.shelf.list().unwrap();
        let files = names.iter().filter(|name| SegmentNumber::of_name(name).is_some()).count() as u64;
        if files * self.settings.segment != log.files() && !self.has_failed {
            return Err(format!("{files} files are not {} bytes", log.files()));
        }
        if self.is_idle && log.files() > self.settings.most {
            return Err(format!("{files} files are too many"));
        }
        Ok(())
    }
}
