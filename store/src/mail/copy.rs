//! Writes messages and facts once more, in the stream of copies: what cleaning keeps, and what a start finds in doubt.

use std::{
    collections::BTreeMap,
    io, iter,
    sync::{Arc, MutexGuard, PoisonError, atomic::Ordering},
};

use wire::address::ClientAddress;

use super::{
    Log,
    append::{Appender, Item},
    entry::{Fact, Gone, Put},
    failed,
    index::GONE_WEIGHT,
    message::weight,
    read::read_body,
    segment::Slot,
    shelf::Shelf,
    victim::needed,
};
use crate::mailbox::MailboxError;

impl<S: Shelf> Log<S> {
    pub(super) fn lock_copier(&self) -> MutexGuard<'_, Appender<S>> {
        self.copier.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Copies these messages, as far as they can be read, and tells the index.
    pub(super) fn copy(&self, copier: &mut Appender<S>, puts: &[(Slot, Put)], now: u64) -> io::Result<()> {
        let mut bodies = Vec::with_capacity(puts.len());
        for (slot, put) in puts {
            let file = self.index().segment(*slot).map(|segment| Arc::clone(&segment.file));
            let Some(file) = file else { continue };
            match read_body(file.as_ref(), put) {
                Ok(Some(body)) => bodies.push((*put, body)),
                Ok(None) => tracing::error!(id = "GWD-S037", inbox = %put.inbox, "a stored message is damaged"),
                Err(error) => tracing::error!(
                    id = "GWD-S038", %error, inbox = %put.inbox,
                    "a stored message cannot be read"
                ),
            }
        }
        let items: Vec<Item<'_>> = bodies.iter().map(|(put, body)| (Fact::Put(*put), body.as_slice())).collect();
        match copier.append(self, &items, now) {
            Ok(done) => {
                self.bury(&items, done.in_vain.iter().copied());
                self.are_full(done.full);
                let mut index = self.index_mut();
                for ((put, _), spot) in bodies.iter().zip(done.spots) {
                    index.copied(put, spot);
                }
                let bytes = bodies.iter().map(|(put, _)| weight(put.len)).sum();
                self.counters.mail_copied.fetch_add(bytes, Ordering::Relaxed);
                Ok(())
            }
            Err(failure) => {
                self.apply_failure(&items, &failure.done);
                self.are_full(failure.done.full);
                Err(failure.error)
            }
        }
    }

    /// Rewrites what a segment says is gone, where another file still holds a dead message of the same inbox. Each fact covers
    /// everything around it that is gone: so facts become fewer, and never more.
    pub(super) fn keep_gone(
        &self,
        gone: &[Gone],
        owners: &BTreeMap<ClientAddress, u32>,
        now: u64,
    ) -> Result<(), MailboxError> {
        let facts = needed(&self.index(), gone, owners);
        if facts.is_empty() {
            return Ok(());
        }
        let items: Vec<Item<'_>> = facts.iter().map(|fact| (Fact::Gone(*fact), &[][..])).collect();
        let done = self.lock_copier().append(self, &items, now);
        let (done, outcome) = match done {
            Ok(done) => (done, Ok(())),
            Err(failure) => (failure.done, Err(failed("copy what is gone")(failure.error))),
        };
        {
            let mut index = self.index_mut();
            for spot in &done.spots {
                if let Some(segment) = index.segment_mut(spot.slot) {
                    segment.kept += GONE_WEIGHT;
                }
            }
        }
        self.are_full(done.full);
        outcome
    }
}

/// Splits messages, in their order, into parts of at most `most` bytes; a larger message is a part by itself.
pub(super) fn pieces(puts: &[(Slot, Put)], most: u64) -> impl Iterator<Item = &[(Slot, Put)]> {
    let mut rest = puts;
    iter::from_fn(move || {
        let mut bytes = 0;
        let fitting = rest.iter().take_while(|(_, put)| {
            bytes += weight(put.len);
            bytes <= most
        });
        let (piece, behind) = rest.split_at_checked(fitting.count().max(1))?;
        rest = behind;
        Some(piece)
    })
}

/// What these messages take in a segment.
pub(super) fn bytes_of(puts: &[(Slot, Put)]) -> u64 {
    puts.iter().map(|(_, put)| weight(put.len)).sum()
}

#[cfg(test)]
mod tests {
    use ipc::ingress_store::Ack;

    use super::*;

    #[test]
    fn messages_are_copied_in_pieces_of_so_many_bytes() {
        let put = |len| {
            let inbox = ClientAddress([1; 32]);
            (Slot(0), Put { inbox, number: 0, arrival: 1, ack: Ack::Owed, len, checksum: 0, place: 1 })
        };
        // Each takes 128 bytes more: an entry beside it, and one in the index.
        let puts = [872, 872, 1_000, 9_000, 872].map(put);
        let lens: Vec<_> = pieces(&puts, 2_000).map(|piece| (piece.len(), bytes_of(piece))).collect();
        assert_eq!(lens, [(2, 2_000), (1, 1_128), (1, 9_128), (1, 1_000)]);
        assert_eq!(pieces(&[], 2_000).count(), 0);
    }
}
