//! Records, and databases, that are not as they were written.

use super::*;

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
        mailbox.commit_ledger(&[LedgerEntry::Register { client: CLIENT, key, logins: LoginForm::Token }]).unwrap();
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
        mailbox.commit_ledger(&[LedgerEntry::Register { client: CLIENT, key, logins: LoginForm::Token }]).unwrap();
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
            mailbox
                .commit_ledger(&[LedgerEntry::Register { client, key: key.clone(), logins: LoginForm::Token }])
                .unwrap();
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
        mailbox.commit_ledger(&[LedgerEntry::Register { client, key: key.clone(), logins: LoginForm::Token }]).unwrap();
        assert_eq!(mailbox.key_of(&client).unwrap(), Some(key.clone()));
    }
    assert_eq!(mailbox.key_of(&third).unwrap(), Some(key));
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
            logins: LoginForm::Token,
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
            mailbox
                .commit_ledger(&[LedgerEntry::Register { client, key: key.clone(), logins: LoginForm::Token }])
                .unwrap();
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
