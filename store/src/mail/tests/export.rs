//! Inboxes that are read page by page, for a backup.

use std::{os::fd::OwnedFd, sync::Arc, time::Duration};

use ipc::ingress_store::Ack;
use session_ipc::Sequence;

use super::{
    log::{CLIENT, OTHER},
    world::SETTINGS,
};
use crate::{
    counters::StoreCounters,
    mail::{
        MailLog, Settings, TakenOver,
        shelf::memory::{BadRead, Memory},
    },
    mailbox::MailBatch,
};

/// The numbers, by page.
fn pages(mail: &MailLog<Memory>, from: u64, len: usize) -> Vec<Vec<u64>> {
    let mut pages = Vec::new();
    let mut from = Sequence(from);
    loop {
        let (page, next) = mail.export(&CLIENT, from);
        for message in &page {
            let number = message.number.0;
            assert_eq!((message.client, message.arrival), (CLIENT, 7));
            assert_eq!(message.ack, ack(number), "message {number}");
            assert_eq!(*message.body, vec![number as u8; len], "message {number}");
        }
        pages.extend((!page.is_empty()).then(|| page.iter().map(|message| message.number.0).collect()));
        let Some(next) = next else { return pages };
        from = next;
    }
}

const fn ack(number: u64) -> Ack {
    if number.is_multiple_of(3) { Ack::NotOwed } else { Ack::Owed }
}

/// A log with so many messages of this length.
fn mail(shelf: &Memory, messages: u64, len: usize) -> MailLog<Memory> {
    let settings = Settings { segment: 4 * 1024 * 1024, most: 64 * 1024 * 1024, ..SETTINGS };
    let mail = MailLog::on(shelf.clone(), settings, Arc::new(StoreCounters::default()), Duration::ZERO).unwrap();
    let mut batch = MailBatch::default();
    for number in 0..messages {
        batch.put(CLIENT, Sequence(number), vec![number as u8; len].into(), ack(number));
    }
    mail.commit(&batch, Duration::from_millis(7)).unwrap();
    mail
}

#[test]
fn a_page_has_256_messages_or_a_mebibyte() {
    let small = mail(&Memory::of(1 << 30), 600, 10);
    let all: Vec<u64> = (0..600).collect();
    assert_eq!(pages(&small, 0, 10), [&all[..256], &all[256..512], &all[512..]]);
    assert_eq!(pages(&small, 590, 10), [&all[590..]]);
    assert!(small.export(&OTHER, Sequence(0)).0.is_empty());
    let large = mail(&Memory::of(1 << 30), 400, 5_000);
    let lens: Vec<_> = pages(&large, 0, 5_000).iter().map(Vec::len).collect();
    assert_eq!(lens, [209, 191]);
}

#[test]
fn a_message_that_cannot_be_read_is_left_out() {
    let shelf = Memory::of(1 << 30);
    let mail = mail(&shelf, 1, 10);
    shelf.plan_reads(&[BadRead::Fails; 9]);
    let (page, next) = mail.export(&CLIENT, Sequence(0));
    assert!(page.is_empty() && next == Some(Sequence(1)));
}

/// On a real directory.
#[test]
fn what_is_taken_over_is_there_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let directory = OwnedFd::from(std::fs::File::open(folder.path()).unwrap());
    let mail = MailLog::open(directory, SETTINGS, Arc::new(StoreCounters::default()), Duration::ZERO).unwrap();
    let message = |number| TakenOver {
        client: CLIENT,
        number: Sequence(number),
        arrival: 7,
        ack: Ack::Owed,
        body: vec![7; 100].into(),
    };
    assert_eq!(mail.take_over(&[message(3), message(4)]).unwrap(), 2);
    let (page, _) = mail.export(&CLIENT, Sequence(0));
    assert_eq!(page.iter().map(|message| message.number.0).collect::<Vec<_>>(), [3, 4]);
}
