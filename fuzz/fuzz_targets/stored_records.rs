//! Both databases with records in them that nobody has written like this: the store opens, serves every client, and says
//! what it cannot read. Input: records.
#![no_main]

use std::{
    fmt::Display,
    fs,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::LazyLock,
    thread::sleep,
    time::Duration,
};

use libfuzzer_sys::fuzz_target;
use proto::{address::ClientAddress, ipc::store_edge::Sequence, wire::client::login::Freshness};
use store::mailbox::{LedgerEntry, Mailbox, MailboxError, PageLimit, SledMailbox};

const CLIENTS: u8 = 3;
const LIMIT: u64 = 1 << 30;

struct Home {
    ledger: PathBuf,
    inboxes: PathBuf,
}

/// The folder goes with that of all temporary files: a static is never dropped.
static HOME: LazyLock<Home> = LazyLock::new(|| {
    let home = tempfile::tempdir().unwrap().keep();
    let (ledger, inboxes) = (home.join("ledger"), home.join("inboxes"));
    fs::create_dir(&ledger).unwrap();
    fs::create_dir(&inboxes).unwrap();
    // With the layout of the gateway, which cannot be changed later.
    drop(open(&ledger, &inboxes));
    Home { ledger, inboxes }
});

/// Whoever had the database before may need a moment to let go of it.
fn patiently<T, E: Display>(open: impl Fn() -> Result<T, E>) -> T {
    for _ in 0..1_000 {
        match open() {
            Ok(opened) => return opened,
            Err(error) if error.to_string().contains("could not acquire lock") => sleep(Duration::from_millis(2)),
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the database is never let go")
}

fn open(ledger: &Path, inboxes: &Path) -> SledMailbox {
    let directory = |path| -> OwnedFd { fs::File::open(path).unwrap().into() };
    patiently(|| SledMailbox::open(directory(ledger), directory(inboxes), LIMIT))
}

fn address(client: u8) -> ClientAddress {
    ClientAddress([client % CLIENTS; 32])
}

fn database(path: &Path, segment_size: usize) -> sled::Db {
    let config = sled::Config::new().path(path).segment_size(segment_size).cache_capacity(1 << 20).flush_every_ms(None);
    patiently(|| config.open())
}

fn write(mut records: &[u8]) {
    let (ledger, inboxes) = (database(&HOME.ledger, 512 * 1024), database(&HOME.inboxes, 4 * 1024 * 1024));
    for database in [&ledger, &inboxes] {
        for name in database.tree_names() {
            database.open_tree(name).unwrap().clear().unwrap();
        }
    }
    while let Some((&[kind, client, sequence, len], rest)) = records.split_first_chunk::<4>() {
        let (value, rest) = rest.split_at(rest.len().min(len.into()));
        records = rest;
        let client = address(client);
        let key = client.as_bytes().as_slice();
        let message = [key, &u64::from(sequence).to_be_bytes()].concat();
        match kind % 8 {
            0 => ledger.insert(key, value),
            1 => ledger.open_tree("clients").unwrap().insert(key, value),
            2 => ledger.open_tree("logins").unwrap().insert(key, value),
            3 => ledger.open_tree("seen").unwrap().insert(key, value),
            4 => inboxes.insert(key, value),
            5 => inboxes.insert(message, value),
            // Where no record should be.
            6 => inboxes.insert(value, &[sequence]),
            _ => ledger.insert(value, &[sequence]),
        }
        .unwrap();
    }
    ledger.flush().unwrap();
    inboxes.flush().unwrap();
}

fn may_not_know(result: Result<impl Sized, MailboxError>) {
    match result {
        Ok(_) | Err(MailboxError::UnknownRecord { .. }) => {}
        Err(error) => panic!("{error}"),
    }
}

fuzz_target!(|records: &[u8]| {
    write(records);
    let mailbox = open(&HOME.ledger, &HOME.inboxes);
    for client in (0..CLIENTS).map(address) {
        may_not_know(mailbox.key_of(&client));
        for freshness in [Freshness::Iv([0; 16]), Freshness::Nonce([0; 12]), Freshness::Timestamp(u64::MAX)] {
            match mailbox.is_fresh(&client, &freshness) {
                Ok(true) => mailbox.commit_ledger(&[LedgerEntry::Login { client, freshness }]).unwrap(),
                is_fresh => may_not_know(is_fresh),
            }
        }
        may_not_know(mailbox.summary_of(&client));
        let range = (Sequence(0), Sequence(u64::MAX));
        may_not_know(mailbox.peek(&client, range, PageLimit { messages: 10, bytes: 100_000 }));
        mailbox.commit_ledger(&[LedgerEntry::Forget { client }]).unwrap();
        assert!(matches!(mailbox.key_of(&client), Ok(None)), "forgotten and still known");
    }
});
