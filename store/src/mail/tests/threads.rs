//! A committer, readers and the thread that cleans, at work together on a real directory.

use std::{
    collections::BTreeMap,
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use ipc::ingress_store::Ack;
use session_ipc::Sequence;
use wire::address::ClientAddress;

use crate::{
    counters::StoreCounters,
    mail::{MailLog, Settings},
    mailbox::{MailBatch, MailboxError, PageLimit},
};

/// Segments are small, so that files are used again often.
const SETTINGS: Settings =
    Settings { segment: 256 * 1024, most: 12 * 256 * 1024, floor: 0, cleaning_wait: Duration::from_secs(5) };
const CLIENTS: u8 = 6;
const COMMITS: u64 = 400;
const PAGE: PageLimit = PageLimit { messages: 40, bytes: 64 * 1024 };

fn client(n: u8) -> ClientAddress {
    ClientAddress([n; 32])
}

/// Every message says whose it is and which.
fn body(client: u8, number: u64) -> Bytes {
    let len = 500 + usize::try_from(number % 7).unwrap() * 600;
    let mut body = vec![client; len];
    body[..8].copy_from_slice(&number.to_le_bytes());
    body.into()
}

/// The messages of an inbox that were acknowledged and not removed: from the first number up to the second, exclusive.
type Alive = Mutex<(u64, u64)>;

#[test]
fn readers_commits_and_cleaning_at_once_show_only_what_is_true() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let directory = OwnedFd::from(std::fs::File::open(folder.path()).unwrap());
        MailLog::open(directory, SETTINGS, Arc::new(StoreCounters::default()), Duration::from_secs(1)).unwrap()
    };
    let mut log = open();
    log.begin_cleaning().unwrap();
    let alive: BTreeMap<u8, Alive> = (0..CLIENTS).map(|n| (n, Mutex::default())).collect();
    let is_over = AtomicBool::new(false);
    let pages = AtomicU64::new(0);
    thread::scope(|scope| {
        for reader in 0..2 {
            let (log, alive, is_over, pages) = (&log, &alive, &is_over, &pages);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    for n in 0..CLIENTS {
                        let n = if reader == 0 { n } else { CLIENTS - 1 - n };
                        look(log, n, &alive[&n]);
                        pages.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        for commit in 0..COMMITS {
            let mut batch = MailBatch::default();
            let mut after = Vec::new();
            for n in 0..CLIENTS {
                let (first, end) = *alive[&n].lock().unwrap();
                let put_end = end + u64::from(n) % 3 + 1;
                for number in end..put_end {
                    batch.put(client(n), Sequence(number), body(n, number), Ack::Owed);
                }
                // Inboxes grow and are emptied at different rates, so that cleaning has to copy what stays.
                let keeps = 20 + 12 * u64::from(n);
                let new_first = if end - first > keeps { first + 1 + commit % (keeps / 2) } else { first };
                for number in first..new_first {
                    batch.remove(client(n), Sequence(number));
                }
                after.push((n, first, new_first, put_end));
            }
            // From here on no reader requires what this commit removes. It requires the new messages once they are committed.
            for (n, _, new_first, _) in &after {
                alive[n].lock().unwrap().0 = *new_first;
            }
            match log.commit(&batch, Duration::from_secs(2)) {
                Ok(()) => after.iter().for_each(|(n, _, _, put_end)| alive[n].lock().unwrap().1 = *put_end),
                Err(MailboxError::NoRoom(lack)) => panic!("commit {commit}: {lack}"),
                Err(error) => panic!("commit {commit}: {error}"),
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(pages.load(Ordering::Relaxed) > 0);
    let counters = Arc::clone(&log.log.counters);
    assert!(counters.mail_segments_cleaned.load(Ordering::Relaxed) > 10, "nothing was cleaned");
    assert!(counters.mail_copied.load(Ordering::Relaxed) > 0, "nothing was copied");
    drop(log);
    let log = open();
    for n in 0..CLIENTS {
        let (first, end) = *alive[&n].lock().unwrap();
        let all = PageLimit { messages: usize::MAX, bytes: usize::MAX };
        let page = log.peek(&client(n), (Sequence(0), Sequence(u64::MAX)), all);
        let numbers: Vec<_> = page.messages.iter().map(|(number, _)| number.0).collect();
        assert_eq!(numbers, (first..end).collect::<Vec<_>>());
    }
}

/// Reads an inbox page by page. Messages that were there before and are there afterwards must be found, unchanged and in order.
fn look(log: &MailLog, n: u8, alive: &Alive) {
    let before = *alive.lock().unwrap();
    let mut found = Vec::new();
    let mut from = Sequence(0);
    while from < Sequence(u64::MAX) {
        let page = log.peek(&client(n), (from, Sequence(u64::MAX)), PAGE);
        assert!(page.unreadable.is_empty(), "{:?} of {n} cannot be read", page.unreadable);
        for (number, found) in &page.messages {
            assert_eq!(*found, body(n, number.0), "message {number:?} of {n}");
        }
        found.extend(page.messages.iter().map(|(number, _)| number.0));
        from = page.end;
    }
    let after = *alive.lock().unwrap();
    assert!(found.is_sorted_by(|a, b| a < b), "{found:?}");
    for number in after.0..before.1 {
        assert!(found.binary_search(&number).is_ok(), "message {number} of {n} is not found in {found:?}");
    }
}

#[test]
fn a_commit_that_needs_room_gets_what_is_cleaned_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let directory = OwnedFd::from(std::fs::File::open(folder.path()).unwrap());
    let settings = Settings { most: 5 * SETTINGS.segment, cleaning_wait: Duration::from_secs(60), ..SETTINGS };
    let mut log =
        MailLog::open(directory, settings, Arc::new(StoreCounters::default()), Duration::from_secs(1)).unwrap();
    log.begin_cleaning().unwrap();
    let begin = Instant::now();
    let mut next = 0;
    for _ in 0..40 {
        let mut batch = MailBatch::default();
        for number in next..next + 60 {
            batch.put(client(1), Sequence(number), body(1, number), Ack::Owed);
        }
        log.commit(&batch, Duration::from_secs(2)).unwrap();
        let mut batch = MailBatch::default();
        (next..next + 60).for_each(|number| batch.remove(client(1), Sequence(number)));
        log.commit(&batch, Duration::from_secs(2)).unwrap();
        next += 60;
    }
    assert!(begin.elapsed() < Duration::from_secs(50), "a commit waited for its own end");
}

#[test]
fn a_full_segment_is_left_alone_until_its_batch_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let directory = OwnedFd::from(std::fs::File::open(folder.path()).unwrap());
    let settings = Settings { segment: 64 * 1024, most: 40 * 64 * 1024, ..SETTINGS };
    let mut log =
        MailLog::open(directory, settings, Arc::new(StoreCounters::default()), Duration::from_secs(1)).unwrap();
    log.begin_cleaning().unwrap();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        // Without a pause, so that each segment is cleaned as soon as it is full.
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                log.log.chores.call();
                thread::yield_now();
            }
        });
        let mut first = 0;
        for round in 0..200 {
            // Fills several segments at once, so that most are full before they have an index.
            let mut batch = MailBatch::default();
            let end = first + 100;
            for number in first..end {
                batch.put(client(1), Sequence(number), body(1, number), Ack::Owed);
            }
            log.commit(&batch, Duration::from_secs(2)).unwrap();
            let all = PageLimit { messages: usize::MAX, bytes: usize::MAX };
            let page = log.peek(&client(1), (Sequence(first), Sequence(end)), all);
            assert_eq!((page.messages.len(), page.unreadable.len()), (100, 0), "round {round}");
            let mut batch = MailBatch::default();
            (first..end).for_each(|number| batch.remove(client(1), Sequence(number)));
            log.commit(&batch, Duration::from_secs(2)).unwrap();
            first = end;
        }
        is_over.store(true, Ordering::Relaxed);
    });
}
