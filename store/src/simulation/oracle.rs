//! What must be true, whatever happens: a model of the inboxes that knows only what the store said and was told.
//!
//! Each time that `mix-ingress` delivers a packet is an *arrival* with a number of its own, which its body carries. What became of
//! it is its [`ArrivalState`]. The numbers are those of the promises in SPECIFICATION.md.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use ipc::ingress_store::Ack;
use session_ipc::Sequence;
use wire::address::ClientAddress;

use super::storage::Storage;

/// A promise that is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    /// In few words: what is the same of the same mistake.
    pub(super) rule: &'static str,
    /// What was seen.
    pub(super) seen: String,
}

/// Ends a step if a rule does not hold.
macro_rules! hold {
    ($rule:expr, $holds:expr, $($seen:tt)*) => {
        if !$holds {
            return Err($crate::simulation::oracle::Violation { rule: $rule, seen: format!($($seen)*) });
        }
    };
}
pub(super) use hold;

type Checked = Result<(), Violation>;

/// What became of an arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ArrivalState {
    /// The store has it, and has not answered.
    Pending,
    /// The store has it, and the `mix-ingress` that it would answer is gone.
    Orphaned,
    /// It is on the medium, and its client has not proved that it got it: it must come.
    Owed,
    /// It may come or not.
    Perhaps,
    /// It was refused: it comes no more before the store restarts, and then it may.
    Refused,
    /// Its client has proved that it got it: as with what was refused.
    Proved,
    /// Its removal is on the medium, or it was never there: it never comes.
    Gone,
}

/// An arrival.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    pub(super) client: usize,
    pub(super) len: usize,
    /// It came without an acknowledgement, and gives way to a newer such.
    is_ackless: bool,
    pub(super) state: ArrivalState,
    /// When it came, by a clock that is right.
    at: Duration,
    /// Where it was written to, perhaps.
    place: Option<Sequence>,
    /// It is on the medium.
    is_durable: bool,
    /// The `mix-ingress` that delivered it is gone.
    is_orphan: bool,
}

/// The model.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    pub(super) arrivals: Vec<Arrival>,
    /// Of each client, the arrivals that are not gone.
    inboxes: BTreeMap<usize, BTreeMap<usize, ()>>,
    /// The arrival that was last written to each place.
    places: BTreeMap<(usize, Sequence), usize>,
    /// Deliveries without an answer.
    awaiting: BTreeMap<u64, usize>,
    /// What came before this may be removed for its age.
    pub(super) too_old: Duration,
}

/// The body of an arrival.
pub(super) fn body(arrival: usize, len: usize) -> Bytes {
    let mut body = vec![arrival as u8 ^ 0x5a; len];
    body[..8].copy_from_slice(&(arrival as u64).to_be_bytes());
    body.into()
}

/// The address of a client.
pub(super) fn address(client: usize) -> ClientAddress {
    ClientAddress([client as u8 + 1; 32])
}

/// The client of an address.
pub(super) fn client_of(address: &ClientAddress) -> usize {
    usize::from(address.0[0]) - 1
}

impl Oracle {
    /// A packet is delivered. Returns its body.
    pub(super) fn delivered(&mut self, delivery: u64, client: usize, (len, ack): (usize, Ack), at: Duration) -> Bytes {
        let number = self.arrivals.len();
        let arrival = Arrival {
            client,
            len,
            is_ackless: ack == Ack::NotOwed,
            state: ArrivalState::Pending,
            at,
            place: None,
            is_durable: false,
            is_orphan: false,
        };
        self.arrivals.push(arrival);
        self.inboxes.entry(client).or_default().insert(number, ());
        self.awaiting.insert(delivery, number);
        body(number, len)
    }

    /// Which arrival a body is.
    fn read(&self, message: &[u8]) -> Result<usize, Violation> {
        let number = message.first_chunk().map_or(usize::MAX, |number| u64::from_be_bytes(*number) as usize);
        let is_one = self.arrivals.get(number).is_some_and(|arrival| body(number, arrival.len) == message);
        hold!("messages arrive as they were sent (4)", is_one, "{} bytes that nobody sent", message.len());
        Ok(number)
    }

    fn set(&mut self, number: usize, state: ArrivalState) {
        let arrival = &mut self.arrivals[number];
        arrival.state = state;
        if state == ArrivalState::Gone
            && let Some(inbox) = self.inboxes.get_mut(&arrival.client)
        {
            inbox.remove(&number);
        }
    }

    /// Those of a client with such a state.
    fn with(&self, client: usize, is_one: impl Fn(ArrivalState) -> bool) -> Vec<usize> {
        let all = self.inboxes.get(&client).into_iter().flat_map(BTreeMap::keys);
        all.copied().filter(|number| is_one(self.arrivals[*number].state)).collect()
    }

    /// Messages of a client that the store has, or has accepted, and that are not too old.
    pub(super) fn held(&self, client: usize) -> Vec<usize> {
        let mut all = self.with(client, |state| matches!(state, ArrivalState::Pending | ArrivalState::Owed));
        all.retain(|number| self.arrivals[*number].at > self.too_old && !self.may_give_way(*number));
        all
    }

    /// Messages that count in an inbox: those that came with an acknowledgement.
    pub(super) fn load(&self, client: usize) -> usize {
        self.held(client).into_iter().filter(|number| !self.arrivals[*number].is_ackless).count()
    }

    /// Whether a newer message without an acknowledgement came for the client, to which this one may give way.
    pub(super) fn may_give_way(&self, number: usize) -> bool {
        let Arrival { client, is_ackless, .. } = self.arrivals[number];
        let is_newer = |other: &Arrival| other.client == client && other.is_ackless;
        is_ackless && self.arrivals[number + 1..].iter().any(is_newer)
    }

    /// Messages that a client's inbox may hold at the most, and their bytes.
    pub(super) fn most_load(&self, client: usize) -> (usize, usize) {
        let all = self.with(client, |_| true);
        (all.len(), all.iter().map(|number| self.arrivals[*number].len).sum())
    }

    /// Messages of a client that must come.
    pub(super) fn owed(&self, client: usize) -> Vec<usize> {
        let mut held = self.held(client);
        held.retain(|number| self.arrivals[*number].state == ArrivalState::Owed);
        held
    }

    /// Deliveries without an answer, and their arrivals.
    pub(super) const fn awaiting(&self) -> &BTreeMap<u64, usize> {
        &self.awaiting
    }

    fn answered(&mut self, delivery: u64) -> Result<usize, Violation> {
        let arrival = self.awaiting.remove(&delivery);
        hold!("each delivery is answered once (7)", arrival.is_some(), "delivery {delivery} is answered again");
        Ok(arrival.unwrap_or_default())
    }

    /// A delivery is accepted.
    pub(super) fn accepted(&mut self, delivery: u64, storage: &Storage) -> Result<usize, Violation> {
        let number = self.answered(delivery)?;
        let arrival = &self.arrivals[number];
        match arrival.state {
            ArrivalState::Proved | ArrivalState::Gone => {}
            state => {
                let is_there = arrival.place.is_some_and(|place| storage.mail.holds(&address(arrival.client), place));
                hold!(
                    "accepted is on the medium or received (1)",
                    state == ArrivalState::Owed && arrival.is_durable && is_there,
                    "{number} is accepted and {state:?}; in the index: {is_there}"
                );
            }
        }
        Ok(number)
    }

    /// A delivery is refused. Returns its arrival.
    pub(super) fn refused(&mut self, delivery: u64) -> Result<usize, Violation> {
        let number = self.answered(delivery)?;
        let state = self.arrivals[number].state;
        hold!("what was received is not refused (7)", state != ArrivalState::Proved, "{number} was received");
        if state != ArrivalState::Gone {
            self.set(number, ArrivalState::Refused);
        }
        Ok(number)
    }

    /// A message is pushed to a session of `client` to which `last` was pushed last. Returns its arrival.
    pub(super) fn pushed(&self, client: usize, last: Option<usize>, message: &[u8]) -> Result<usize, Violation> {
        let number = self.read(message)?;
        let arrival = &self.arrivals[number];
        hold!("nobody gets what is another's (16)", arrival.client == client, "{number} is pushed to {client}");
        match arrival.state {
            ArrivalState::Pending | ArrivalState::Orphaned | ArrivalState::Owed | ArrivalState::Perhaps => {}
            ArrivalState::Gone => hold!("what is gone does not come back (12, 20)", false, "{number} is back"),
            ArrivalState::Proved => {
                hold!("what was received does not come again (3, 6)", false, "{number} comes again")
            }
            ArrivalState::Refused => hold!("what was refused is not pushed (7)", false, "{number} was refused"),
        }
        hold!("inboxes are in order (5)", last.is_none_or(|last| last < number), "{number} comes after {last:?}");
        let skipped =
            self.held(client).into_iter().find(|other| last.is_none_or(|last| last < *other) && *other < number);
        hold!("no gap, and the oldest first (5, 6)", skipped.is_none(), "{skipped:?} is left out before {number}");
        Ok(number)
    }

    /// The client has proved that it got a message.
    pub(super) fn proved(&mut self, number: usize) {
        let was_written = self.arrivals[number].place.is_some();
        let state = self.arrivals[number].state;
        if state != ArrivalState::Refused {
            self.set(number, if was_written { ArrivalState::Proved } else { ArrivalState::Gone });
        }
    }

    /// A message is written to a place of an inbox, and may be there from now on.
    pub(super) fn written(&mut self, client: &ClientAddress, place: Sequence, message: &[u8]) -> Checked {
        let number = self.read(message)?;
        let client = client_of(client);
        hold!("nobody gets what is another's (16)", self.arrivals[number].client == client, "{number} in {client}'s");
        if let Some(other) = self.places.insert((client, place), number)
            && other != number
        {
            let Arrival { state, is_durable, .. } = self.arrivals[other];
            let is_there = state == ArrivalState::Owed || state == ArrivalState::Proved && is_durable;
            hold!("no place is used twice (12)", !is_there, "{number} is written over {other}, which is {state:?}");
        }
        self.arrivals[number].place = Some(place);
        Ok(())
    }

    /// The message at this place is on the medium.
    pub(super) fn is_durable(&mut self, client: &ClientAddress, place: Sequence) -> Checked {
        let client = client_of(client);
        let Some(number) = self.places.get(&(client, place)).copied() else { return Ok(()) };
        let behind = self.with(client, |state| state == ArrivalState::Pending);
        let behind = behind.into_iter().find(|other| *other < number && !self.may_give_way(*other));
        hold!("what came before is on the medium, too (5)", behind.is_none(), "{number} is, and {behind:?} is not");
        self.arrivals[number].is_durable = true;
        if matches!(self.arrivals[number].state, ArrivalState::Pending | ArrivalState::Orphaned) {
            self.set(number, ArrivalState::Owed);
        }
        Ok(())
    }

    /// Nothing of what came before this time is in memory alone.
    pub(super) fn is_written_since(&self, time: Duration) -> Checked {
        let late = self
            .awaiting
            .values()
            .find(|number| self.arrivals[**number].state == ArrivalState::Pending && self.arrivals[**number].at < time);
        hold!("unproved mail is written in time (2)", late.is_none(), "{late:?} is not");
        Ok(())
    }

    /// Nothing that came before this time is kept for a client.
    pub(super) fn is_swept(&self, client: usize, time: Duration) -> Checked {
        let kept = self.with(client, |state| state == ArrivalState::Owed);
        let kept = kept.into_iter().find(|number| self.arrivals[*number].at < time);
        hold!("what is too old is removed (28)", kept.is_none(), "{kept:?} is kept");
        Ok(())
    }

    /// The removal of the message at this place is on the medium, for its age or not.
    pub(super) fn removed(&mut self, client: &ClientAddress, place: Sequence, for_its_age: bool) -> Checked {
        let Some(number) = self.places.get(&(client_of(client), place)).copied() else { return Ok(()) };
        let Arrival { state, at, .. } = self.arrivals[number];
        if for_its_age {
            hold!("nothing goes before its time (28)", at <= self.too_old, "{number} is of {at:?}");
        } else {
            let is_waited_for = matches!(state, ArrivalState::Owed | ArrivalState::Pending);
            let may_go = !is_waited_for || self.may_give_way(number);
            hold!("only what was received is removed (3)", may_go, "{number} is removed and {state:?}");
        }
        self.set(number, ArrivalState::Gone);
        Ok(())
    }

    /// The client wants to be forgotten: what the store has of it in memory is let go of.
    pub(super) fn abandoned(&mut self, client: usize) {
        for number in self.with(client, |_| true) {
            match self.arrivals[number].state {
                ArrivalState::Pending | ArrivalState::Orphaned => self.set(number, ArrivalState::Refused),
                // It may have been on its way to the medium still.
                ArrivalState::Owed if self.arrivals[number].is_orphan => self.set(number, ArrivalState::Perhaps),
                _ => {}
            }
        }
    }

    /// The client is not in the ledger any more. Whether the store knows it: then nothing of what was there comes back.
    pub(super) fn forgotten(&mut self, client: usize, is_known: bool) {
        for number in self.with(client, |state| matches!(state, ArrivalState::Owed | ArrivalState::Orphaned)) {
            self.set(number, if is_known { ArrivalState::Refused } else { ArrivalState::Perhaps });
        }
    }

    /// Nothing is left of an inbox on the medium.
    pub(super) fn erased(&mut self, client: usize) {
        for number in self.with(client, |state| state != ArrivalState::Pending) {
            self.set(number, ArrivalState::Gone);
        }
    }

    /// `mix-ingress` is gone.
    pub(super) fn ingress_died(&mut self) {
        for number in std::mem::take(&mut self.awaiting).into_values() {
            self.arrivals[number].is_orphan = true;
            if self.arrivals[number].state == ArrivalState::Pending {
                self.set(number, ArrivalState::Orphaned);
            }
        }
    }

    /// The store is gone: what it had in memory may be on the medium or not.
    pub(super) fn store_died(&mut self) {
        self.awaiting.clear();
        for inbox in self.inboxes.values() {
            for number in inbox.keys() {
                let arrival = &mut self.arrivals[*number];
                if arrival.state != ArrivalState::Owed {
                    arrival.state = ArrivalState::Perhaps;
                }
            }
        }
    }

    /// The store has opened its files: what must be there is, what must not be is not, all is in order, and what is there stays.
    pub(super) fn opened(&mut self, storage: &Storage) -> Checked {
        for client in 0..super::event::CLIENTS {
            let page = storage.all_of(&address(client));
            hold!("messages can be read (14)", page.unreadable.is_empty(), "{:?} cannot", page.unreadable);
            let mut found = BTreeMap::new();
            let mut last = None;
            for (place, message) in &page.messages {
                let number = self.read(message)?;
                let arrival = &self.arrivals[number];
                hold!("nobody gets what is another's (16)", arrival.client == client, "{number} in {client}'s inbox");
                let is_gone = arrival.state == ArrivalState::Gone;
                hold!("what is gone does not come back (12, 20)", !is_gone, "{number} is back at {place:?}");
                hold!("inboxes are in order (5)", last < Some(number), "{number} is stored after {last:?}");
                last = Some(number);
                found.insert(number, *place);
            }
            let is_client = storage.is_registered(&address(client));
            hold!("who is forgotten leaves nothing (20)", is_client || found.is_empty(), "{client} has {found:?}");
            for number in self.with(client, |_| true) {
                let Arrival { state, at, .. } = self.arrivals[number];
                let is_owed =
                    is_client && state == ArrivalState::Owed && at > self.too_old && !self.may_give_way(number);
                hold!(
                    "what was committed is there after any end (9, 11)",
                    !is_owed || found.contains_key(&number),
                    "{number} of client {client} is lost"
                );
                if let Some(place) = found.get(&number) {
                    self.set(number, ArrivalState::Owed);
                    let arrival = &mut self.arrivals[number];
                    (arrival.place, arrival.is_durable) = (Some(*place), true);
                    self.places.insert((client, *place), number);
                } else {
                    self.set(number, ArrivalState::Gone);
                }
            }
        }
        Ok(())
    }
}
