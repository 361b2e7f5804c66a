//! Looks at inboxes: counts from memory, bodies from the files.

use std::{
    io,
    ops::Bound,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use ipc::ingress_store::Ack;
use session_ipc::Sequence;
use wire::address::ClientAddress;

use super::{
    Log, MailLog,
    entry::{MAX_BODY, Put},
    inbox::Holding,
    index::Index,
    segment::Slot,
    shelf::{SegmentFile, Shelf},
};
use crate::mailbox::{Filling, InboxSize, Lack, MailboxError, Measure, OldMail, Page, PageLimit, Position, Summary};

/// Inboxes looked at, and old messages found, at a time.
const SWEPT_INBOXES: usize = 4_096;
const SWEPT_MESSAGES: usize = 512;
/// Bytes read at once, and bytes between two bodies that are read with them.
const READ: u64 = 256 * 1024;
const GAP: u64 = 4 * 1024;
/// How long to wait before a read that failed is tried once more.
const SECOND_LOOK: Duration = Duration::from_secs(1);

impl<S: Shelf> MailLog<S> {
    /// What is known of an inbox.
    pub(crate) fn summary_of(&self, client: &ClientAddress) -> Summary {
        self.log.summary_of(client)
    }

    /// Messages of an inbox; see [`Mailbox::peek`](crate::mailbox::Mailbox::peek).
    pub(crate) fn peek(&self, client: &ClientAddress, range: (Sequence, Sequence), limit: PageLimit) -> Page {
        self.log.peek(client, range, limit)
    }

    /// The oldest message without a SURB-ack; see [`Mailbox::oldest_ackless`](crate::mailbox::Mailbox::oldest_ackless).
    pub(crate) fn oldest_ackless(&self, client: &ClientAddress, range: (Sequence, Sequence)) -> Option<Sequence> {
        self.log.oldest_ackless(client, range)
    }

    /// Old messages; see [`Mailbox::mail_before`](crate::mailbox::Mailbox::mail_before).
    pub(crate) fn mail_before(&self, time: u64, from: &Position) -> OldMail {
        self.log.mail_before(time, from)
    }

    /// What keeps new mail from being taken again, after mail was refused.
    ///
    /// # Errors
    /// If the file system does not say.
    pub(crate) fn lack(&self) -> Result<Option<Lack>, MailboxError> {
        self.log.lack_of_comfort().map_err(super::failed("ask for free space"))
    }

    /// What operators are shown of the mail.
    ///
    /// # Errors
    /// If the file system does not say how much is free.
    pub(crate) fn measure(&self, whole: InboxSize) -> Result<Measure, MailboxError> {
        self.log.measure(whole).map_err(super::failed("ask for free space"))
    }

    /// How full it is, by the capacity that there was when [`lack`](Self::lack) was last asked for.
    pub(crate) fn filling(&self) -> Filling {
        Filling { alive: self.log.index().occupied(), capacity: self.log.capacity.load(Ordering::Relaxed) }
    }

    /// Some inboxes behind this one, in order of address.
    pub(crate) fn owners_after(&self, client: Option<ClientAddress>, most: usize) -> Vec<ClientAddress> {
        let index = self.log.index();
        index.inboxes_from(behind(client)).map(|(client, _)| *client).take(most).collect()
    }
}

fn behind(client: Option<ClientAddress>) -> (Bound<ClientAddress>, Bound<ClientAddress>) {
    (client.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded)
}

/// A message to be read: its file, and where in it.
#[derive(Clone, Debug)]
struct Wanted<F> {
    put: Put,
    slot: Slot,
    file: Arc<F>,
}

impl<S: Shelf> Log<S> {
    pub(super) fn summary_of(&self, client: &ClientAddress) -> Summary {
        let index = self.index();
        match index.inbox(client) {
            Some(inbox) => {
                let Holding { next, messages, bytes, ackless } = inbox.holding();
                Summary { next, messages, bytes, ackless }
            }
            None => Summary { next: index.floor(), ..Summary::default() },
        }
    }

    pub(super) fn peek(&self, client: &ClientAddress, (from, to): (Sequence, Sequence), limit: PageLimit) -> Page {
        let mut page = Page { messages: Vec::new(), unreadable: Vec::new(), ackless: Vec::new(), end: to };
        let mut wanted = Vec::new();
        {
            let index = self.index();
            let Some(inbox) = index.inbox(client) else { return page };
            let mut bytes = 0;
            for (number, message) in inbox.range(from.0..to.0) {
                let len = message.len() as usize;
                if bytes > 0 && bytes + len > limit.bytes {
                    page.end = Sequence(number);
                    break;
                }
                bytes += len;
                if message.ack() == Ack::NotOwed {
                    page.ackless.push(Sequence(number));
                }
                wanted.push(self.wanted(&index, inbox.put(*client, number, message), message.spot().slot));
                if wanted.len() >= limit.messages || bytes >= limit.bytes {
                    page.end = Sequence(number + 1);
                    break;
                }
            }
        }
        let mut wanted = wanted.as_slice();
        while !wanted.is_empty() {
            let (run, rest) = wanted.split_at(run_of(wanted));
            wanted = rest;
            let bytes = read_run(run).unwrap_or_default();
            let start = run.first().and_then(Option::as_ref).map_or(0, |first| first.put.offset());
            for message in run.iter().flatten() {
                let body = usize::try_from(message.put.offset() - start)
                    .ok()
                    .and_then(|at| bytes.get(at..).and_then(|bytes| bytes.get(..message.put.len as usize)));
                let body = body.filter(|body| message.put.is_body(body)).map(|body| bytes.slice_ref(body));
                let number = Sequence(message.put.number);
                match body.or_else(|| self.look_again(client, message.put.number)) {
                    Some(body) => page.messages.push((number, body)),
                    // It was removed meanwhile, or cannot be read.
                    None if self.index().inbox(client).is_some_and(|inbox| inbox.get(number.0).is_some()) => {
                        page.unreadable.push((number, message.put.len as usize));
                    }
                    None => {}
                }
            }
        }
        page
    }

    fn wanted(&self, index: &Index<S::File>, put: Put, slot: Slot) -> Option<Wanted<S::File>> {
        Some(Wanted { put, slot, file: Arc::clone(&index.segment(slot)?.file) })
    }

    /// Where a message is now.
    fn find(&self, client: &ClientAddress, number: u64) -> Option<Wanted<S::File>> {
        let index = self.index();
        let inbox = index.inbox(client)?;
        let message = inbox.get(number)?;
        self.wanted(&index, inbox.put(*client, number, message), message.spot().slot)
    }

    /// Looks again for a body that was not where the index said: it may have been moved, or a read may have failed once.
    fn look_again(&self, client: &ClientAddress, number: u64) -> Option<Bytes> {
        let mut last = None;
        loop {
            let wanted = self.find(client, number)?;
            let place = (wanted.slot, wanted.put.place);
            // The body is missing only if it had the same place before and after the look.
            let is_last = last.replace(place) == Some(place);
            match read_body(wanted.file.as_ref(), &wanted.put) {
                Ok(Some(body)) => return Some(body.into()),
                Ok(None) if is_last => return None,
                Ok(None) => {}
                Err(error) if is_last => {
                    tracing::error!(
                        id = "GWD-S043", %error, segment = wanted.slot.0,
                        "a segment of mail cannot be read"
                    );
                    return None;
                }
                Err(_) => std::thread::sleep(SECOND_LOOK),
            }
        }
    }

    /// What is where a message should be.
    pub(super) fn raw(&self, client: &ClientAddress, number: u64) -> io::Result<Vec<u8>> {
        let wanted = self.find(client, number).ok_or(io::ErrorKind::NotFound)?;
        let mut body = vec![0; wanted.put.len as usize];
        wanted.file.read_at(&mut body, wanted.put.offset())?;
        Ok(body)
    }

    pub(super) fn oldest_ackless(&self, client: &ClientAddress, (from, to): (Sequence, Sequence)) -> Option<Sequence> {
        let index = self.index();
        let mut messages = index.inbox(client)?.range(from.0..to.0);
        messages.find(|(_, message)| message.ack() == Ack::NotOwed).map(|(number, _)| Sequence(number))
    }

    /// Goes through the inboxes a part at a time, so that commits never wait long for the index.
    fn measure(&self, whole: InboxSize) -> io::Result<Measure> {
        let mut measure = Measure { data: self.files(), free: self.shelf.free()?, ..Measure::default() };
        let mut last = None;
        loop {
            let index = self.index();
            let mut looked = 0;
            for (client, inbox) in index.inboxes_from(behind(last)).take(SWEPT_INBOXES) {
                let Holding { messages, bytes, ackless, .. } = inbox.holding();
                measure.messages += messages + ackless;
                measure.bytes += bytes;
                measure.full += u64::from(messages >= whole.messages || bytes >= whole.bytes);
                let oldest = inbox.messages().next().map(|(_, message)| message.arrival());
                measure.oldest = measure.oldest.into_iter().chain(oldest).min();
                last = Some(*client);
                looked += 1;
            }
            if looked < SWEPT_INBOXES {
                return Ok(measure);
            }
        }
    }

    pub(super) fn mail_before(&self, time: u64, from: &Position) -> OldMail {
        let mut found = OldMail { messages: Vec::new(), next: None };
        let index = self.index();
        let mut looked = 0;
        for (client, inbox) in index.inboxes_from(behind(from.last())) {
            let old = inbox.messages().take_while(|(_, message)| message.arrival() < time);
            found.messages.extend(
                old.map(|(number, message)| (*client, Sequence(number), message.len() as usize, message.ack())),
            );
            looked += 1;
            if looked >= SWEPT_INBOXES || found.messages.len() >= SWEPT_MESSAGES {
                found.next = Some(Position::behind(*client));
                break;
            }
        }
        found
    }
}

/// How many of these lie one behind the other in one file, so that they are read at once; at least one.
fn run_of<F>(wanted: &[Option<Wanted<F>>]) -> usize {
    let Some(Some(first)) = wanted.first() else { return 1 };
    let start = first.put.offset();
    let mut end = start + first.put.room();
    let mut count = 1;
    for next in wanted.iter().skip(1) {
        let Some(next) = next else { break };
        let at = next.put.offset();
        let next_end = at + next.put.room();
        if next.slot != first.slot || at < end || at > end + GAP || next_end > start + READ {
            break;
        }
        end = next_end;
        count += 1;
    }
    count
}

fn read_run<F: SegmentFile>(run: &[Option<Wanted<F>>]) -> io::Result<Bytes> {
    let (Some(Some(first)), Some(Some(last))) = (run.first(), run.last()) else { return Ok(Bytes::new()) };
    let len = last.put.offset() + u64::from(last.put.len) - first.put.offset();
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(MAX_BODY)];
    first.file.read_at(&mut bytes, first.put.offset())?;
    Ok(bytes.into())
}

/// The body of a message; nothing if what is there is another.
pub(super) fn read_body(file: &impl SegmentFile, put: &Put) -> io::Result<Option<Vec<u8>>> {
    let mut body = vec![0; put.len as usize];
    file.read_at(&mut body, put.offset())?;
    Ok(put.is_body(&body).then_some(body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::shelf::memory::Memory;

    /// A body at this byte of a segment.
    fn body(slot: u16, offset: u64, len: u32) -> Option<Wanted<()>> {
        let place = u32::try_from(offset / 8).unwrap();
        let inbox = ClientAddress([1; 32]);
        let put = Put { inbox, number: 0, arrival: 1, ack: Ack::Owed, len, checksum: 0, place };
        Some(Wanted { put, slot: Slot(slot), file: Arc::new(()) })
    }

    #[test]
    fn a_run_is_read_from_its_first_body_to_the_end_of_its_last() {
        let shelf = Memory::of(1 << 20);
        let file = Arc::new(shelf.make("segment", 16_384).unwrap());
        let bytes: Vec<u8> = (0..16_384_u32).map(|n| (n % 251) as u8).collect();
        file.write_at(&bytes, 0).unwrap();
        let wanted = |offset, len| {
            body(0, offset, len).map(|Wanted { put, slot, .. }| Wanted { put, slot, file: Arc::clone(&file) })
        };
        let read = read_run(&[wanted(8_192, 100), wanted(9_192, 33)]).unwrap();
        assert_eq!(read, bytes[8_192..9_225]);
        assert_eq!(read_run(&[wanted(8_192, 7)]).unwrap(), bytes[8_192..8_199]);
    }

    #[test]
    fn bodies_of_one_segment_that_are_neighbours_are_read_at_once() {
        let first = || body(0, 8_192, 1_000);
        for (next, expected) in [
            (body(0, 9_192, 1_000), 2),
            (body(0, 9_192 + 4_096, 1_000), 2),
            (body(0, 9_192 + 4_104, 1_000), 1),
            (body(0, 9_184, 1_000), 1),
            (body(0, 0, 1_000), 1),
            (body(1, 9_192, 1_000), 1),
            (body(0, 9_192, 256 * 1_024 - 1_000), 2),
            (body(0, 9_192, 256 * 1_024 - 992), 1),
            (None, 1),
        ] {
            assert_eq!(run_of(&[first(), next.clone(), first()]), expected, "{next:?}");
        }
        // A gap is measured from the body before it.
        assert_eq!(run_of(&[first(), body(0, 13_288, 1_000), body(0, 18_384, 8), None]), 3);
        assert_eq!(run_of(&[None, first()]), 1);
    }
}
