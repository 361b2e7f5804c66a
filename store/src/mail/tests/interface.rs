//! What the mailbox asks of the log beside messages: old ones, room, whether it can be written, and what is kept apart.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use ipc::ingress_store::Ack;
use nix::errno::Errno;
use rand::{SeedableRng as _, rngs::StdRng};
use session_ipc::Sequence;
use wire::address::ClientAddress;

use super::{
    log::{CLIENT, OTHER, clean, client, close_writer, open, put, remove},
    world::SETTINGS,
};
use crate::{
    counters::StoreCounters,
    mail::{
        Log, MailLog, Settings,
        entry::{Fact, Gone},
        index::State,
        recover::LEAP,
        segment::Stream,
        shelf::{
            Shelf as _,
            memory::{BadRead, End, Fault, Memory},
        },
    },
    mailbox::{Lack, MailBatch, PageLimit, Position, Summary},
};

const EVERYTHING: (Sequence, Sequence) = (Sequence(0), Sequence(u64::MAX));

fn interface(shelf: &Memory) -> MailLog<Memory> {
    MailLog::on(shelf.clone(), SETTINGS, Arc::new(StoreCounters::default()), Duration::from_millis(1)).unwrap()
}

#[test]
fn numbers_leap_only_after_an_end_out_of_order() {
    let shelf = Memory::of(1 << 30);
    let mail = interface(&shelf);
    put(&mail.log, CLIENT, 0..5, 100);
    drop(mail);
    let mail = interface(&shelf);
    mail.leap();
    assert_eq!(mail.log.summary_of(&CLIENT).next, 5, "a log that is dropped has ended in order");
    put(&mail.log, CLIENT, 5..6, 100);
    shelf.plan(0, Fault::Dies);
    drop(mail);
    shelf.end(End::Kill, &mut StdRng::seed_from_u64(1));
    let mail = interface(&shelf);
    mail.leap();
    assert_eq!(mail.log.summary_of(&CLIENT).next, 6 + LEAP);
}

/// All messages are of the millisecond 7.
#[test]
fn old_mail_is_found_in_parts_of_whole_inboxes() {
    let log = open(&Memory::of(1 << 30));
    for number in 0..3 {
        put(&log, client(number), 0..300, 10);
    }
    let first = log.mail_before(8, &Position::default());
    assert_eq!((first.messages.len(), first.messages[0].2), (600, 10));
    let second = log.mail_before(8, &first.next.unwrap());
    assert!(second.messages.iter().all(|(owner, ..)| *owner == client(2)));
    assert_eq!((second.messages.len(), second.next.is_none()), (300, true));
    assert_eq!(log.mail_before(7, &Position::default()).messages.len(), 0);
}

#[test]
fn a_look_at_many_inboxes_without_old_mail_comes_to_an_end() {
    let log = open(&Memory::of(1 << 30));
    let mut batch = MailBatch::default();
    for number in 0..4_100 {
        batch.put(client(number), Sequence(0), Bytes::from_static(b"m"), Ack::Owed);
    }
    log.commit(&batch, 7).unwrap();
    let part = log.mail_before(7, &Position::default());
    let last = part.next.unwrap();
    assert_eq!((part.messages.len(), last.last()), (0, Some(client(4_095))));
    assert!(log.mail_before(7, &last).next.is_none());
}

#[test]
fn after_a_refusal_mail_is_taken_once_a_sixteenth_is_free() {
    let shelf = Memory::of(1 << 30);
    let mail = interface(&shelf);
    assert_eq!(mail.lack().unwrap(), None);
    // Three quarters of all segments but three.
    let most = 21 * 64 * 1024 * 3 / 4;
    let (mut number, mut comfortable) = (0, 0);
    while mail.lack().unwrap().is_none() {
        comfortable = mail.filling().alive;
        put(&mail.log, CLIENT, number..number + 11, 1_400);
        number += 11;
    }
    assert!((most - most / 16 - 20_000..=most - most / 16).contains(&comfortable), "{comfortable} of {most}");
    assert!(matches!(mail.lack().unwrap(), Some(Lack::Mail { .. })));
    put(&mail.log, CLIENT, [number], 1_000);
}

#[test]
fn a_trial_fails_when_a_write_or_a_sync_does() {
    let shelf = Memory::of(1 << 30);
    let mail = interface(&shelf);
    for call in [1, 2] {
        mail.try_out(Duration::from_secs(1)).unwrap();
        shelf.plan(call, Fault::Fails(Errno::EIO));
        assert!(mail.try_out(Duration::from_secs(1)).is_err(), "call {call}");
    }
    mail.try_out(Duration::from_secs(1)).unwrap();
    put(&mail.log, CLIENT, [0], 1_000);
}

#[test]
fn what_is_no_message_is_kept_apart_up_to_a_number_of_files() {
    let shelf = Memory::of(1 << 30);
    let mail = interface(&shelf);
    for number in 0..1_025 {
        mail.keep_aside(if number % 2 == 0 { &CLIENT } else { &OTHER }, number, b"no message");
    }
    let aside = |client: ClientAddress| {
        let names = shelf.list().unwrap();
        names.iter().filter(|name| name.ends_with(".aside") && name.starts_with(&client.to_string())).count()
    };
    assert_eq!((aside(CLIENT), aside(OTHER)), (512, 512));
    mail.remove_set_aside_unless(|client| *client == CLIENT);
    assert_eq!((aside(CLIENT), aside(OTHER)), (512, 0));
}

#[test]
fn a_page_ends_at_its_limits_and_names_what_is_ackless() {
    let log = open(&Memory::of(1 << 30));
    let mut batch = MailBatch::default();
    for number in 0..10 {
        let ack = if number % 3 == 0 { Ack::NotOwed } else { Ack::Owed };
        batch.put(CLIENT, Sequence(number), vec![number as u8; 100].into(), ack);
    }
    log.commit(&batch, 7).unwrap();
    for (messages, bytes, shown) in
        [(4, 9_999, 4), (99, 250, 2), (99, 200, 2), (99, 299, 2), (99, 50, 1), (99, 9_999, 10)]
    {
        let page = log.peek(&CLIENT, EVERYTHING, PageLimit { messages, bytes });
        let end = if shown == 10 { u64::MAX } else { shown };
        assert_eq!(
            (page.messages.len() as u64, page.end),
            (shown, Sequence(end)),
            "{messages} messages, {bytes} bytes"
        );
        assert!(page.messages.iter().all(|(number, body)| **body == [number.0 as u8; 100]));
        assert!(page.ackless.iter().eq([0, 3, 6, 9].map(Sequence).iter().filter(|number| number.0 < shown)));
    }
    let oldest = |client, from| log.oldest_ackless(&client, (Sequence(from), Sequence(9)));
    assert_eq!(
        [(CLIENT, 0), (CLIENT, 1), (CLIENT, 7), (OTHER, 0)].map(|(client, from)| oldest(client, from)),
        [Some(Sequence(0)), Some(Sequence(3)), None, None]
    );
}

/// The first read is that of the page.
#[test]
fn a_body_is_looked_for_until_it_was_missed_twice_at_one_place() {
    let shelf = Memory::of(1 << 30);
    let log = open(&shelf);
    put(&log, CLIENT, [0], 1_000);
    let limit = PageLimit { messages: 9, bytes: 9_999 };
    let page = |reads: &[BadRead]| {
        shelf.plan_reads(reads);
        let page = log.peek(&CLIENT, EVERYTHING, limit);
        (page.messages.len(), page.unreadable)
    };
    for bad in [BadRead::Fails, BadRead::Other] {
        assert_eq!(page(&[bad]), (1, vec![]), "{bad:?}");
        assert_eq!(page(&[bad, bad]), (1, vec![]), "{bad:?}");
        assert_eq!(page(&[bad; 1_000]), (0, vec![(Sequence(0), 1_000)]), "{bad:?}");
    }
}

#[test]
fn a_message_that_is_removed_while_it_is_read_is_not_missing() {
    let shelf = Memory::of(1 << 30);
    let mail = interface(&shelf);
    put(&mail.log, CLIENT, [0, 1], 1_000);
    let log = Arc::clone(&mail.log);
    shelf.at_next_read(move || remove(&log, CLIENT, [0]));
    shelf.plan_reads(&[BadRead::Fails]);
    let page = mail.peek(&CLIENT, EVERYTHING, PageLimit { messages: 9, bytes: 9_999 });
    assert_eq!(page.messages.iter().map(|(number, _)| number.0).collect::<Vec<_>>(), [1]);
    assert_eq!(page.unreadable, []);
}

/// A body of 1,000 bytes takes 128 bytes more, and so does each inbox.
#[test]
fn what_is_alive_counts_with_its_entries_and_what_is_stuck() {
    let log = open(&Memory::of(1 << 30));
    put(&log, CLIENT, 0..3, 1_000);
    put(&log, OTHER, 0..2, 997);
    assert_eq!(log.index().occupied(), 5 * 1_128 + 2 * 128);
    remove(&log, CLIENT, [0]);
    assert_eq!(log.index().occupied(), 4 * 1_128 + 2 * 128);
    let slot = close_writer(&log);
    log.index_mut().segment_mut(slot).unwrap().state = State::Unreadable;
    assert_eq!(log.index().occupied(), 64 * 1024 + 2 * 128, "all of a segment that cannot be cleaned");
}

#[test]
fn what_is_at_the_place_of_a_message_is_its_body() {
    let log = open(&Memory::of(1 << 30));
    put(&log, CLIENT, 0..3, 1_000);
    assert_eq!(log.raw(&CLIENT, 2).unwrap(), [2; 1_000]);
    assert!(log.raw(&CLIENT, 3).is_err() && log.raw(&OTHER, 0).is_err());
}

#[test]
fn the_facts_about_what_is_gone_cover_it_and_no_more() {
    let log = open(&Memory::of(1 << 30));
    put(&log, CLIENT, 0..6, 1_000);
    remove(&log, CLIENT, [1, 2, 5]);
    let index = log.index();
    let gone = |first, end| Gone { inbox: CLIENT, first, end };
    assert_eq!(index.all_gone(&CLIENT), [gone(1, 3), gone(5, 6)].map(Fact::Gone));
    assert_eq!(index.widened(&gone(2, 3)), Some(gone(1, 3)));
    assert_eq!(index.widened(&gone(4, 5)), None, "nothing around it is gone");
}

/// A fact takes its entry, and its entry in the index.
#[test]
fn facts_that_cleaning_keeps_count_in_their_new_segment() {
    let log = open(&Memory::of(1 << 30));
    put(&log, CLIENT, 0..3, 1_000);
    put(&log, OTHER, 0..2, 1_000);
    close_writer(&log);
    remove(&log, CLIENT, 0..2);
    remove(&log, OTHER, 0..1);
    let with_facts = close_writer(&log);
    clean(&log, with_facts);
    assert_eq!(log.index().segments().map(|(_, segment)| segment.kept).sum::<u64>(), 2 * 128);
}

#[test]
fn files_grow_up_to_their_limit() {
    let settings = Settings { most: 2 * SETTINGS.segment, ..SETTINGS };
    let log = Log::open(Memory::of(1 << 30), settings, Arc::new(StoreCounters::default()), 1).unwrap();
    for grows in [true, true, false] {
        assert_eq!(log.may_grow().unwrap(), grows);
        log.writer.lock().unwrap().close();
        log.writer.lock().unwrap().try_out(&log, 7).unwrap_or(());
    }
}

/// Cleaning may still make room for a commit when the disk is full, and for nothing else.
#[test]
fn a_full_disk_is_the_only_error_that_a_commit_waits_out() {
    let shelf = Memory::of(1 << 30);
    let log = open(&shelf);
    let failed = |stream, errno| {
        shelf.plan(1, Fault::Fails(errno));
        log.spare(stream, false).unwrap_err()
    };
    let waited = failed(Stream::Commits, Errno::ENOSPC);
    assert!(waited.to_string().contains("there is no room for a new segment"), "{waited}");
    for (stream, errno) in
        [(Stream::Commits, Errno::EIO), (Stream::Copies, Errno::ENOSPC), (Stream::Copies, Errno::EIO)]
    {
        assert_eq!(failed(stream, errno).raw_os_error(), Some(errno as i32), "{stream:?}");
    }
}

#[test]
fn a_disk_that_fails_for_long_is_not_filled_with_segments() {
    let shelf = Memory::of(1 << 30);
    let mail = interface(&shelf);
    let mut failures = 0;
    for call in 1..=6 {
        shelf.plan(call, Fault::Fails(Errno::EIO));
        if mail.try_out(Duration::from_secs(1)).is_err() {
            failures += 1;
            assert_eq!(mail.log.index().segments().count(), 0, "call {call}");
        } else {
            break;
        }
    }
    assert!(failures > 2, "{failures}");
}

#[test]
fn what_was_committed_is_shown_of_each_inbox() {
    let mail = interface(&Memory::of(1 << 30));
    let mut batch = MailBatch::default();
    batch.put(CLIENT, Sequence(4), Bytes::from_static(b"four"), Ack::Owed);
    batch.put(CLIENT, Sequence(6), Bytes::from_static(b"six"), Ack::NotOwed);
    batch.put(OTHER, Sequence(0), Bytes::from_static(b"m"), Ack::Owed);
    mail.commit(&batch, Duration::from_millis(7)).unwrap();
    assert_eq!(mail.summary_of(&CLIENT), Summary { next: 7, messages: 1, bytes: 4, ackless: 1 });
    assert_eq!(mail.oldest_ackless(&CLIENT, EVERYTHING), Some(Sequence(6)));
    let page = mail.peek(&OTHER, EVERYTHING, PageLimit { messages: 9, bytes: 99 });
    assert_eq!(page.messages, [(Sequence(0), Bytes::from_static(b"m"))]);
    let owners = |client, most| mail.owners_after(client, most);
    assert_eq!(owners(None, 9), [CLIENT, OTHER]);
    assert_eq!((owners(None, 1), owners(Some(CLIENT), 9)), (vec![CLIENT], vec![OTHER]));
}
