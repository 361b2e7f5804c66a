//! Keys, logins, and when clients and gateway were last there.

use super::*;

/// Logins that are remembered of one client.
const REMEMBERED: u32 = 5_760;

fn nonce(n: u32) -> Freshness {
    let mut nonce = [0; 16];
    nonce[..4].copy_from_slice(&n.to_be_bytes());
    Freshness::Iv(nonce)
}

fn spend(mailbox: &DiskMailbox, numbers: std::ops::Range<u32>) {
    let logins: Vec<_> = numbers.map(|n| LedgerEntry::Login { client: CLIENT, freshness: nonce(n) }).collect();
    for part in logins.chunks(500) {
        mailbox.commit_ledger(part).unwrap();
    }
}

fn is_fresh(mailbox: &DiskMailbox, n: u32) -> bool {
    mailbox.is_fresh(&CLIENT, &nonce(n)).unwrap()
}

/// Half a year from now.
fn later() -> Duration {
    clock::now() + Duration::from_secs(181 * 86_400)
}

#[test]
fn a_key_whose_logins_fill_the_memory_takes_no_more() {
    let home = tempfile::tempdir().unwrap();
    let mailbox = open(home.path());
    spend(&mailbox, 0..REMEMBERED - 1);
    assert!(is_fresh(&mailbox, REMEMBERED));
    spend(&mailbox, REMEMBERED - 1..REMEMBERED);
    drop(mailbox);
    let mut mailbox = open(home.path());
    for n in [0, 59, 60, REMEMBERED - 1, REMEMBERED] {
        assert!(!is_fresh(&mailbox, n), "{n}");
    }
    let records = mailbox.with(|ledger| Ok(ledger.spent_of(&CLIENT))).unwrap();
    let bytes: usize = records.map(|record| record.unwrap()).map(|(key, value)| key.len() + value.len()).sum();
    assert!(bytes <= 32 * 1024, "{bytes} bytes for one client");
    // Half a year later the oldest page gives way, and no other.
    mailbox.clock = later;
    assert!(is_fresh(&mailbox, REMEMBERED) && !is_fresh(&mailbox, 0));
    spend(&mailbox, REMEMBERED..REMEMBERED + 60);
    assert!(is_fresh(&mailbox, 59) && !is_fresh(&mailbox, 60) && !is_fresh(&mailbox, REMEMBERED + 59));
    // With a new key, nothing is remembered.
    mailbox.clock = clock::now;
    let key = SessionKey::CtrHmac(CtrHmacKey::from_bytes([5; 32]));
    let register = LedgerEntry::Register { client: CLIENT, key, logins: LoginForm::Token };
    let login = LedgerEntry::Login { client: CLIENT, freshness: nonce(7) };
    mailbox.commit_ledger(&[LedgerEntry::Login { client: CLIENT, freshness: nonce(8) }, register, login]).unwrap();
    assert!(is_fresh(&mailbox, REMEMBERED) && is_fresh(&mailbox, 8) && !is_fresh(&mailbox, 7));
    assert_eq!(mailbox.with(|ledger| Ok(ledger.spent_of(&CLIENT).count())).unwrap(), 1);
    mailbox.commit_ledger(&[LedgerEntry::Forget { client: CLIENT }]).unwrap();
    assert_eq!(mailbox.with(|ledger| Ok(ledger.spent_of(&CLIENT).count())).unwrap(), 0);
}

/// Nonces as versions before this one kept them.
fn keep_as_before(home: &Path, client: &ClientAddress, numbers: std::ops::Range<u32>) {
    let ledger = engine(home, "ledger");
    let logins = ledger.open_tree("logins").unwrap();
    for n in numbers {
        let (Freshness::Iv(iv), order) = (nonce(n), u64::from(n).to_be_bytes()) else { continue };
        logins.insert([client.as_bytes().as_slice(), &[0], &iv].concat(), &order).unwrap();
        logins.insert([client.as_bytes().as_slice(), &[1], &order].concat(), &iv).unwrap();
    }
    ledger.flush().unwrap();
}

#[test]
fn nonces_of_earlier_versions_survive_a_kill_anywhere() {
    let home = tempfile::tempdir().unwrap();
    drop(open(home.path()));
    let clients = [CLIENT, ClientAddress([4; 32]), ClientAddress([5; 32])];
    for (client, logins) in clients.iter().zip([4_096, 61, 1]) {
        keep_as_before(home.path(), client, 0..logins);
    }
    let expect_all = |mailbox: &DiskMailbox| {
        for (client, logins) in clients.iter().zip([4_096, 61, 1]) {
            let spent = (0..logins).filter(|n| !mailbox.is_fresh(client, &nonce(*n)).unwrap()).count();
            assert_eq!(spent, logins as usize);
            assert!(mailbox.is_fresh(client, &nonce(logins)).unwrap());
        }
        mailbox.with(|ledger| Ok(ledger.spent_of(&CLIENT).count())).unwrap()
    };
    let pages = expect_all(&open(home.path()));
    let old_trees =
        || engine(home.path(), "ledger").tree_names().iter().filter(|name| name.as_ref() == b"logins").count();
    assert_eq!(old_trees(), 0);
    // As if the process had been killed before it removed the old tree.
    for (client, logins) in clients.iter().zip([4_096, 61, 1]) {
        keep_as_before(home.path(), client, 0..logins);
    }
    assert_eq!(expect_all(&open(home.path())), pages, "what was taken over was taken over twice");
    assert_eq!(old_trees(), 0);
}

/// The clock leaps half a year ahead, and back again.
#[test]
fn a_clock_that_leapt_has_no_login_forgotten_early() {
    let home = tempfile::tempdir().unwrap();
    let mut mailbox = open(home.path());
    mailbox.check_clock(clock::now().as_secs()).unwrap();
    spend(&mailbox, 0..REMEMBERED);
    mailbox.clock = later;
    assert!(!mailbox.check_clock(later().as_secs()).unwrap());
    assert!(!is_fresh(&mailbox, REMEMBERED), "there is no room for it");
    spend(&mailbox, REMEMBERED..REMEMBERED + 1);
    assert!(!is_fresh(&mailbox, 0), "a login was forgotten the day it was made");
}

#[test]
fn logins_of_one_commit_have_none_forgotten_early() {
    let home = tempfile::tempdir().unwrap();
    let mailbox = open(home.path());
    spend(&mailbox, 0..REMEMBERED - 1);
    assert!(is_fresh(&mailbox, REMEMBERED));
    // There was room for one login, and several came in one commit.
    spend(&mailbox, REMEMBERED - 1..REMEMBERED + 3);
    drop(mailbox);
    let mut mailbox = open(home.path());
    for n in [0, 59, REMEMBERED - 1, REMEMBERED + 2, REMEMBERED + 3] {
        assert!(!is_fresh(&mailbox, n), "{n}");
    }
    // The surplus is forgotten once it is old enough.
    mailbox.clock = later;
    spend(&mailbox, REMEMBERED + 3..REMEMBERED + 60);
    spend(&mailbox, REMEMBERED + 60..REMEMBERED + 61);
    assert_eq!(mailbox.with(|ledger| Ok(ledger.spent_of(&CLIENT).count())).unwrap(), 96);
}

#[test]
fn a_login_older_than_the_last_takes_nothing_back() {
    let home = tempfile::tempdir().unwrap();
    let mailbox = open(home.path());
    let now = clock::now().as_secs();
    let login = |time| LedgerEntry::Login { client: CLIENT, freshness: Freshness::Timestamp(time) };
    let fresh = |time| mailbox.is_fresh(&CLIENT, &Freshness::Timestamp(time)).unwrap();
    let key = SessionKey::GcmSiv(GcmSivKey::from_bytes([6; 32]));
    let register = LedgerEntry::Register { client: CLIENT, key, logins: LoginForm::Signed };
    // A login was delayed and arrives while another of the client is on its way to the ledger, so it is refused.
    mailbox.commit_ledger(&[register, login(now), login(now - 60)]).unwrap();
    assert!(!fresh(now) && fresh(now + 1));
    mailbox.commit_ledger(&[login(now - 30)]).unwrap();
    assert!(!fresh(now) && fresh(now + 1));
}

/// 40 minutes ago.
fn before() -> Duration {
    clock::now() - Duration::from_secs(2_400)
}

#[test]
fn a_clock_set_back_makes_no_login_good_that_was_taken_before() {
    let home = tempfile::tempdir().unwrap();
    let key = SessionKey::GcmSiv(GcmSivKey::from_bytes([6; 32]));
    let now = clock::now().as_secs();
    let login = |time| LedgerEntry::Login { client: CLIENT, freshness: Freshness::Timestamp(time) };
    let fresh = |mailbox: &DiskMailbox, time| mailbox.is_fresh(&CLIENT, &Freshness::Timestamp(time)).unwrap();
    let mailbox = open(home.path());
    // The gateway has run for some time, and looks at the clock once in an hour.
    mailbox.check_clock(now - 3_500).unwrap();
    let register = LedgerEntry::Register { client: CLIENT, key, logins: LoginForm::Signed };
    mailbox.commit_ledger(&[register, login(now - 2_400), login(now)]).unwrap();
    let mut mailbox = Some(mailbox);
    // Once in the process that took the login, and once in its successor.
    for _ in 0..2 {
        let mut open = mailbox.take().unwrap_or_else(|| open(home.path()));
        open.clock = before;
        assert!(!fresh(&open, now - 2_400) && !fresh(&open, now), "a login was good again");
        assert!(fresh(&open, now + 1));
        // The same if the clock is checked and believed in between.
        assert!(open.check_clock(now - 2_400).unwrap());
        assert!(!fresh(&open, now - 2_400));
    }
}

#[test]
fn a_leap_of_the_clock_is_doubted_and_dates_do_not_go_back() {
    let home = tempfile::tempdir().unwrap();
    let now = clock::now().as_secs();
    let (ahead, year) = (now + 365 * 86_400, 365 * 86_400);
    assert!(open(home.path()).check_clock(ahead).unwrap(), "at first there is nothing to compare it with");
    let mailbox = open(home.path());
    // The ledger was used by a clock that was a year ahead of the machine's.
    assert!(!mailbox.check_clock(now).unwrap());
    let key = SessionKey::CtrHmac(CtrHmacKey::from_bytes([5; 32]));
    mailbox.commit_ledger(&[LedgerEntry::Register { client: CLIENT, key, logins: LoginForm::Token }]).unwrap();
    assert_eq!(mailbox.last_seen(&CLIENT).unwrap(), Some(ahead));
    let mut batch = MailBatch::default();
    batch.put(CLIENT, Sequence(0), Bytes::from_static(b"a"), Ack::Owed);
    mailbox.commit_mail(&batch).unwrap();
    let older_than = |time| mailbox.mail_before(time * 1_000, &Position::default()).unwrap().messages.len();
    assert_eq!((older_than(ahead), older_than(ahead + 1)), (0, 1));
    drop(mailbox);

    let mailbox = open(home.path());
    assert!(!mailbox.check_clock(now + year / 2).unwrap());
    assert!(mailbox.check_clock(ahead + 60).unwrap());
    drop(mailbox);
    // The clock is a year behind, for three days and three starts.
    for hours in [0, 23, 46, 69] {
        assert!(!open(home.path()).check_clock(now + hours * 3_600).unwrap());
    }
    assert!(open(home.path()).check_clock(now + 72 * 3_600).unwrap());
}

#[test]
fn a_login_by_a_fast_clock_keeps_no_later_login_out() {
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
    // If the clock is behind, an old login still does not count as newer than the last one.
    mailbox.check_clock(now).unwrap();
    mailbox.check_clock(now + 80_000).unwrap();
    mailbox.commit_ledger(&[login(now + 80_000)]).unwrap();
    assert!(!fresh(now + 5));
}

/// A clock that stands.
fn standing() -> Duration {
    Duration::from_secs(1_800_000_000)
}

#[test]
fn a_last_login_bars_earlier_ones_up_to_two_minutes_ahead() {
    let home = tempfile::tempdir().unwrap();
    let mut mailbox = open(home.path());
    mailbox.clock = standing;
    let now = standing().as_secs();
    for (ahead, bars) in [(120, true), (121, false)] {
        let key = SessionKey::GcmSiv(GcmSivKey::from_bytes([6; 32]));
        let register = LedgerEntry::Register { client: CLIENT, key, logins: LoginForm::Signed };
        let login = LedgerEntry::Login { client: CLIENT, freshness: Freshness::Timestamp(now + ahead) };
        mailbox.commit_ledger(&[register, login]).unwrap();
        assert_eq!(mailbox.is_fresh(&CLIENT, &Freshness::Timestamp(now)).unwrap(), !bars, "{ahead}");
    }
}

#[test]
fn all_clients_are_looked_at_in_parts_each_once() {
    const CLIENTS: u16 = 1_200;
    let home = tempfile::tempdir().unwrap();
    let mailbox = open(home.path());
    let mut entries = Vec::new();
    for n in 0..CLIENTS {
        let mut client = ClientAddress([7; 32]);
        client.0[..2].copy_from_slice(&n.to_be_bytes());
        let key = match n % 3 {
            0 => SessionKey::CtrHmac(CtrHmacKey::from_bytes([5; 32])),
            _ => SessionKey::GcmSiv(GcmSivKey::from_bytes([6; 32])),
        };
        entries.push(LedgerEntry::Register { client, key, logins: LoginForm::Token });
        entries.push(LedgerEntry::Seen { client, at: n.into() });
    }
    mailbox.commit_ledger(&entries).unwrap();
    let (mut parts, mut found, mut after) = (0, Vec::new(), None);
    loop {
        let part = mailbox.clients_after(after).unwrap();
        assert!(part.clients.len() <= 512);
        found.extend(
            part.clients.into_iter().map(|(client, seen)| (u16::from_be_bytes([client.0[0], client.0[1]]), seen)),
        );
        parts += 1;
        after = part.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(parts, 3);
    assert_eq!(found, (0..CLIENTS).map(|n| (n, Some(n.into()))).collect::<Vec<_>>());
}

#[test]
fn a_client_has_one_key_and_logins_only_get_later() {
    let home = tempfile::tempdir().unwrap();
    let old = SessionKey::CtrHmac(CtrHmacKey::from_bytes([5; 32]));
    let new = SessionKey::GcmSiv(GcmSivKey::from_bytes([6; 32]));
    let register =
        |key: &SessionKey| LedgerEntry::Register { client: CLIENT, key: key.clone(), logins: LoginForm::Token };
    let login = |time| LedgerEntry::Login { client: CLIENT, freshness: Freshness::Timestamp(time) };
    let fresh = |mailbox: &DiskMailbox, time| mailbox.is_fresh(&CLIENT, &Freshness::Timestamp(time)).unwrap();
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
    // A login does not restore a client that is forgotten in the same commit.
    mailbox.commit_ledger(&[LedgerEntry::Forget { client: CLIENT }, login(200)]).unwrap();
    assert_eq!(mailbox.key_of(&CLIENT).unwrap(), None);
}

/// The record of a client in `clients`, as another version may have left it.
fn put_record(home: &Path, record: &[u8]) {
    let ledger = engine(home, "ledger");
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
        // An older version of the record, of a client that signs.
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
