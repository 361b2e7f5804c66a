//! Keys, logins, and when clients and gateway were last there.

use super::*;

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
    mailbox.commit_ledger(&[LedgerEntry::Register { client: CLIENT, key, logins: LoginForm::Token }]).unwrap();
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
    mailbox
        .commit_ledger(&[LedgerEntry::Register { client: CLIENT, key, logins: LoginForm::Token }, login(now + 100)])
        .unwrap();
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
    let register =
        |key: &SessionKey| LedgerEntry::Register { client: CLIENT, key: key.clone(), logins: LoginForm::Token };
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

/// The record of a client in `clients`, as another version may have left it.
fn put_record(home: &Path, record: &[u8]) {
    let ledger = sled::Config::new().path(home.join("ledger")).segment_size(LEDGER.segment_size).open().unwrap();
    ledger.open_tree("clients").unwrap().insert(CLIENT.as_bytes(), record).unwrap();
    ledger.flush().unwrap();
}

#[test]
fn a_client_that_signs_logs_in_with_no_nonce_across_restarts() {
    let home = tempfile::tempdir().unwrap();
    let key = SessionKey::GcmSiv(GcmSivKey::from_bytes([6; 32]));
    let register = |logins| LedgerEntry::Register { client: CLIENT, key: key.clone(), logins };
    let login = |time| LedgerEntry::Login { client: CLIENT, freshness: Freshness::Timestamp(time) };
    let takes_nonces = || {
        let mailbox = open(home.path());
        assert_eq!(mailbox.key_of(&CLIENT).unwrap(), Some(key.clone()));
        mailbox.is_fresh(&CLIENT, &Freshness::Nonce([1; 12])).unwrap()
    };
    for (entries, expected) in [
        (vec![register(LoginForm::Token)], true),
        (vec![register(LoginForm::Signed)], false),
        // With an older version, which the client signs for.
        (vec![register(LoginForm::Token)], true),
        (vec![login(100)], false),
        (vec![register(LoginForm::Token), login(100)], false),
    ] {
        open(home.path()).commit_ledger(&entries).unwrap();
        assert_eq!(takes_nonces(), expected, "{entries:?}");
    }
}

#[test]
fn an_entry_without_a_form_is_of_who_signs_if_it_has() {
    let home = tempfile::tempdir().unwrap();
    let record = |last_login: u64| [&[1, 1][..], &[6; 32], &last_login.to_be_bytes()].concat();
    for (last_login, expected) in [(0, true), (100, false)] {
        drop(open(home.path()));
        put_record(home.path(), &record(last_login));
        let mailbox = open(home.path());
        let key = SessionKey::GcmSiv(GcmSivKey::from_bytes([6; 32]));
        assert_eq!(mailbox.key_of(&CLIENT).unwrap(), Some(key));
        assert_eq!(mailbox.is_fresh(&CLIENT, &Freshness::Nonce([1; 12])).unwrap(), expected);
        let newer = |time| mailbox.is_fresh(&CLIENT, &Freshness::Timestamp(time)).unwrap();
        assert!(!newer(last_login) && newer(last_login + 1));
    }
    for torn in [record(9)[..41].to_vec(), [record(9), vec![1]].concat(), [&[2][..], &record(9)[1..], &[2]].concat()] {
        put_record(home.path(), &torn);
        assert!(matches!(open(home.path()).key_of(&CLIENT), Err(MailboxError::UnknownRecord { .. })));
    }
}

#[test]
fn a_ledger_entry_is_written_as_0_10_1_did() {
    let home = tempfile::tempdir().unwrap();
    {
        let mailbox = open(home.path());
        let key = SessionKey::CtrHmac(CtrHmacKey::from_bytes([5; 32]));
        mailbox.commit_ledger(&[LedgerEntry::Register { client: CLIENT, key, logins: LoginForm::Token }]).unwrap();
    }
    let plain = sled::open(home.path().join("ledger")).unwrap();
    assert_eq!(plain.get([3; 32]).unwrap().unwrap(), &[5; 32]);
    assert_eq!(plain.len(), 1);
}
