//! The ledger's share of the disk.

use super::*;

const LIMIT: u64 = 64 << 20;
const SHARE: u64 = LIMIT / 2;

fn open_within(home: &Path, limit: u64) -> DiskMailbox {
    super::open_within(home, limit).unwrap()
}

/// Bytes of the files of the ledger, but for the reserve.
fn ledger_bytes(home: &Path) -> u64 {
    let files = std::fs::read_dir(home.join("ledger")).unwrap().map(Result::unwrap);
    files.filter(|file| file.file_name() != "reserve").map(|file| file.metadata().unwrap().len()).sum()
}

fn client(n: u32) -> ClientAddress {
    let mut address = [7; 32];
    address[..4].copy_from_slice(&n.to_be_bytes());
    ClientAddress(address)
}

fn login(n: u32, nonce: u32) -> LedgerEntry {
    LedgerEntry::Login { client: client(n), freshness: iv(nonce) }
}

fn iv(n: u32) -> Freshness {
    let mut iv = [0; 16];
    iv[..4].copy_from_slice(&n.to_be_bytes());
    Freshness::Iv(iv)
}

fn register(n: u32) -> LedgerEntry {
    let key = SessionKey::CtrHmac(CtrHmacKey::from_bytes([n as u8; 32]));
    LedgerEntry::Register { client: client(n), key, logins: LoginForm::Token }
}

#[test]
fn logins_without_end_leave_no_more_than_their_fingerprints() {
    const ROUNDS: u32 = 400;
    const LOGINS: u32 = 100;
    let home = tempfile::tempdir().unwrap();
    drop(open(home.path()));
    let mailbox = open_within(home.path(), LIMIT);
    let mut most = 0;
    for round in 0..ROUNDS {
        let mut entries = Vec::new();
        if mailbox.ledger_room().unwrap() == LedgerRoom::Ample {
            // A client besides the 40 that log in: a registration would forget the logins of one of those.
            entries.push(register(40 + round));
        }
        entries.extend((0..LOGINS).map(|n| login(n % 40, round * LOGINS + n)));
        mailbox.commit_ledger(&entries).unwrap();
        most = most.max(ledger_bytes(home.path()));
    }
    // A hundred bytes for each login would be more.
    assert!(most < u64::from(ROUNDS * LOGINS) * 100, "{most} bytes after {} logins", ROUNDS * LOGINS);
    drop(mailbox);
    let mailbox = open_within(home.path(), LIMIT);
    for round in [0, 1, ROUNDS / 2, ROUNDS - 1] {
        assert!(mailbox.key_of(&client(40 + round)).unwrap().is_some());
        for n in 0..LOGINS {
            assert!(!mailbox.is_fresh(&client(n % 40), &iv(round * LOGINS + n)).unwrap());
        }
    }
}

#[test]
fn new_clients_are_refused_when_the_ledger_has_its_share() {
    const AT_ONCE: u32 = 2_000;
    let home = tempfile::tempdir().unwrap();
    drop(open(home.path()));
    let mailbox = open_within(home.path(), LIMIT);
    let (mut clients, mut rewrites) = (0, 0);
    loop {
        match mailbox.ledger_room().unwrap() {
            LedgerRoom::Ample => {
                mailbox.commit_ledger(&(clients..clients + AT_ONCE).map(register).collect::<Vec<_>>()).unwrap();
                clients += AT_ONCE;
            }
            LedgerRoom::Outgrown => {
                mailbox.reopen().unwrap();
                rewrites += 1;
            }
            LedgerRoom::NoNewClients(_) => break,
        }
        assert!(ledger_bytes(home.path()) < SHARE);
    }
    assert!(clients > 10_000 && rewrites > 0, "{clients} clients fit, and it was rewritten {rewrites} times");
    // Mail has a share of its own.
    assert_eq!(mailbox.lack().unwrap(), None);
    mailbox.commit_ledger(&[login(0, 1)]).unwrap();
    // Once the clients are gone, the next start removes their dead records.
    for first in (0..clients).step_by(AT_ONCE as usize) {
        let gone = (first..first + AT_ONCE).map(|n| LedgerEntry::Forget { client: client(n) });
        mailbox.commit_ledger(&gone.collect::<Vec<_>>()).unwrap();
    }
    drop(mailbox);
    let mailbox = open_within(home.path(), LIMIT);
    assert_eq!(mailbox.ledger_room().unwrap(), LedgerRoom::Ample);
}

#[test]
fn records_that_cannot_be_opened_are_not_taken_for_none() {
    let home = tempfile::tempdir().unwrap();
    drop(open(home.path()));
    std::fs::create_dir(home.path().join("ledger/records")).unwrap();
    let error = super::open_within(home.path(), LIMIT).unwrap_err().to_string();
    assert!(error.contains("it is no plain file of this directory"), "{error}");
}

#[test]
fn a_rewrite_that_was_killed_is_finished_from_what_is_whole() {
    let home = tempfile::tempdir().unwrap();
    let ledger = home.path().join("ledger");
    let entries: Vec<_> = (0..3_000).map(register).chain((0..100).map(|n| login(n, n))).collect();
    {
        let mailbox = open(home.path());
        mailbox.commit_ledger(&entries).unwrap();
        let directory = File::open(&ledger).unwrap().into();
        mailbox.with(|ledger| rewrite::write_records(ledger.database(), &directory)).unwrap();
    }
    let records = std::fs::read(ledger.join("records")).unwrap();
    let expect_all = || {
        let mailbox = open(home.path());
        for n in 0..3_000 {
            assert!(mailbox.key_of(&client(n)).unwrap().is_some());
        }
        assert!((0..100).all(|n| !mailbox.is_fresh(&client(n), &iv(n)).unwrap()));
        assert!(mailbox.is_fresh(&client(100), &iv(100)).unwrap());
        assert!(!ledger.join("records").exists() && !ledger.join("records.part").exists());
    };
    // With the whole database beside them, with half a database, and with none.
    expect_all();
    std::fs::write(ledger.join("records"), &records).unwrap();
    let engine = engine(home.path(), "ledger");
    engine.clear().unwrap();
    engine.flush().unwrap();
    drop(engine);
    expect_all();
    std::fs::write(ledger.join("records"), &records).unwrap();
    std::fs::remove_file(ledger.join("db")).unwrap();
    expect_all();
    // Records that are not whole are ignored.
    std::fs::write(ledger.join("records.part"), &records[..records.len() / 2]).unwrap();
    expect_all();
}
