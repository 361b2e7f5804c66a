//! The mailbox on real files.

mod damage;
mod ledger;
mod share;

use super::*;

use crate::mailbox::{commit, record};

use bytes::Bytes;

use proto::wire::client::{
    key::{CtrHmacKey, GcmSivKey},
    login::LoginForm,
};

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
                LedgerEntry::Register { client: CLIENT, key: key.clone(), logins: LoginForm::Token },
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
    assert!(matches!(commit(&mailbox, batch).unwrap_err().error, MailboxError::NoRoom(_)));
    let key = SessionKey::CtrHmac(CtrHmacKey::from_bytes([5; 32]));
    let register = mailbox.commit_ledger(&[LedgerEntry::Register { client: CLIENT, key, logins: LoginForm::Token }]);
    assert!(matches!(register, Err(MailboxError::NoRoom(_))));
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
    assert_eq!((len(2, 9_999), len(9, 150), len(9, 1), len(9, 9_999)), (2, 1, 1, 4));
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
fn what_is_erased_is_gone_and_mail_without_an_owner_is_swept_at_the_start() {
    let home = tempfile::tempdir().unwrap();
    let other = ClientAddress([4; 32]);
    let mut last = ClientAddress([0xff; 32]);
    last.0[31] = 0xfe;
    {
        let mailbox = open(home.path());
        let key = SessionKey::GcmSiv(GcmSivKey::from_bytes([6; 32]));
        mailbox.commit_ledger(&[LedgerEntry::Register { client: CLIENT, key, logins: LoginForm::Token }]).unwrap();
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

#[test]
fn a_cap_that_was_reached_lets_mail_in_again_once_clients_have_fetched_theirs() {
    const LEN: usize = 32_000;
    let home = tempfile::tempdir().unwrap();
    let mut mailbox = open(home.path());
    mailbox.limit = 225 << 20;
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
        assert!(len(&mailbox) < mailbox.limit, "{} bytes on disk", len(&mailbox));
    }
}

#[test]
fn clients_that_fetch_beside_clients_that_do_not_never_make_the_files_grow_beyond_the_cap() {
    const CLIENTS: u8 = 8;
    const AT_ONCE: u64 = 32;
    const LEN: u64 = 32_000;
    let home = tempfile::tempdir().unwrap();
    let mut mailbox = open(home.path());
    mailbox.limit = 250 << 20;
    // The first message of each client that is still there, and the next.
    let mut inboxes = [(0_u64, 0_u64); CLIENTS as usize];
    let address = |client: usize| ClientAddress([client as u8 * 31 + 1; 32]);
    let mut most = 0;
    for round in 0..16_usize {
        let mut writes = (0..inboxes.len()).cycle();
        while mailbox.has_room().unwrap() {
            let client = writes.next().unwrap();
            let (first, next) = &mut inboxes[client];
            let mut batch = MailBatch::default();
            for n in *next..*next + AT_ONCE {
                batch.put(address(client), Sequence(n), Bytes::from(vec![n as u8; LEN as usize]));
            }
            *next += AT_ONCE;
            let messages = *next - *first;
            batch.summarize(address(client), Summary { next: *next, messages, bytes: messages * LEN });
            commit(&mailbox, batch).unwrap();
        }
        // Others in each round, and all in every third.
        for (client, (first, next)) in inboxes.iter_mut().enumerate() {
            if round % 3 != 2 && (client * 5 + round * 3) % 8 < 4 {
                continue;
            }
            while first < next {
                let end = (*first + 256).min(*next);
                let mut batch = MailBatch::default();
                for n in *first..end {
                    batch.remove(address(client), Sequence(n));
                }
                *first = end;
                let messages = *next - end;
                batch.summarize(address(client), Summary { next: *next, messages, bytes: messages * LEN });
                commit(&mailbox, batch).unwrap();
            }
        }
        most = most.max(mailbox.with(|open| open.inboxes.len()).unwrap());
    }
    assert!(most < mailbox.limit, "{most} bytes on disk");
    assert!(mailbox.has_room().unwrap() || inboxes.iter().any(|(first, next)| first < next));
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
