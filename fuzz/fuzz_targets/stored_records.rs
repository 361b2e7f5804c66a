//! A ledger with records in it that nobody has written like this: the store puts them in order, serves every client, and
//! says what it cannot read. Input: records. It is opened once for all inputs.
#![no_main]

use std::{
    fs,
    os::fd::OwnedFd,
    sync::{Arc, LazyLock},
};

use client_wire::login::Freshness;
use libfuzzer_sys::fuzz_target;
use store::{
    disk_mailbox::{DiskMailbox, found::Place},
    mailbox::{LedgerEntry, Mailbox, MailboxError},
};
use wire::address::ClientAddress;

const CLIENTS: u8 = 3;
const LIMIT: u64 = 1 << 30;

/// The folder goes with that of all temporary files: a static is never dropped.
static MAILBOX: LazyLock<DiskMailbox> = LazyLock::new(|| {
    let home = tempfile::tempdir().unwrap().keep();
    let directory = |name| -> OwnedFd {
        let path = home.join(name);
        fs::create_dir(&path).unwrap();
        fs::File::open(path).unwrap().into()
    };
    DiskMailbox::open(directory("ledger"), directory("inboxes"), LIMIT, Arc::default()).unwrap()
});

fn address(client: u8) -> ClientAddress {
    ClientAddress([client % CLIENTS; 32])
}

/// Place, key and value of each record.
fn records(mut bytes: &[u8]) -> Vec<(Place, Vec<u8>, Vec<u8>)> {
    let mut records = Vec::new();
    while let Some((&[kind, client, sequence, len], rest)) = bytes.split_first_chunk::<4>() {
        let (value, rest) = rest.split_at(rest.len().min(len.into()));
        bytes = rest;
        let client = address(client).0;
        records.push(match kind % 6 {
            0 => (Place::ClientsOf2021, client.to_vec(), value.to_vec()),
            1 => (Place::Clients, client.to_vec(), value.to_vec()),
            2 => (Place::Logins, client.to_vec(), value.to_vec()),
            3 => (Place::Seen, client.to_vec(), value.to_vec()),
            // Where no record should be.
            4 => (Place::Clients, value.to_vec(), vec![sequence]),
            _ => (Place::Logins, [&client, value].concat(), vec![sequence]),
        });
    }
    records
}

fn may_not_know<T>(result: Result<T, MailboxError>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(MailboxError::UnknownRecord { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

fuzz_target!(|bytes: &[u8]| {
    let records = records(bytes);
    let mailbox = &*MAILBOX;
    mailbox.find(records.iter().map(|(place, key, value)| (*place, key.as_slice(), value.as_slice()))).unwrap();
    mailbox.clients_after(None).unwrap();
    let mut logins = Vec::new();
    for client in (0..CLIENTS).map(address) {
        may_not_know(mailbox.key_of(&client));
        mailbox.last_seen(&client).unwrap();
        for freshness in [Freshness::Iv([0; 16]), Freshness::Nonce([0; 12]), Freshness::Timestamp(u64::MAX)] {
            if may_not_know(mailbox.is_fresh(&client, &freshness)) == Some(true) {
                logins.push(LedgerEntry::Login { client, freshness });
            }
        }
    }
    may_not_know(mailbox.commit_ledger(&logins));
    let forget = (0..CLIENTS).map(|client| LedgerEntry::Forget { client: address(client) });
    mailbox.commit_ledger(&forget.collect::<Vec<_>>()).unwrap();
    for client in (0..CLIENTS).map(address) {
        assert!(matches!(mailbox.key_of(&client), Ok(None)), "forgotten and still known");
    }
});
