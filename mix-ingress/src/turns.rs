//! Turns at reading and unwrapping. A limited number of reads is under way at a time, and this module decides which connection is next.
//!
//! *Trusts* the record of a connection: whether its packets that were judged last unwrapped. *Holds* the connections that wait.
//! *Promises*: connections whose packets unwrap come first, however many others there are. A part of the turns, and every turn for
//! which no better connection waits, goes to the others, so that they can prove themselves or be found out. Among equals, turns go
//! around the widest networks, within those around the narrower ones, and so on, so that many connections of one network delay
//! nobody outside that network.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
};

use tokio::sync::oneshot;
use worker::peer::{AddressPrefix, Network};

/// One turn in so many goes to a connection of which nothing is known, if one waits.
const UNKNOWN_EVERY: u64 = 4;

/// One turn in so many goes to a connection whose packets do not unwrap, if one waits.
const FAILING_EVERY: u64 = 16;

/// Whether a connection's packets that were judged last unwrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// Half of them or more unwrapped.
    Unwraps,
    /// None have been judged.
    Unknown,
    /// Most did not unwrap.
    Fails,
}

/// The record of one connection, written where its packets are judged and read before more packets are taken.
#[derive(Debug, Default)]
pub(crate) struct SharedRecord(AtomicU8);

impl SharedRecord {
    const UNWRAPS: u8 = 1;
    const FAILS: u8 = 2;

    pub(crate) fn get(&self) -> Record {
        match self.0.load(Relaxed) {
            Self::UNWRAPS => Record::Unwraps,
            Self::FAILS => Record::Fails,
            _ => Record::Unknown,
        }
    }

    pub(crate) fn set(&self, record: Record) {
        let code = match record {
            Record::Unwraps => Self::UNWRAPS,
            Record::Fails => Self::FAILS,
            Record::Unknown => 0,
        };
        self.0.store(code, Relaxed);
    }
}

/// The turns of all connections. Locked twice for each read.
#[derive(Clone, Debug)]
pub(crate) struct Turns {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    free: usize,
    given: u64,
    unwraps: Ring,
    unknown: Ring,
    fails: Ring,
}

/// The connections of one network that wait: narrower networks in the order of their turns, or, in the narrowest, the connections.
#[derive(Debug, Default)]
struct Ring {
    order: VecDeque<Network>,
    networks: HashMap<Network, Ring>,
    waiting: VecDeque<oneshot::Sender<Turn>>,
}

/// Permission to have the packets of one read under way. Dropping it gives the turn to the next connection.
#[derive(Debug)]
pub(crate) struct Turn {
    /// None if nobody received the turn.
    turns: Option<Turns>,
}

impl Turns {
    /// Gives `most` turns at a time.
    pub(crate) fn new(most: usize) -> Self {
        let state =
            State { free: most, given: 0, unwraps: Ring::default(), unknown: Ring::default(), fails: Ring::default() };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Waits for a turn. `None` if the turns are gone. A wait that is dropped uses up no turn.
    pub(crate) async fn take(&self, prefix: AddressPrefix, record: Record) -> Option<Turn> {
        let granted = {
            let mut state = self.state();
            if state.free > 0 {
                state.free -= 1;
                state.given += 1;
                return Some(Turn { turns: Some(self.clone()) });
            }
            let (grant, granted) = oneshot::channel();
            state.ring(record).push(prefix.networks(), grant);
            granted
        };
        granted.await.ok()
    }

    /// Gives a returned turn to the next connection that still waits.
    fn pass_on(&self) {
        loop {
            let next = {
                let mut state = self.state();
                let Some(next) = state.next() else {
                    state.free += 1;
                    return;
                };
                next
            };
            match next.send(Turn { turns: Some(self.clone()) }) {
                Ok(()) => return,
                // Nobody waits there any more.
                Err(mut turn) => drop(turn.turns.take()),
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is whole at any moment, so a panic elsewhere does not matter.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = self.turns.take() {
            turns.pass_on();
        }
    }
}

impl State {
    const fn ring(&mut self, record: Record) -> &mut Ring {
        match record {
            Record::Unwraps => &mut self.unwraps,
            Record::Unknown => &mut self.unknown,
            Record::Fails => &mut self.fails,
        }
    }

    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        use Record::{Fails, Unknown, Unwraps};
        let order = if self.given % FAILING_EVERY == FAILING_EVERY - 1 {
            [Fails, Unwraps, Unknown]
        } else if self.given % UNKNOWN_EVERY == UNKNOWN_EVERY - 2 {
            [Unknown, Unwraps, Fails]
        } else {
            [Unwraps, Unknown, Fails]
        };
        self.given += 1;
        order.into_iter().find_map(|record| self.ring(record).pop())
    }
}

impl Ring {
    fn push(&mut self, mut inward: impl Iterator<Item = Network>, grant: oneshot::Sender<Turn>) {
        let Some(network) = inward.next() else {
            self.waiting.push_back(grant);
            return;
        };
        let ring = self.networks.entry(network).or_insert_with(|| {
            self.order.push_back(network);
            Self::default()
        });
        // `dyn`, because the type of the iterator would grow with each step inward.
        ring.push(&mut inward as &mut dyn Iterator<Item = Network>, grant);
    }

    fn pop(&mut self) -> Option<oneshot::Sender<Turn>> {
        let Some(network) = self.order.pop_front() else { return self.waiting.pop_front() };
        let ring = self.networks.get_mut(&network)?;
        let next = ring.pop();
        if ring.is_empty() {
            self.networks.remove(&network);
        } else {
            self.order.push_back(network);
        }
        next
    }

    fn is_empty(&self) -> bool {
        self.order.is_empty() && self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::{Pin, pin},
        task::{Context, Poll, Waker},
    };

    use super::*;

    type Waiting<'a> = Pin<Box<dyn Future<Output = Option<Turn>> + 'a>>;

    fn poll(waiting: &mut (impl Future<Output = Option<Turn>> + Unpin)) -> Option<Turn> {
        match pin!(waiting).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(turn) => turn,
            Poll::Pending => None,
        }
    }

    fn wait(turns: &Turns, from: [u8; 4], record: Record) -> Waiting<'_> {
        let mut waiting: Waiting<'_> = Box::pin(turns.take(AddressPrefix::V4(from.into()), record));
        assert!(poll(&mut waiting).is_none());
        waiting
    }

    fn at_once(turns: &Turns) -> Turn {
        poll(&mut Box::pin(turns.take(AddressPrefix::V4([9; 4].into()), Record::Unknown))).unwrap()
    }

    /// The order in which the waiting have their turns, one at a time.
    fn order<'a>(first: Turn, waiting: impl IntoIterator<Item = Waiting<'a>>) -> Vec<usize> {
        let mut waiting: Vec<_> = waiting.into_iter().enumerate().collect();
        let mut order = Vec::new();
        let mut turn = first;
        while !waiting.is_empty() {
            drop(turn);
            let (position, next) = waiting
                .iter_mut()
                .enumerate()
                .find_map(|(position, (_, waiting))| Some((position, poll(waiting)?)))
                .expect("somebody has the turn");
            order.push(waiting.remove(position).0);
            turn = next;
        }
        order
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let record = SharedRecord::default();
        assert_eq!(record.get(), Record::Unknown);
        for written in [Record::Unwraps, Record::Fails, Record::Unknown] {
            record.set(written);
            assert_eq!(record.get(), written);
        }
    }

    #[test]
    fn packets_that_unwrap_do_not_wait_for_garbage() {
        let turns = Turns::new(1);
        let first = at_once(&turns);
        let floods = (0..200).map(|number| wait(&turns, [127, 0, number, 2], Record::Fails));
        let floods: Vec<_> = floods.collect();
        let honest = [wait(&turns, [10, 0, 0, 1], Record::Unwraps)];
        let order = order(first, floods.into_iter().chain(honest));
        assert_eq!(order[0], 200);
    }

    #[test]
    fn turns_go_around_networks_whoever_has_most() {
        let turns = Turns::new(1);
        let first = at_once(&turns);
        let from = [[192, 0, 2, 1], [192, 0, 2, 1], [192, 0, 2, 1], [192, 0, 2, 2], [10, 0, 0, 1], [10, 0, 0, 1]];
        let waiting: Vec<_> = from.into_iter().map(|from| wait(&turns, from, Record::Unwraps)).collect();
        assert_eq!(order(first, waiting), [0, 4, 3, 5, 1, 2]);
    }

    #[test]
    fn those_who_fail_and_those_unknown_have_a_part_of_the_turns() {
        let turns = Turns::new(1);
        let first = at_once(&turns);
        let waiting = |record| {
            let turns = &turns;
            (0..32).map(move |_| wait(turns, [10, 0, 0, 1], record))
        };
        let all: Vec<_> =
            waiting(Record::Unwraps).chain(waiting(Record::Unknown)).chain(waiting(Record::Fails)).collect();
        let order = order(first, all);
        // To those whose packets unwrap, to unknown ones, and to those that fail. The first turn of all was taken at once.
        let given: String = order[..32].iter().map(|number| ['u', '?', 'f'][number / 32]).collect();
        assert_eq!(given, "u?uuu?uuu?uuu?fu".repeat(2));
    }

    #[test]
    fn a_turn_whose_taker_has_left_goes_to_the_next() {
        let turns = Turns::new(1);
        let first = at_once(&turns);
        let [left, mut granted, mut last] = [1, 2, 3].map(|number| wait(&turns, [10, 0, number, 1], Record::Unwraps));
        drop(left);
        drop(first);
        let turn = poll(&mut granted).unwrap();
        drop(turn);
        // A turn that was granted and not taken goes on as well.
        let another = wait(&turns, [10, 0, 0, 9], Record::Unwraps);
        drop(poll(&mut last).unwrap());
        drop(another);
        at_once(&turns);
        assert_eq!(turns.state().free, 1);
    }

    #[test]
    fn nothing_is_kept_of_who_has_had_its_turn() {
        let turns = Turns::new(1);
        let first = at_once(&turns);
        let waiting: Vec<_> = (0..9).map(|number| wait(&turns, [10, 0, number, 1], Record::Fails)).collect();
        order(first, waiting);
        let state = turns.state();
        assert!(state.fails.is_empty() && state.fails.networks.is_empty());
    }
}
