//! Both databases with records in them that nobody has written like this: the store puts them in order, serves every client, and
//! says what it cannot read. Input: records. The databases are opened once for all inputs.
#![no_main]

use std::{fs, os::fd::OwnedFd, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use proto::{address::ClientAddress, ipc::store_edge::Sequence, wire::client::login::Freshness};
use store::mailbox::{
    LedgerEntry, MailBatch, Mailbox, MailboxError, PageLimit, Position, SledMailbox, commit, found::Place,
};

const CLIENTS: u8 = 3;
const LIMIT: u64 = 1 << 30;

/// The folder goes with that of all temporary files: a static is never dropped.
static MAILBOX: LazyLock<SledMailbox> = LazyLock::new(|| {
    let home = tempfile::tempdir().unwrap().keep();
    let directory = |name| -> OwnedFd {
        let path = home.join(name);
        fs::create_dir(&path).unwrap();
        fs::File::open(path).unwrap().into()
    };
    SledMailbox::open(directory("ledger"), directory("inboxes"), LIMIT).unwrap()
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
        let message = [&client[..], &u64::from(sequence).to_be_bytes()].concat();
        records.push(match kind % 10 {
            0 => (Place::ClientsOf2021, client.to_vec(), value.to_vec()),
            1 => (Place::Clients, client.to_vec(), value.to_vec()),
            2 => (Place::Logins, client.to_vec(), value.to_vec()),
            3 => (Place::Seen, client.to_vec(), value.to_vec()),
            4 => (Place::Inboxes, client.to_vec(), value.to_vec()),
            5 => (Place::Inboxes, message, value.to_vec()),
            // Where no record should be.
            6 => (Place::Inboxes, value.to_vec(), vec![sequence]),
            7 => (Place::Clients, value.to_vec(), vec![sequence]),
            8 => (Place::Logins, [&client, value].concat(), vec![sequence]),
            _ => (Place::SetAside, message, value.to_vec()),
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
    mailbox.mail_before(u64::MAX, &Position::default()).unwrap();
    let mut logins = Vec::new();
    let mut mail = MailBatch::default();
    for client in (0..CLIENTS).map(address) {
        may_not_know(mailbox.key_of(&client));
        mailbox.last_seen(&client).unwrap();
        for freshness in [Freshness::Iv([0; 16]), Freshness::Nonce([0; 12]), Freshness::Timestamp(u64::MAX)] {
            if may_not_know(mailbox.is_fresh(&client, &freshness)) == Some(true) {
                logins.push(LedgerEntry::Login { client, freshness });
            }
        }
        if let Some(summary) = may_not_know(mailbox.summary_of(&client)) {
            mail.summarize(client, summary);
        }
        let range = (Sequence(0), Sequence(u64::MAX));
        let page = mailbox.peek(&client, range, PageLimit { messages: 10, bytes: 100_000 }).unwrap();
        assert!(page.messages.is_sorted_by_key(|(sequence, _)| *sequence));
        for (sequence, _) in &page.unreadable {
            mail.set_aside(client, *sequence);
        }
        for (sequence, _) in &page.messages {
            mail.remove(client, *sequence);
        }
    }
    may_not_know(mailbox.commit_ledger(&logins));
    commit(mailbox, mail).map_err(|uncommitted| uncommitted.error).unwrap();
    let forget = (0..CLIENTS).map(|client| LedgerEntry::Forget { client: address(client) });
    mailbox.commit_ledger(&forget.collect::<Vec<_>>()).unwrap();
    for client in (0..CLIENTS).map(address) {
        assert!(matches!(mailbox.key_of(&client), Ok(None)), "forgotten and still known");
    }
});
