//! The mailbox on real files.

use super::*;
use crate::mailbox::{commit, record};
use bytes::Bytes;
use proto::wire::client::key::{CtrHmacKey, GcmSivKey};
use std::{fs::File, path::Path};

fn open(home: &Path) -> SledMailbox {
    for name in ["ledger", "inboxes"] {
        std::fs::create_dir_all(home.join(name)).unwrap();
    }
    SledMailbox::open(
        File::open(home.join("ledger")).unwrap().into(),
        File::open(home.join("inboxes")).unwrap().into(),
        1 << 30,
    )
    .unwrap()
}

const CLIENT: ClientAddress = ClientAddress([3; 32]);
const EVERYTHING: (Sequence, Sequence) = (Sequence(0), Sequence(u64::MAX));
const PAGE: PageLimit = PageLimit { messages: 1_000, bytes: usize::MAX };

#[test]
fn a_predecessor_that_is_not_quite_dead_is_waited_for() {
    let home = tempfile::tempdir().unwrap();
    drop(open(home.path()));
    let held = File::options().write(true).open(home.path().join("inboxes/db")).unwrap();
    held.lock().unwrap();
    let until = std::time::Instant::now() + Duration::from_millis(300);
    let dying = std::thread::spawn(move || {
        std::thread::sleep(until - std::time::Instant::now());
        drop(held);
    });
    let mailbox = open(home.path());
    assert!(std::time::Instant::now() >= until, "the file was opened while somebody else held it");
    dying.join().unwrap();
    assert_eq!(mailbox.summary_of(&CLIENT).unwrap(), Summary::default());
}

#[test]
fn mail_and_ledger_survive_a_restart_and_a_leftover_snapshot() {
    let home = tempfile::tempdir().unwrap();
    let key = SessionKey::CtrHmac(CtrHmacKey::from_bytes([5; 32]));
    {
        let mailbox = open(home.path());
        let mut batch = MailBatch::default();
        for n in 0..5 {
            batch.put(CLIENT, Sequence(n), Bytes::from(vec![n as u8; 40]));
        }
        batch.summarize(CLIENT, Summary { next: 5, messages: 5, bytes: 200 });
        mailbox.commit_mail(&batch).unwrap();
        mailbox
            .commit_ledger(&[
                LedgerEntry::Register { client: CLIENT, key: key.clone() },
                LedgerEntry::Login { client: CLIENT, freshness: Freshness::Iv([7; 16]) },
            ])
            .unwrap();
    }
    std::fs::write(home.path().join("inboxes/snap.00000000000000FF.generating"), b"half").unwrap();
    let mailbox = open(home.path());
    assert_eq!(mailbox.summary_of(&CLIENT).unwrap(), Summary { next: 5, messages: 5, bytes: 200 });
    let page = mailbox.peek(&CLIENT, (Sequence(1), Sequence(4)), PAGE).unwrap().messages;
    assert_eq!(page.iter().map(|(s, m)| (s.0, m[0])).collect::<Vec<_>>(), [(1, 1), (2, 2), (3, 3)]);
    assert_eq!(mailbox.key_of(&CLIENT).unwrap(), Some(key));
    assert!(!mailbox.is_fresh(&CLIENT, &Freshness::Iv([7; 16])).unwrap());
    assert!(mailbox.is_fresh(&CLIENT, &Freshness::Iv([8; 16])).unwrap());
}

#[test]
fn what_is_open_can_be_opened_again_and_a_full_one_takes_nothing_new() {
    let home = tempfile::tempdir().unwrap();
    let mut mailbox = open(home.path());
    let mut batch = MailBatch::default();
    batch.put(CLIENT, Sequence(0), Bytes::from_static(b"a"));
    commit(&mailbox, batch).unwrap();
    mailbox.reopen().unwrap();
    assert_eq!(mailbox.peek(&CLIENT, EVERYTHING, PAGE).unwrap().messages.len(), 1);
    mailbox.limit = 1;
    let mut batch = MailBatch::default();
    batch.put(CLIENT, Sequence(1), Bytes::from_static(b"b"));
    assert!(matches!(commit(&mailbox, batch).unwrap_err().error, MailboxError::NoRoom));
    let key = SessionKey::CtrHmac(CtrHmacKey::from_bytes([5; 32]));
    let register = mailbox.commit_ledger(&[LedgerEntry::Register { client: CLIENT, key }]);
    assert!(matches!(register, Err(MailboxError::NoRoom)));
    // What makes room, and what lets a client fetch its mail, goes on.
    mailbox.commit_ledger(&[LedgerEntry::Login { client: CLIENT, freshness: Freshness::Iv([7; 16]) }]).unwrap();
    let mut batch = MailBatch::default();
    batch.remove(CLIENT, Sequence(0));
    commit(&mailbox, batch).unwrap();
    assert!(mailbox.peek(&CLIENT, EVERYTHING, PAGE).unwrap().messages.is_empty());
}

#[test]
fn a_page_ends_at_its_limit_but_brings_at_least_one() {
    let home = tempfile::tempdir().unwrap();
    let mailbox = open(home.path());
    let mut batch = MailBatch::default();
    for n in 0..4 {
        batch.put(CLIENT, Sequence(n), Bytes::from(vec![0; 100]));
        batch.put(ClientAddress([4; 32]), Sequence(n), Bytes::from(vec![0; 100]));
    }
    mailbox.commit_mail(&batch).unwrap();
    let len =
        |messages, bytes| mailbox.peek(&CLIENT, EVERYTHING, PageLimit { messages, bytes }).unwrap().messages.len();
    assert_eq!((len(2, 9_999), len(9, 150), len(9, 1), len(9, 9_999)), (2, 2, 1, 4));
}

#[test]
fn the_largest_messages_never_turn_into_blob_files() {
    let home = tempfile::tempdir().unwrap();
    let mailbox = open(home.path());
    for round in 0..8 {
        let mut batch = MailBatch::default();
        for n in 0..32 {
            batch.put(CLIENT, Sequence(round * 32 + n), Bytes::from(vec![n as u8; 32_768]));
        }
        mailbox.commit_mail(&batch).unwrap();
    }
    let blobs = home.path().join("inboxes/blobs");
    assert_eq!(std::fs::read_dir(blobs).map_or(0, Iterator::count), 0);
}

#[test]
fn only_the_newest_logins_are_remembered() {
    let home = tempfile::tempdir().unwrap();
    let mailbox = open(home.path());
    let nonce = |n: u32| {
        let mut nonce = [0; 16];
        nonce[..4].copy_from_slice(&n.to_be_bytes());
        Freshness::Iv(nonce)
    };
    let logins: Vec<_> = (0..4_100).map(|n| LedgerEntry::Login { client: CLIENT, freshness: nonce(n) }).collect();
    for part in logins.chunks(500) {
        mailbox.commit_ledger(part).unwrap();
    }
    assert!(mailbox.is_fresh(&CLIENT, &nonce(3)).unwrap());
    assert!(!mailbox.is_fresh(&CLIENT, &nonce(4)).unwrap());
    assert!(!mailbox.is_fresh(&CLIENT, &nonce(4_099)).unwrap());
}

#[test]
fn a_clock_that_leaps_is_doubted_across_starts_and_what_is_written_meanwhile_is_dated_no_earlier_than_before() {
    let home = tempfile::tempdir().unwrap();
    let now = clock::now().as_secs();
    let (ahead, year) = (now + 365 * 86_400, 365 * 86_400);
    assert!(open(home.path()).look_at_clock(ahead).unwrap(), "at first there is nothing to compare it with");
    let mailbox = open(home.path());
    // To this clock, the one of the machine is a year behind.
    assert!(!mailbox.look_at_clock(now).unwrap());
    let key = SessionKey::CtrHmac(CtrHmacKey::from_bytes([5; 32]));
    mailbox.commit_ledger(&[LedgerEntry::Register { client: CLIENT, key }]).unwrap();
    assert_eq!(mailbox.last_seen(&CLIENT).unwrap(), Some(ahead));
    let mut batch = MailBatch::default();
    batch.put(CLIENT, Sequence(0), Bytes::from_static(b"a"));
    batch.summarize(CLIENT, Summary { next: 1, messages: 1, bytes: 1 });
    mailbox.commit_mail(&batch).unwrap();
    let older_than = |time| mailbox.mail_before(time * 1_000, &Position::default()).unwrap().messages.len();
    assert_eq!((older_than(ahead), older_than(ahead + 1)), (0, 1));
    drop(mailbox);

    let mailbox = open(home.path());
    assert!(!mailbox.look_at_clock(now + year / 2).unwrap());
    assert!(mailbox.look_at_clock(ahead + 60).unwrap());
    drop(mailbox);
    // A year behind, for three days and through as many starts.
    for hours in [0, 23, 46, 69] {
        assert!(!open(home.path()).look_at_clock(now + hours * 3_600).unwrap());
    }
    assert!(open(home.path()).look_at_clock(now + 72 * 3_600).unwrap());
}

#[test]
fn a_login_made_by_a_clock_that_was_ahead_keeps_no_later_one_out() {
    let home = tempfile::tempdir().unwrap();
    let mailbox = open(home.path());
    let key = SessionKey::GcmSiv(GcmSivKey::from_bytes([6; 32]));
    let login = |time| LedgerEntry::Login { client: CLIENT, freshness: Freshness::Timestamp(time) };
    let fresh = |time| mailbox.is_fresh(&CLIENT, &Freshness::Timestamp(time)).unwrap();
    let now = clock::now().as_secs();
    mailbox.commit_ledger(&[LedgerEntry::Register { client: CLIENT, key }, login(now + 100)]).unwrap();
    assert!(!fresh(now), "no further ahead than a client's clock may be");
    mailbox.commit_ledger(&[login(now + 86_400)]).unwrap();
    assert!(fresh(now));
    mailbox.commit_ledger(&[login(now)]).unwrap();
    assert!(!fresh(now) && fresh(now + 1));
    // When it is the clock that is behind, an old login is no newer than the last one.
    mailbox.look_at_clock(now).unwrap();
    mailbox.look_at_clock(now + 80_000).unwrap();
    mailbox.commit_ledger(&[login(now + 80_000)]).unwrap();
    assert!(!fresh(now + 5));
}

#[test]
fn a_client_has_one_key_of_one_kind_and_each_login_is_later_than_the_last() {
    let home = tempfile::tempdir().unwrap();
    let old = SessionKey::CtrHmac(CtrHmacKey::from_bytes([5; 32]));
    let new = SessionKey::GcmSiv(GcmSivKey::from_bytes([6; 32]));
    let register = |key: &SessionKey| LedgerEntry::Register { client: CLIENT, key: key.clone() };
    let login = |time| LedgerEntry::Login { client: CLIENT, freshness: Freshness::Timestamp(time) };
    let fresh = |mailbox: &SledMailbox, time| mailbox.is_fresh(&CLIENT, &Freshness::Timestamp(time)).unwrap();
    {
        let mailbox = open(home.path());
        for key in [&old, &new, &old, &new] {
            mailbox.commit_ledger(&[register(key)]).unwrap();
            assert_eq!(mailbox.key_of(&CLIENT).unwrap().as_ref(), Some(key));
        }
        assert!(fresh(&mailbox, 100));
        mailbox.commit_ledger(&[login(100)]).unwrap();
    }
    let mailbox = open(home.path());
    assert_eq!(mailbox.key_of(&CLIENT).unwrap(), Some(new));
    assert_eq!([99, 100, 101].map(|time| fresh(&mailbox, time)), [false, false, true]);
    // One who is forgotten in the same commit is not brought back by a login.
    mailbox.commit_ledger(&[LedgerEntry::Forget { client: CLIENT }, login(200)]).unwrap();
    assert_eq!(mailbox.key_of(&CLIENT).unwrap(), None);
}

#[test]
fn what_is_erased_is_gone_and_mail_without_an_owner_is_swept_at_the_start() {
    let home = tempfile::tempdir().unwrap();
    let other = ClientAddress([4; 32]);
    let mut last = ClientAddress([0xff; 32]);
    last.0[31] = 0xfe;
    {
        let mailbox = open(home.path());
        let key = SessionKey::GcmSiv(GcmSivKey::from_bytes([6; 32]));
        mailbox.commit_ledger(&[LedgerEntry::Register { client: CLIENT, key }]).unwrap();
        let mut batch = MailBatch::default();
        for client in [CLIENT, other, last] {
            batch.put(client, Sequence(0), Bytes::from_static(b"a"));
            batch.put(client, Sequence(u64::MAX), Bytes::from_static(b"z"));
            batch.summarize(client, Summary { next: 1, messages: 2, bytes: 2 });
        }
        mailbox.commit_mail(&batch).unwrap();
    }
    let mailbox = open(home.path());
    let count = |mailbox: &SledMailbox| mailbox.with(|open| Ok(open.inboxes.trees().0.len())).unwrap();
    assert_eq!(count(&mailbox), 3, "two messages and a summary of the one who is registered");
    let mut batch = MailBatch::default();
    batch.erase(CLIENT);
    mailbox.commit_mail(&batch).unwrap();
    assert_eq!(count(&mailbox), 0);
}

fn raw<T>(home: &Path, database: &str, act: impl FnOnce(&sled::Db) -> T) -> T {
    let segment_size = if database == "ledger" { LEDGER.segment_size } else { INBOXES.segment_size };
    let db = sled::Config::new().path(home.join(database)).segment_size(segment_size).open().unwrap();
    let outcome = act(&db);
    db.flush().unwrap();
    outcome
}

#[test]
fn a_record_that_is_no_message_is_named_set_aside_and_in_nobodys_way() {
    let home = tempfile::tempdir().unwrap();
    {
        let mailbox = open(home.path());
        let key = SessionKey::GcmSiv(GcmSivKey::from_bytes([6; 32]));
        mailbox.commit_ledger(&[LedgerEntry::Register { client: CLIENT, key }]).unwrap();
        let mut batch = MailBatch::default();
        for n in 0..5 {
            batch.put(CLIENT, Sequence(n), Bytes::from(vec![n as u8; 40]));
        }
        batch.summarize(CLIENT, Summary { next: 5, messages: 5, bytes: 200 });
        mailbox.commit_mail(&batch).unwrap();
    }
    let key = |n| record::message_key(&CLIENT, Sequence(n));
    raw(home.path(), "inboxes", |db| {
        db.insert(key(1), vec![9; 49]).unwrap();
        db.insert(key(3), b"".as_slice()).unwrap();
        db.insert([CLIENT.as_bytes().as_slice(), &[0; 3]].concat(), b"stray".as_slice()).unwrap();
    });
    let mailbox = open(home.path());
    let page = mailbox.peek(&CLIENT, EVERYTHING, PAGE).unwrap();
    assert_eq!(page.messages.iter().map(|(s, m)| (s.0, m[0])).collect::<Vec<_>>(), [(0, 0), (2, 2), (4, 4)]);
    assert_eq!(page.unreadable, [(Sequence(1), 40), (Sequence(3), 0)]);
    let one = mailbox.peek(&CLIENT, (Sequence(1), Sequence(5)), PageLimit { messages: 1, ..PAGE }).unwrap();
    assert_eq!((one.messages.len(), one.unreadable.len(), one.end), (0, 1, Sequence(2)));
    let mut batch = MailBatch::default();
    batch.set_aside(CLIENT, Sequence(1));
    batch.set_aside(CLIENT, Sequence(3));
    mailbox.commit_mail(&batch).unwrap();
    let set_aside = |mailbox: &SledMailbox, n| {
        mailbox
            .with(|open| Ok((open.inboxes.trees().0.get(key(n)).unwrap(), open.inboxes.trees().1.get(key(n)).unwrap())))
    };
    assert_eq!(set_aside(&mailbox, 1).unwrap(), (None, Some(sled::IVec::from(vec![9; 49]))));
    assert_eq!(mailbox.peek(&CLIENT, EVERYTHING, PAGE).unwrap().unreadable, []);
    let mut batch = MailBatch::default();
    batch.erase(CLIENT);
    mailbox.commit_mail(&batch).unwrap();
    assert_eq!(set_aside(&mailbox, 1).unwrap(), (None, None));
}

#[test]
fn what_is_kept_of_records_that_are_no_messages_is_bounded() {
    let home = tempfile::tempdir().unwrap();
    let mailbox = open(home.path());
    for round in 0..3 {
        let mut batch = MailBatch::default();
        for n in 0..600 {
            let sequence = Sequence(round * 600 + n);
            mailbox
                .with(|open| Ok(open.inboxes.trees().0.insert(record::message_key(&CLIENT, sequence), b"?").unwrap()))
                .unwrap();
            batch.set_aside(CLIENT, sequence);
        }
        mailbox.commit_mail(&batch).unwrap();
    }
    let left = mailbox.with(|open| Ok((open.inboxes.trees().0.len(), open.inboxes.trees().1.len()))).unwrap();
    assert_eq!(left, (0, 1_024));
}

#[test]
fn an_inbox_that_has_lost_its_summary_is_counted_anew_at_the_start() {
    let home = tempfile::tempdir().unwrap();
    {
        let mailbox = open(home.path());
        let key = SessionKey::GcmSiv(GcmSivKey::from_bytes([6; 32]));
        mailbox.commit_ledger(&[LedgerEntry::Register { client: CLIENT, key }]).unwrap();
        let mut batch = MailBatch::default();
        for n in 10..15 {
            batch.put(CLIENT, Sequence(n), Bytes::from(vec![n as u8; 40]));
        }
        batch.summarize(CLIENT, Summary { next: 15, messages: 5, bytes: 200 });
        mailbox.commit_mail(&batch).unwrap();
    }
    for summary in [None, Some(vec![1; 7])] {
        raw(home.path(), "inboxes", |db| match &summary {
            Some(summary) => db.insert(CLIENT.as_bytes(), summary.as_slice()).unwrap(),
            None => db.remove(CLIENT.as_bytes()).unwrap(),
        });
        let mailbox = open(home.path());
        let expected = Summary { next: 15, messages: 5, bytes: 200 };
        assert_eq!(mailbox.summary_of(&CLIENT).unwrap(), expected);
    }
}

#[test]
fn a_torn_ledger_entry_stops_its_client_and_nobody_else_until_it_registers_again() {
    let home = tempfile::tempdir().unwrap();
    let other = ClientAddress([4; 32]);
    let third = ClientAddress([5; 32]);
    let key = SessionKey::GcmSiv(GcmSivKey::from_bytes([6; 32]));
    {
        let mailbox = open(home.path());
        let mut batch = MailBatch::default();
        for client in [CLIENT, other, third] {
            mailbox.commit_ledger(&[LedgerEntry::Register { client, key: key.clone() }]).unwrap();
            batch.put(client, Sequence(0), Bytes::from_static(b"a"));
            batch.summarize(client, Summary { next: 1, messages: 1, bytes: 1 });
        }
        mailbox.commit_mail(&batch).unwrap();
    }
    raw(home.path(), "ledger", |db| {
        let clients = db.open_tree("clients").unwrap();
        clients.insert(CLIENT.as_bytes(), clients.get(CLIENT.as_bytes()).unwrap().unwrap()[..20].to_vec()).unwrap();
        clients.remove(other.as_bytes()).unwrap();
        db.insert(other.as_bytes(), vec![7; 31]).unwrap();
    });
    let mailbox = open(home.path());
    for client in [CLIENT, other] {
        let refused = mailbox.key_of(&client);
        assert!(matches!(&refused, Err(MailboxError::UnknownRecord { client: c, .. }) if *c == client), "{refused:?}");
        let page = mailbox.peek(&client, EVERYTHING, PAGE).unwrap();
        assert_eq!(page.messages.len(), 1, "its mail waits for it");
        mailbox.commit_ledger(&[LedgerEntry::Register { client, key: key.clone() }]).unwrap();
        assert_eq!(mailbox.key_of(&client).unwrap(), Some(key.clone()));
    }
    assert_eq!(mailbox.key_of(&third).unwrap(), Some(key));
}

#[test]
fn a_ledger_entry_is_written_as_0_10_1_did() {
    let home = tempfile::tempdir().unwrap();
    {
        let mailbox = open(home.path());
        let key = SessionKey::CtrHmac(CtrHmacKey::from_bytes([5; 32]));
        mailbox.commit_ledger(&[LedgerEntry::Register { client: CLIENT, key }]).unwrap();
    }
    let plain = sled::open(home.path().join("ledger")).unwrap();
    assert_eq!(plain.get([3; 32]).unwrap().unwrap(), &[5; 32]);
    assert_eq!(plain.len(), 1);
}

#[test]
fn a_cap_that_was_reached_lets_mail_in_again_once_clients_have_fetched_theirs() {
    const LEN: usize = 32_000;
    let home = tempfile::tempdir().unwrap();
    let mut mailbox = open(home.path());
    mailbox.limit = 90 << 20;
    let fill = |mailbox: &SledMailbox| {
        let mut taken = 0;
        while mailbox.has_room().unwrap() {
            let mut batch = MailBatch::default();
            for n in 0..32 {
                batch.put(CLIENT, Sequence(taken + n), Bytes::from(vec![n as u8; LEN]));
            }
            taken += 32;
            batch.summarize(CLIENT, Summary { next: taken, messages: taken, bytes: taken * LEN as u64 });
            commit(mailbox, batch).unwrap();
        }
        taken
    };
    let empty = |mailbox: &SledMailbox, taken: u64| {
        for first in (0..taken).step_by(32) {
            let mut batch = MailBatch::default();
            for n in first..first + 32 {
                batch.remove(CLIENT, Sequence(n));
            }
            let left = taken - first - 32;
            batch.summarize(CLIENT, Summary { next: taken, messages: left, bytes: left * LEN as u64 });
            commit(mailbox, batch).unwrap();
        }
    };
    let len = |mailbox: &SledMailbox| mailbox.with(|open| open.inboxes.len()).unwrap();
    for round in 0..4 {
        let taken = fill(&mailbox);
        assert!(taken > 300, "only {taken} messages fit in round {round}");
        assert!(!mailbox.has_room().unwrap());
        if round == 1 {
            mailbox.reopen().unwrap();
            assert!(!mailbox.has_room().unwrap());
        }
        empty(&mailbox, taken);
        assert!(mailbox.has_room().unwrap(), "the inbox is empty");
        assert!(len(&mailbox) < mailbox.limit * 5 / 4, "{} bytes on disk", len(&mailbox));
    }
}

/// Copies the files of a database as a crash of this process would leave them.
fn image(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let files = std::fs::read_dir(directory).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file());
    files.map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())).collect()
}

#[test]
fn a_torn_end_loses_nothing_that_was_committed_before_it() {
    const RUN: usize = 512;
    let home = tempfile::tempdir().unwrap();
    let mailbox = open(home.path());
    mailbox
        .commit_ledger(&[LedgerEntry::Register {
            client: CLIENT,
            key: SessionKey::GcmSiv(GcmSivKey::from_bytes([6; 32])),
        }])
        .unwrap();
    let put = |from: u64, to: u64| {
        let mut batch = MailBatch::default();
        for n in from..to {
            batch.put(CLIENT, Sequence(n), Bytes::from(vec![n as u8; 1_700]));
        }
        batch.summarize(CLIENT, Summary { next: to, messages: to, bytes: to * 1_700 });
        mailbox.commit_mail(&batch).unwrap();
    };
    put(0, 100);
    put(100, 200);
    let ledger = image(&home.path().join("ledger"));
    let committed = image(&home.path().join("inboxes"));
    // All of this may be on the medium, or some of it, or something else in its place.
    put(200, 260);
    let after = image(&home.path().join("inboxes"));
    drop(mailbox);
    let db = |image: &[(String, Vec<u8>)]| image.iter().find(|(name, _)| name == "db").unwrap().1.clone();
    let (before, after) = (db(&committed), db(&after));
    let mut torn_somewhere = 0;
    for round in 0..15_u8 {
        let mut torn = after.clone();
        for at in (0..after.len()).step_by(RUN) {
            let run = at..(at + RUN).min(after.len());
            let was = before.get(run.clone()).unwrap_or(&[]);
            if was == &after[run.clone()] {
                continue;
            }
            // What a sync had brought to the medium before is there, even beside what was written later.
            for n in run {
                if before.get(n) == Some(&after[n]) {
                    continue;
                }
                torn_somewhere += 1;
                torn[n] = match (round % 4, rand::random::<u8>() % 4) {
                    (0, _) => before.get(n).copied().unwrap_or(0),
                    (1, _) => rand::random(),
                    (2, 0) => 0,
                    (3, 0) => torn[n] ^ 1,
                    _ => torn[n],
                };
            }
            if round % 4 == 0 && rand::random::<u8>() < 8 {
                break;
            }
        }
        if round % 5 == 4 {
            let len = before.len() + rand::random_range(0..=after.len() - before.len());
            torn.truncate(len);
        }
        let crashed = tempfile::tempdir().unwrap();
        for (database, files) in [("ledger", &ledger), ("inboxes", &committed)] {
            std::fs::create_dir(crashed.path().join(database)).unwrap();
            for (name, bytes) in files {
                let bytes = if database == "inboxes" && name == "db" { &torn } else { bytes };
                std::fs::write(crashed.path().join(database).join(name), bytes).unwrap();
            }
        }
        let mailbox = open(crashed.path());
        let found = mailbox.peek(&CLIENT, EVERYTHING, PAGE).unwrap();
        let there = found.messages.iter().take(200).map(|(sequence, message)| (sequence.0, message[0]));
        assert!(there.eq((0..200).map(|n| (n, n as u8))), "round {round}: {} messages are left", found.messages.len());
        // What was not committed is there as a whole or not at all.
        let summary = mailbox.summary_of(&CLIENT).unwrap();
        assert_eq!(found.messages.len() as u64, summary.messages, "round {round}");
        assert!([200, 260].contains(&summary.messages), "round {round}: {summary:?}");
    }
    assert!(torn_somewhere > 0);
}

#[test]
fn a_damaged_database_is_refused_and_the_operator_told_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    let other = ClientAddress([4; 32]);
    {
        let mailbox = open(home.path());
        let key = SessionKey::GcmSiv(GcmSivKey::from_bytes([6; 32]));
        for client in [CLIENT, other] {
            mailbox.commit_ledger(&[LedgerEntry::Register { client, key: key.clone() }]).unwrap();
            for first in (0..200).step_by(20) {
                let mut batch = MailBatch::default();
                for n in first..first + 20 {
                    batch.put(client, Sequence(n), Bytes::from(vec![n as u8; 1_700]));
                }
                batch
                    .summarize(client, Summary { next: first + 20, messages: first + 20, bytes: (first + 20) * 1_700 });
                mailbox.commit_mail(&batch).unwrap();
            }
        }
    }
    // What has been read into a snapshot is not looked at again at the start.
    drop(open(home.path()));
    let file = home.path().join("inboxes/db");
    let mut bytes = std::fs::read(&file).unwrap();
    let needle = [77; 1_700];
    let mut at = 0;
    let mut hits = 0;
    while let Some(found) = bytes[at..].windows(needle.len()).position(|window| window == needle) {
        bytes[at + found] ^= 1;
        at += found + needle.len();
        hits += 1;
    }
    assert!(hits > 0);
    std::fs::write(&file, &bytes).unwrap();
    let directory = |name: &str| File::open(home.path().join(name)).unwrap().into();
    let error = SledMailbox::open(directory("ledger"), directory("inboxes"), 1 << 30).unwrap_err();
    assert!(matches!(error, MailboxError::Damaged { database: "inboxes", .. }), "{error}");
    assert!(error.to_string().contains("restore the database's folder from a backup"), "{error}");
    // The way out without a backup: clients stay registered.
    std::fs::rename(home.path().join("inboxes"), home.path().join("damaged")).unwrap();
    let mailbox = open(home.path());
    assert!(mailbox.key_of(&other).unwrap().is_some());
    assert_eq!(mailbox.summary_of(&other).unwrap(), Summary::default());
}

#[test]
fn a_key_behind_every_place_of_an_inbox_does_not_keep_the_store_from_starting() {
    let home = tempfile::tempdir().unwrap();
    let mailbox = open(home.path());
    let place = record::message_key(&CLIENT, Sequence(u64::MAX));
    for key in [[&place[..], b"more"].concat(), vec![0xff; 50]] {
        mailbox.with(|open| Ok(open.inboxes.trees().0.insert(key, b"?").unwrap())).unwrap();
    }
    mailbox.mail_before(u64::MAX, &Position::default()).unwrap();
    drop(mailbox);
    open(home.path());
}
