//! What a backup holds of ledger and mail, and what a start makes of it.

use std::sync::atomic::AtomicBool;

use client_wire::token::MAX_SKEW;
use ipc::operator::{ClientCount, ClientKind};

use super::*;
use crate::backup::BackUp;

const OF_2021: ClientAddress = ClientAddress([1; 32]);
const BY_TOKEN: ClientAddress = ClientAddress([2; 32]);
const SIGNING: ClientAddress = ClientAddress([3; 32]);

fn register(client: ClientAddress) -> LedgerEntry {
    let key = match client {
        OF_2021 => SessionKey::CtrHmac(CtrHmacKey::from_bytes([5; 32])),
        _ => SessionKey::GcmSiv(GcmSivKey::from_bytes([6; 32])),
    };
    let logins = if client == SIGNING { LoginForm::Signed } else { LoginForm::Token };
    LedgerEntry::Register { client, key, logins }
}

fn put(mailbox: &DiskMailbox, client: ClientAddress, numbers: std::ops::Range<u64>) {
    let mut batch = MailBatch::default();
    for n in numbers {
        let ack = if n % 3 == 1 { Ack::NotOwed } else { Ack::Owed };
        batch.put(client, Sequence(n), Bytes::from(n.to_be_bytes().repeat(5)), ack);
    }
    mailbox.commit_mail(&batch).unwrap();
}

/// A mailbox with one client of each kind, and mail.
fn full(home: &Path) -> DiskMailbox {
    let mailbox = open(home);
    mailbox.commit_ledger(&[OF_2021, BY_TOKEN, SIGNING].map(register)).unwrap();
    put(&mailbox, OF_2021, 0..700);
    put(&mailbox, SIGNING, 0..5);
    mailbox
}

/// Lays a backup of the mailbox into an empty home.
fn back_up(mailbox: &DiskMailbox, home: &Path) {
    let file = |folder: &str, name: &str| {
        std::fs::create_dir_all(home.join(folder)).unwrap();
        File::create(home.join(folder).join(name)).unwrap()
    };
    let (mail, ledger) = mailbox.names();
    mailbox.write_mail(&mut file("inboxes", mail)).unwrap();
    mailbox.write_ledger(&mut file("ledger", ledger)).unwrap();
}

fn mail_of(mailbox: &DiskMailbox, client: &ClientAddress) -> Vec<(u64, Vec<u8>, Ack)> {
    let page = mailbox.peek(client, EVERYTHING, PAGE).unwrap();
    let ack = |number| page.ack_of(number);
    page.messages.iter().map(|(number, body)| (number.0, body.to_vec(), ack(*number))).collect()
}

#[test]
fn a_restored_backup_has_all_clients_and_their_mail() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let before = full(first.path());
    back_up(&before, second.path());
    let after = open(second.path());
    for client in [OF_2021, BY_TOKEN, SIGNING] {
        assert_eq!(mail_of(&after, &client), mail_of(&before, &client));
        assert_eq!(after.key_of(&client).unwrap(), before.key_of(&client).unwrap());
        assert_eq!(after.last_seen(&client).unwrap(), before.last_seen(&client).unwrap());
    }
    assert_eq!(after.count_clients().unwrap(), ClientCount { of_2021: 1, token: 1, signed: 1 });
    assert_eq!(after.kind_of(&BY_TOKEN).unwrap(), Some(ClientKind::Token));
    let files = |folder| std::fs::read_dir(second.path().join(folder)).unwrap().map(|file| file.unwrap().file_name());
    assert!(files("ledger").chain(files("inboxes")).all(|name| name != "records" && name != "mail.restored"));
}

#[test]
fn logins_from_before_a_restore_are_refused() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    back_up(&full(first.path()), second.path());
    // Any token may have been used after the backup, and any signed login from before the first start.
    for _ in ["first start", "second start"] {
        let after = open(second.path());
        let now = clock::now().as_secs();
        let is_fresh = |client, freshness| after.is_fresh(client, &freshness).unwrap();
        assert!(!is_fresh(&OF_2021, Freshness::Iv([7; 16])));
        assert!(!is_fresh(&BY_TOKEN, Freshness::Nonce([7; 12])));
        assert!(!is_fresh(&SIGNING, Freshness::Timestamp(now - 60)));
        assert!(is_fresh(&SIGNING, Freshness::Timestamp(now + MAX_SKEW)));
        // A client that has a key of version 3 and signs by now.
        assert!(is_fresh(&BY_TOKEN, Freshness::Timestamp(now + MAX_SKEW)));
    }
    let after = open(second.path());
    after.commit_ledger(&[register(OF_2021), register(BY_TOKEN)]).unwrap();
    assert!(after.is_fresh(&OF_2021, &Freshness::Iv([7; 16])).unwrap());
    assert!(after.is_fresh(&BY_TOKEN, &Freshness::Nonce([7; 12])).unwrap());
    after.commit_ledger(&[LedgerEntry::Forget { client: OF_2021 }]).unwrap();
    assert_eq!(after.key_of(&OF_2021).unwrap(), None);
}

/// A ledger that was never restored takes logins as before.
#[test]
fn a_backup_changes_nothing_for_the_gateway_itself() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    back_up(&full(first.path()), second.path());
    let before = open(first.path());
    assert!(before.is_fresh(&OF_2021, &Freshness::Iv([7; 16])).unwrap());
    assert!(before.is_fresh(&SIGNING, &Freshness::Timestamp(1)).unwrap());
}

#[test]
fn restored_mail_that_is_not_as_written_ends_the_start() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    back_up(&full(first.path()), second.path());
    let path = second.path().join("inboxes/mail.restored");
    let whole = std::fs::read(&path).unwrap();
    let mut changed = whole.clone();
    changed[100] ^= 1;
    for bytes in [&changed, &whole[..whole.len() - 1].to_vec()] {
        std::fs::write(&path, bytes).unwrap();
        let error = open_within(second.path(), 1 << 30).unwrap_err().to_string();
        assert!(error.contains("restore the backup once more"), "{error}");
    }
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(mail_of(&open(second.path()), &OF_2021).len(), 700);
}

#[test]
fn a_take_over_that_dies_before_its_end_repeats_nothing() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let before = full(first.path());
    back_up(&before, second.path());
    let path = second.path().join("inboxes/mail.restored");
    let whole = std::fs::read(&path).unwrap();
    drop(open(second.path()));
    // As if the process had died before the file was removed.
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(mail_of(&open(second.path()), &OF_2021), mail_of(&before, &OF_2021));
}

#[test]
fn what_was_committed_before_a_backup_is_in_it_under_load() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mailbox = full(first.path());
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut next = 700;
            while !is_over.load(Ordering::Relaxed) {
                put(&mailbox, OF_2021, next..next + 20);
                next += 20;
                // Clients change between the trees of both kinds all the time.
                let key = SessionKey::GcmSiv(GcmSivKey::from_bytes([8; 32]));
                let other = LedgerEntry::Register { client: OF_2021, key, logins: LoginForm::Signed };
                mailbox.commit_ledger(&[other]).unwrap();
                mailbox.commit_ledger(&[register(OF_2021)]).unwrap();
            }
        });
        back_up(&mailbox, second.path());
        is_over.store(true, Ordering::Relaxed);
    });
    let after = open(second.path());
    let numbers: Vec<u64> = mail_of(&after, &OF_2021).iter().map(|(number, ..)| *number).collect();
    assert!(numbers.len() >= 700 && numbers.iter().copied().eq(0..numbers.len() as u64), "{numbers:?}");
    assert!(after.kind_of(&OF_2021).unwrap().is_some());
}
