//! Mail that was stored in the database of an earlier version.

use super::*;
use crate::disk_mailbox::record;

fn seed(home: &Path, clients: &[ClientAddress], messages: u64) {
    let old = engine(home, "inboxes");
    for client in clients {
        // That version kept a record with the totals of an inbox in front of its messages.
        old.insert(client.as_bytes(), vec![1; 25]).unwrap();
        for n in 0..messages {
            let value = record::encode_message(1_000 + n, &[n as u8; 50]);
            old.insert(record::message_key(client, Sequence(3 + 2 * n)), value).unwrap();
        }
    }
    old.flush().unwrap();
}

fn register(home: &Path, clients: &[ClientAddress]) {
    let mailbox = open(home);
    for client in clients {
        let key = SessionKey::GcmSiv(GcmSivKey::from_bytes([6; 32]));
        mailbox.commit_ledger(&[LedgerEntry::Register { client: *client, key, logins: LoginForm::Token }]).unwrap();
    }
}

#[test]
fn stored_mail_of_an_earlier_version_is_taken_over_once() {
    let home = tempfile::tempdir().unwrap();
    let (other, stranger) = (ClientAddress([4; 32]), ClientAddress([5; 32]));
    register(home.path(), &[CLIENT, other]);
    seed(home.path(), &[CLIENT, other, stranger], 3_000);
    for start in 0..2 {
        let mailbox = open(home.path());
        for client in [CLIENT, other] {
            let page = mailbox.peek(&client, EVERYTHING, PageLimit { messages: 9_999, ..PAGE }).unwrap();
            let found: Vec<_> = page.messages.iter().map(|(number, body)| (number.0, body[0])).collect();
            assert_eq!(found, (0..3_000).map(|n| (3 + 2 * n, n as u8)).collect::<Vec<_>>(), "start {start}");
        }
        assert_eq!(mailbox.summary_of(&stranger).unwrap().messages, 0, "mail of nobody came along");
        let old = mailbox.mail_before(1_005, &Position::default()).unwrap();
        assert_eq!(old.messages.iter().filter(|(client, ..)| *client == CLIENT).count(), 5, "each keeps its age");
        let left: Vec<_> =
            std::fs::read_dir(home.path().join("inboxes")).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert!(!left.iter().any(|name| name == "db" || name == "conf"), "{left:?}");
    }
}

#[test]
fn what_was_taken_over_before_a_crash_is_not_taken_over_again() {
    let home = tempfile::tempdir().unwrap();
    register(home.path(), &[CLIENT]);
    seed(home.path(), &[CLIENT], 100);
    let copy = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(home.path().join("inboxes")).unwrap().map(Result::unwrap) {
        if file.path().is_file() {
            std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
    }
    drop(open(home.path()));
    // The old database is put back, as if the process had been killed before it removed it.
    for file in std::fs::read_dir(copy.path()).unwrap().map(Result::unwrap) {
        std::fs::copy(file.path(), home.path().join("inboxes").join(file.file_name())).unwrap();
    }
    let mailbox = open(home.path());
    assert_eq!(mailbox.peek(&CLIENT, EVERYTHING, PAGE).unwrap().messages.len(), 100);
}

#[test]
fn what_is_no_message_in_the_old_database_is_set_aside() {
    let home = tempfile::tempdir().unwrap();
    register(home.path(), &[CLIENT]);
    seed(home.path(), &[CLIENT], 3);
    let old = engine(home.path(), "inboxes");
    old.insert(record::message_key(&CLIENT, Sequence(5)), b"?".as_slice()).unwrap();
    old.open_tree("set_aside").unwrap().insert(record::message_key(&CLIENT, Sequence(1)), b"!".as_slice()).unwrap();
    old.insert(b"stray".as_slice(), b"".as_slice()).unwrap();
    old.insert(vec![0xff; 50], b"".as_slice()).unwrap();
    drop(old);
    let mailbox = open(home.path());
    let page = mailbox.peek(&CLIENT, EVERYTHING, PAGE).unwrap();
    assert_eq!(page.messages.iter().map(|(number, _)| number.0).collect::<Vec<_>>(), [3, 7]);
    let files = std::fs::read_dir(home.path().join("inboxes/mail")).unwrap().map(|file| file.unwrap().path());
    let aside = files.filter(|path| path.extension().is_some_and(|end| end == "aside"));
    let mut aside: Vec<_> = aside.map(|path| std::fs::read(path).unwrap()).collect();
    aside.sort();
    assert_eq!(aside, [b"!", b"?"]);
}

#[test]
fn a_damaged_database_is_refused_with_advice() {
    let home = tempfile::tempdir().unwrap();
    register(home.path(), &[CLIENT]);
    {
        let old = engine(home.path(), "inboxes");
        for n in 0..400 {
            old.insert(record::message_key(&CLIENT, Sequence(n)), record::encode_message(1, &[77; 1_700])).unwrap();
            old.flush().unwrap();
        }
    }
    // At a start, the database does not check what is in its snapshot.
    drop(engine(home.path(), "inboxes"));
    let file = home.path().join("inboxes/db");
    let mut bytes = std::fs::read(&file).unwrap();
    let mut looked_at = 0;
    while let Some(at) = bytes[looked_at..].windows(1_700).position(|window| window == [77; 1_700]) {
        bytes[looked_at + at] ^= 1;
        looked_at += at + 1_700;
    }
    assert!(looked_at > 0);
    std::fs::write(&file, &bytes).unwrap();
    let error = open_within(home.path(), 1 << 30).unwrap_err();
    assert!(matches!(error, MailboxError::Damaged { database: "inboxes", .. }), "{error}");
    assert!(error.to_string().contains("restore the database's folder from a backup"), "{error}");
    // The advice for an operator without a backup works, and clients stay registered.
    std::fs::rename(home.path().join("inboxes"), home.path().join("damaged")).unwrap();
    assert!(open(home.path()).key_of(&CLIENT).unwrap().is_some());
}
