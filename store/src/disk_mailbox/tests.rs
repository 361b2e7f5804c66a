//! The mailbox on real files.

mod backup;
mod classes;
mod damage;
mod ledger;
mod share;
mod take_over;
mod torn;

use super::*;

use super::{databases::open_once_free, ledger_file::LEDGER};
use crate::mailbox::commit;

use bytes::Bytes;

use client_wire::{
    key::{CtrHmacKey, GcmSivKey},
    login::LoginForm,
};
use ipc::ingress_store::Ack;

use std::{fs::File, path::Path};

fn open_within(home: &Path, limit: u64) -> Result<DiskMailbox, MailboxError> {
    for name in ["ledger", "inboxes"] {
        std::fs::create_dir_all(home.join(name)).unwrap();
    }
    let directory = |name| File::open(home.join(name)).unwrap().into();
    DiskMailbox::open(directory("ledger"), directory("inboxes"), limit, Arc::new(StoreCounters::default()))
}

fn open(home: &Path) -> DiskMailbox {
    open_within(home, 1 << 30).unwrap()
}

/// A database, opened with sled alone. An earlier handle lets go of its lock a moment after it was dropped.
fn engine(home: &Path, database: &str) -> sled::Db {
    let directory = home.join(database);
    std::fs::create_dir_all(&directory).unwrap();
    open_once_free(&File::open(&directory).unwrap().into()).unwrap();
    let segment_size = if database == "ledger" { LEDGER.segment_size } else { 4 * 1024 * 1024 };
    sled::Config::new().path(directory).segment_size(segment_size).open().unwrap()
}

const CLIENT: ClientAddress = ClientAddress([3; 32]);

const EVERYTHING: (Sequence, Sequence) = (Sequence(0), Sequence(u64::MAX));

const PAGE: PageLimit = PageLimit { messages: 1_000, bytes: usize::MAX };

#[test]
fn a_predecessor_that_is_not_quite_dead_is_waited_for() {
    let home = tempfile::tempdir().unwrap();
    drop(open(home.path()));
    let held = File::options().write(true).open(home.path().join("inboxes/mail/lock")).unwrap();
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
            batch.put(CLIENT, Sequence(n), Bytes::from(vec![n as u8; 40]), Ack::Owed);
        }
        mailbox.commit_mail(&batch).unwrap();
        mailbox
            .commit_ledger(&[
                LedgerEntry::Register { client: CLIENT, key: key.clone(), logins: LoginForm::Token },
                LedgerEntry::Login { client: CLIENT, freshness: Freshness::Iv([7; 16]) },
            ])
            .unwrap();
    }
    std::fs::write(home.path().join("ledger/snap.00000000000000FF.generating"), b"half").unwrap();
    let mailbox = open(home.path());
    assert_eq!(mailbox.summary_of(&CLIENT).unwrap(), Summary { next: 5, messages: 5, bytes: 200, ackless: 0 });
    let page = mailbox.peek(&CLIENT, (Sequence(1), Sequence(4)), PAGE).unwrap().messages;
    assert_eq!(page.iter().map(|(s, m)| (s.0, m[0])).collect::<Vec<_>>(), [(1, 1), (2, 2), (3, 3)]);
    assert_eq!(mailbox.key_of(&CLIENT).unwrap(), Some(key));
    assert!(!mailbox.is_fresh(&CLIENT, &Freshness::Iv([7; 16])).unwrap());
    assert!(mailbox.is_fresh(&CLIENT, &Freshness::Iv([8; 16])).unwrap());
}

#[test]
fn a_page_ends_at_its_limit_but_brings_at_least_one() {
    let home = tempfile::tempdir().unwrap();
    let mailbox = open(home.path());
    let mut batch = MailBatch::default();
    for n in 0..4 {
        batch.put(CLIENT, Sequence(n), Bytes::from(vec![0; 100]), Ack::Owed);
        batch.put(ClientAddress([4; 32]), Sequence(n), Bytes::from(vec![0; 100]), Ack::Owed);
    }
    mailbox.commit_mail(&batch).unwrap();
    let len =
        |messages, bytes| mailbox.peek(&CLIENT, EVERYTHING, PageLimit { messages, bytes }).unwrap().messages.len();
    assert_eq!((len(2, 9_999), len(9, 150), len(9, 1), len(9, 9_999)), (2, 1, 1, 4));
}

#[test]
fn an_erased_inbox_is_gone_and_orphaned_mail_is_swept() {
    let home = tempfile::tempdir().unwrap();
    let other = ClientAddress([4; 32]);
    let mut last = ClientAddress([0xff; 32]);
    last.0[31] = 0xfe;
    {
        let mailbox = open(home.path());
        let key = SessionKey::GcmSiv(GcmSivKey::from_bytes([6; 32]));
        mailbox.commit_ledger(&[LedgerEntry::Register { client: CLIENT, key, logins: LoginForm::Token }]).unwrap();
        let mut batch = MailBatch::default();
        // As far from each other as messages of one inbox can be.
        for client in [CLIENT, other, last] {
            batch.put(client, Sequence(0), Bytes::from_static(b"a"), Ack::Owed);
            batch.put(client, Sequence(u32::MAX.into()), Bytes::from_static(b"z"), Ack::Owed);
        }
        mailbox.commit_mail(&batch).unwrap();
    }
    let mailbox = open(home.path());
    let count = |mailbox: &DiskMailbox| -> u64 {
        [CLIENT, other, last].map(|client| mailbox.summary_of(&client).unwrap().messages).iter().sum()
    };
    assert_eq!(count(&mailbox), 2, "the messages of the one who is registered");
    let mut batch = MailBatch::default();
    batch.erase(CLIENT);
    mailbox.commit_mail(&batch).unwrap();
    assert_eq!(count(&mailbox), 0);
}

#[test]
fn a_full_one_takes_nothing_new_and_lets_everything_else_go_on() {
    let home = tempfile::tempdir().unwrap();
    let mailbox = open_within(home.path(), 64 << 20).unwrap();
    let key = || SessionKey::CtrHmac(CtrHmacKey::from_bytes([5; 32]));
    let register =
        || mailbox.commit_ledger(&[LedgerEntry::Register { client: CLIENT, key: key(), logins: LoginForm::Token }]);
    register().unwrap();
    let put = |first: u64| {
        let mut batch = MailBatch::default();
        for n in first..first + 32 {
            batch.put(CLIENT, Sequence(n), Bytes::from(vec![n as u8; 32_000]), Ack::Owed);
        }
        commit(&mailbox, batch)
    };
    let mut next = 0;
    while put(next).is_ok() {
        next += 32;
    }
    assert!(next > 320, "only {next} messages fit into 64 MiB");
    assert!(matches!(put(next).unwrap_err().error, MailboxError::NoRoom(Lack::Mail { .. })));
    assert!(mailbox.lack().unwrap().is_some(), "service would come and go with every commit");
    mailbox.reopen().unwrap();
    mailbox.commit_ledger(&[LedgerEntry::Login { client: CLIENT, freshness: Freshness::Iv([7; 16]) }]).unwrap();
    // Every removal gives room back, however often this is repeated.
    for round in 0..4 {
        let gone = next - 320;
        for n in gone..gone + 160 {
            let mut batch = MailBatch::default();
            batch.remove(CLIENT, Sequence(n));
            commit(&mailbox, batch).unwrap();
        }
        assert_eq!(mailbox.lack().unwrap(), None);
        for _ in 0..5 {
            put(next).map_err(|refused| refused.error).unwrap_or_else(|error| panic!("round {round}: {error}"));
            next += 32;
        }
    }
    let files: u64 = std::fs::read_dir(home.path().join("inboxes/mail"))
        .unwrap()
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();
    assert!(files <= 34 << 20, "{files} bytes on disk");
    drop(mailbox);
    // New clients have a share of their own, even if there is more mail than its limit.
    let mailbox = open_within(home.path(), 56 << 20).unwrap();
    assert!(matches!(mailbox.lack().unwrap(), Some(Lack::Mail { .. })));
    mailbox.commit_ledger(&[LedgerEntry::Register { client: CLIENT, key: key(), logins: LoginForm::Token }]).unwrap();
}
