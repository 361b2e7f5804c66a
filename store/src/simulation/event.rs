//! What may happen, and what of it happens in a history.
//!
//! An event names clients, connections and jobs by numbers that are taken modulo what is there. So each means something wherever it
//! stands, and a history goes on making sense when events are left out of it.

use std::time::Duration;

use ipc::{control::StoreConfig, credit::Window};
use nix::errno::Errno;
use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::mail::{
    Settings,
    shelf::memory::{End, Fault},
};

/// Clients that there may be.
pub(super) const CLIENTS: usize = 6;
/// Events of a history.
const EVENTS: usize = 300;
/// A day.
pub(super) const DAY: Duration = Duration::from_secs(86_400);

/// Something that happens.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    /// `mix-ingress` delivers a message of so many bytes, for which it owes an acknowledgement or, if it is short, may not.
    Deliver { client: u8, len: u16, is_ack_owed: bool },
    /// `mix-ingress` reads what it was answered.
    IngressReads,
    /// `mix-ingress` dies, and its successor is there.
    IngressDies,
    /// A connection claims to be this client.
    Connect { client: u8, by: Claim },
    /// A client answers the gateway's handshake message.
    Finish { connection: u8, signs: bool },
    /// `client-edge` reads what it was told, and so many pushed messages.
    EdgeReads { messages: u8 },
    /// A client proves what was pushed to it, but for the last so many.
    Confirm { connection: u8, but: u8 },
    /// `client-edge` answers a probe.
    AnswerProbe { connection: u8, alive: bool },
    /// A client wants to be forgotten.
    Forget { connection: u8 },
    /// A connection ends.
    Close { connection: u8 },
    /// `client-edge` dies.
    EdgeDies,
    /// Its successor is there.
    EdgeComesUp,
    /// A job is done, and the core does not know yet.
    Work { job: u8 },
    /// The core is told of a job that is done.
    Report { job: u8 },
    /// The thread that cleans the mail log does something.
    Clean,
    /// Time passes.
    Pass { millis: u16 },
    /// Days pass without another event.
    Rest { days: u8 },
    /// The machine's clock is off by so many days from now on.
    ClockLeaps { days: i16 },
    /// It is set right.
    ClockIsRight,
    /// One of the next calls of the file system goes wrong. Should it be the end of the process, this is what ends it.
    DiskFails { calls: u8, fault: Fault, end: End, seed: u16 },
    /// Others fill the disk.
    DiskFills,
    /// There is room again.
    DiskHasRoom,
    /// The next commit of the ledger fails after so many of its entries.
    LedgerFails { after: u8 },
    /// The ledger works again.
    LedgerWorks,
    /// The store's process ends, and if `again` is not zero its successor ends, too, with that call of its start.
    StoreDies { end: End, seed: u16, again: u8 },
    /// The store is ordered to end.
    StoreStops,
}

/// How a connection claims to be a client.
#[derive(Clone, Copy, Debug)]
pub(super) enum Claim {
    /// With its key.
    Login,
    /// With what it showed once before.
    Replay,
    /// By agreeing on a new key.
    Registration,
}

/// What a seed stands for.
#[derive(Clone, Debug)]
pub(super) struct History {
    pub(super) config: StoreConfig,
    pub(super) settings: Settings,
    /// Commits of mail take so many times as long as other jobs.
    pub(super) slowness: u8,
    pub(super) events: Vec<Event>,
}

/// How often something happens, and what. What is not `always` does not happen at all in half of the histories, so that not all of
/// them are alike.
struct Kind {
    always: bool,
    weight: u32,
    draw: fn(&mut StdRng) -> Event,
}

const fn always(weight: u32, draw: fn(&mut StdRng) -> Event) -> Kind {
    Kind { always: true, weight, draw }
}

const fn perhaps(weight: u32, draw: fn(&mut StdRng) -> Event) -> Kind {
    Kind { always: false, weight, draw }
}

const KINDS: [Kind; 27] = [
    always(90, |rng| Event::Deliver { client: rng.random(), len: len(rng), is_ack_owed: rng.random() }),
    always(20, |_| Event::IngressReads),
    perhaps(3, |_| Event::IngressDies),
    always(25, |rng| Event::Connect { client: rng.random(), by: Claim::Login }),
    perhaps(6, |rng| Event::Connect { client: rng.random(), by: Claim::Replay }),
    perhaps(10, |rng| Event::Connect { client: rng.random(), by: Claim::Registration }),
    always(8, |rng| Event::Finish { connection: rng.random(), signs: rng.random_range(0..8) > 0 }),
    always(60, |rng| Event::EdgeReads { messages: rng.random_range(1..5) }),
    always(50, |rng| Event::Confirm { connection: rng.random(), but: rng.random_range(0..3) }),
    always(15, |rng| Event::AnswerProbe { connection: rng.random(), alive: rng.random() }),
    perhaps(4, |rng| Event::Forget { connection: rng.random() }),
    always(15, |rng| Event::Close { connection: rng.random() }),
    perhaps(3, |_| Event::EdgeDies),
    always(12, |_| Event::EdgeComesUp),
    always(90, |rng| Event::Work { job: rng.random() }),
    always(90, |rng| Event::Report { job: rng.random() }),
    always(25, |_| Event::Clean),
    always(25, |rng| Event::Pass { millis: rng.random_range(0..400) }),
    perhaps(10, |rng| Event::Pass { millis: rng.random_range(400..9_000) }),
    perhaps(2, |rng| Event::Rest { days: rng.random_range(1..40) }),
    perhaps(2, |rng| Event::ClockLeaps { days: rng.random_range(-4_000..4_000) }),
    always(3, |_| Event::ClockIsRight),
    perhaps(8, disk_fails),
    perhaps(3, |_| Event::DiskFills),
    perhaps(3, |rng| Event::LedgerFails { after: rng.random_range(0..3) }),
    perhaps(6, |rng| Event::StoreDies {
        end: end(rng),
        seed: rng.random(),
        again: if rng.random_range(0..3) == 0 { rng.random_range(1..12) } else { 0 },
    }),
    perhaps(2, |_| Event::StoreStops),
];

/// What ends a fault happens whether the fault does or not.
const REPAIRS: [Kind; 2] = [always(8, |_| Event::DiskHasRoom), always(8, |_| Event::LedgerWorks)];

fn len(rng: &mut StdRng) -> u16 {
    match rng.random_range(0..12) {
        0..2 => 21,
        2 => rng.random_range(22..40),
        3 => rng.random_range(1_500..6_000),
        _ => rng.random_range(40..1_500),
    }
}

fn end(rng: &mut StdRng) -> End {
    match rng.random_range(0..3) {
        0 => End::Kill,
        1 => End::Power,
        _ => End::Tear,
    }
}

fn disk_fails(rng: &mut StdRng) -> Event {
    let fault = match rng.random_range(0..6) {
        0 => Fault::Fails(Errno::EIO),
        1 => Fault::Reverts,
        2 => Fault::Short,
        3 => Fault::Fails(Errno::ENOSPC),
        _ => Fault::Dies,
    };
    Event::DiskFails { calls: rng.random_range(1..20), fault, end: end(rng), seed: rng.random() }
}

/// The history of a seed.
pub(super) fn draw(seed: u64) -> History {
    let rng = &mut StdRng::seed_from_u64(seed);
    let config = StoreConfig {
        spill_after: Duration::from_millis(250),
        inbox_messages: rng.random_range(6..20),
        inbox_bytes: 32 * 1024,
        newcomer_share: if rng.random() { 1 } else { 4 },
        message_age: DAY * 30,
        client_idle: DAY * 60,
        window: Window { messages: rng.random_range(4..40), bytes: 64 * 1024 },
        max_sessions: 12,
        data_bytes: 0,
        replay_bytes: 0,
        session_credit: Window { messages: rng.random_range(2..=5), bytes: 4 * 1024 },
        pushed_bytes: rng.random_range(8..40) * 1024,
        read_ahead_bytes: rng.random_range(8..20) * 1024,
        client_logins_per_hour: 1_000,
    };
    let segments = rng.random_range(9..24);
    let settings = Settings { segment: 64 * 1024, most: segments * 64 * 1024, floor: 0, cleaning_wait: Duration::ZERO };
    let kinds: Vec<&Kind> = KINDS.iter().chain(&REPAIRS).filter(|kind| kind.always || rng.random()).collect();
    let all: u32 = kinds.iter().map(|kind| kind.weight).sum();
    let event = |rng: &mut StdRng| {
        let mut at = rng.next_u32() % all;
        for kind in &kinds {
            if at < kind.weight {
                return (kind.draw)(rng);
            }
            at -= kind.weight;
        }
        Event::IngressReads
    };
    let slowness = if rng.random() { 1 } else { 8 };
    History { config, settings, slowness, events: (0..EVENTS).map(|_| event(rng)).collect() }
}
