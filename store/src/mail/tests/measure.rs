//! What operators are shown of the mail, and which inboxes there are.

use std::{sync::Arc, time::Duration};

use ipc::ingress_store::Ack;
use session_ipc::Sequence;
use wire::address::ClientAddress;

use super::{
    log::{client, close_writer},
    world::SETTINGS,
};
use crate::{
    counters::StoreCounters,
    mail::{
        MailLog, Settings,
        shelf::{Shelf as _, memory::Memory},
    },
    mailbox::{Filling, InboxSize, MailBatch, Measure},
};

/// An inbox with so much is full.
const WHOLE: InboxSize = InboxSize { messages: 3, bytes: 1_000 };

fn mail(shelf: &Memory) -> MailLog<Memory> {
    // Room for the entries of more inboxes than are looked at in one go.
    let settings = Settings { segment: 4 * 1024 * 1024, most: 64 * 1024 * 1024, ..SETTINGS };
    MailLog::on(shelf.clone(), settings, Arc::new(StoreCounters::default()), Duration::from_millis(1)).unwrap()
}

/// Puts messages of these sizes, at this millisecond.
fn put(mail: &MailLog<Memory>, client: ClientAddress, millis: u64, messages: &[(usize, Ack)]) {
    let mut batch = MailBatch::default();
    for (number, (len, ack)) in messages.iter().enumerate() {
        batch.put(client, Sequence(number as u64), vec![7; *len].into(), *ack);
    }
    mail.commit(&batch, Duration::from_millis(millis)).unwrap();
}

#[test]
fn operators_are_shown_how_much_mail_there_is() {
    let shelf = Memory::of(1 << 30);
    let mail = mail(&shelf);
    let nothing = Measure { free: shelf.free().unwrap(), ..Measure::default() };
    assert_eq!(mail.measure(WHOLE).unwrap(), nothing);
    put(&mail, client(1), 30, &[(10, Ack::Owed); 3]);
    put(&mail, client(2), 20, &[(500, Ack::Owed), (500, Ack::Owed)]);
    put(&mail, client(3), 40, &[(500, Ack::Owed), (499, Ack::Owed)]);
    put(&mail, client(4), 50, &[(2_000, Ack::NotOwed); 4]);
    let shown = Measure {
        messages: 3 + 2 + 2 + 4,
        bytes: 30 + 1_000 + 999,
        full: 2,
        oldest: Some(20),
        data: mail.log.files(),
        free: shelf.free().unwrap(),
        ..Measure::default()
    };
    assert!(shown.data > 0 && shown.free < nothing.free);
    assert_eq!(mail.measure(WHOLE).unwrap(), shown);
}

#[test]
fn all_inboxes_are_measured_and_named_in_parts() {
    const INBOXES: u16 = 4_096 * 2 + 1;
    let mail = mail(&Memory::of(1 << 30));
    let mut batch = MailBatch::default();
    for number in 0..INBOXES {
        batch.put(client(number), Sequence(0), vec![7; 3].into(), Ack::Owed);
    }
    mail.commit(&batch, Duration::from_millis(7)).unwrap();
    let shown = mail.measure(WHOLE).unwrap();
    assert_eq!((shown.messages, shown.bytes, shown.full), (u64::from(INBOXES), 3 * u64::from(INBOXES), 0));
    assert_eq!(mail.owners_after(None, 2), [client(0), client(1)]);
    assert_eq!(mail.owners_after(Some(client(7)), 2), [client(8), client(9)]);
    assert_eq!(mail.owners_after(Some(client(INBOXES - 2)), 2), [client(INBOXES - 1)]);
}

#[test]
fn how_full_it_is_counts_what_is_alive() {
    let mail = mail(&Memory::of(1 << 30));
    put(&mail, client(1), 30, &[(1_000, Ack::Owed); 3]);
    close_writer(&mail.log);
    // It is asked for when mail is refused.
    assert_eq!(mail.lack().unwrap(), None);
    let Filling { alive, capacity } = mail.filling();
    assert_eq!(alive, mail.log.index().occupied());
    assert!(alive > 3_000 && capacity > alive, "{alive} of {capacity}");
}
