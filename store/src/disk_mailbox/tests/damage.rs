//! Records, and databases, that are not as they were written.

use super::*;

fn raw<T>(home: &Path, database: &str, act: impl FnOnce(&sled::Db) -> T) -> T {
    let db = engine(home, database);
    let outcome = act(&db);
    db.flush().unwrap();
    outcome
}

#[test]
fn a_torn_ledger_entry_stops_only_its_client() {
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
            batch.put(client, Sequence(0), Bytes::from_static(b"a"), Ack::Owed);
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

#[test]
fn a_message_that_is_damaged_is_set_aside_and_in_nobodys_way() {
    let home = tempfile::tempdir().unwrap();
    {
        let mailbox = open(home.path());
        let key = SessionKey::GcmSiv(GcmSivKey::from_bytes([6; 32]));
        mailbox.commit_ledger(&[LedgerEntry::Register { client: CLIENT, key, logins: LoginForm::Token }]).unwrap();
        let mut batch = MailBatch::default();
        for n in 0..5 {
            batch.put(CLIENT, Sequence(n), Bytes::from(vec![0xa0 | n as u8; 40]), Ack::Owed);
        }
        mailbox.commit_mail(&batch).unwrap();
    }
    let folder = home.path().join("inboxes/mail");
    let mut hits = 0;
    for file in std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()) {
        let mut bytes = std::fs::read(&file).unwrap();
        while let Some(at) = bytes.windows(40).position(|window| window == [0xa2; 40]) {
            bytes[at + 7] ^= 0x10;
            hits += 1;
        }
        std::fs::write(&file, bytes).unwrap();
    }
    assert_eq!(hits, 1);
    let mailbox = open(home.path());
    let page = mailbox.peek(&CLIENT, EVERYTHING, PAGE).unwrap();
    assert_eq!(page.messages.iter().map(|(n, _)| n.0).collect::<Vec<_>>(), [0, 1, 3, 4]);
    assert_eq!(page.unreadable, [(Sequence(2), 40)]);
    let mut batch = MailBatch::default();
    batch.set_aside(CLIENT, Sequence(2));
    mailbox.commit_mail(&batch).unwrap();
    assert_eq!(mailbox.peek(&CLIENT, EVERYTHING, PAGE).unwrap().unreadable, []);
    let aside = || {
        let names = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path());
        names.filter(|path| path.extension().is_some_and(|end| end == "aside")).collect::<Vec<_>>()
    };
    let kept: Vec<_> = aside().iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert_eq!((kept.len(), kept[0].len(), kept[0][7]), (1, 40, 0xb2));
    let mut batch = MailBatch::default();
    batch.erase(CLIENT);
    mailbox.commit_mail(&batch).unwrap();
    assert_eq!(aside(), Vec::<std::path::PathBuf>::new(), "a client that is forgotten leaves something");
}
