//! The core decides: what is accepted, which session is attached as which client, what is pushed, what is written and what is removed.
//!
//! *Trusts* its peers as far as their links say; every request is checked against the phase of its session. *Holds* all
//! mail that is not yet accepted, and what is known of each inbox in use. *Promises*:
//!
//! - A delivery is accepted only with a proof (`ingress::Proof`): a commit that holds the message, or the client's receipt.
//! - A message is removed only on its client's receipt, or because it is too old, or, if it came without a SURB-ack, for a newer such.
//! - An inbox is pushed in the order of its sequence numbers, from the oldest unproved message on, without a gap but for what has
//!   given way.
//! - No I/O but look-ups in the [`Mailbox`]: what takes time becomes a [`Job`] for the [`service`](crate::service).
//!
//! A message that has arrived is in exactly one state: *live* (in memory; pushed or about to be), *spilling* (being written;
//! still in memory), *stored* (on disk only). A receipt ends each of them; one that comes while spilling accepts at once
//! and removes after the commit.
//!
//! Each part's file has the part's fields and the methods of [`Core`] that use them. So this file names the types of the parts, and they
//! name [`Core`]: one struct is written in several files, and the fields of a part stay private to it.
//!
//! | file | does |
//! |---|---|
//! | `ingress`, `receipts` | a delivery: taken or refused, and accepted |
//! | `pending`, `spill` | messages that are not accepted yet, and how they go to disk |
//! | `inbox`, `inboxes`, `load`, `shares`, `ackless` | what is known of an inbox, and what it may hold |
//! | `sessions` | requests and phases of sessions; below it claims and logins |
//! | `delivery` | what is pushed to which session; below it one attached session, and the memory of all |
//! | `commits` | what is on its way to mail log and ledger, and what follows from a commit |
//! | `health` | how storage is doing, and what is refused while it fails |
//! | `retention`, `sweep` | what is kept for too long, and clients that are to be forgotten |
//! | `operator` | what the operator asks about a client, and wants done with it |
//! | `effects`, `done`, `fault`, `session_ref` | what the core hands out, and what comes back |

mod ackless;
mod commits;
mod delivery;
mod done;
mod effects;
mod fault;
mod health;
mod inbox;
mod inboxes;
mod ingress;
mod load;
mod operator;
mod pending;
mod question;
mod receipts;
mod retention;
mod session_ref;
mod sessions;
mod shares;
mod spill;
mod sweep;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Instant};

use ipc::control::StoreConfig;

use crate::{counters::StoreCounters, mailbox::Mailbox};
use commits::Commits;
use delivery::Delivery;
pub use done::Done;
pub use effects::{Effects, Job};
pub use fault::Fault;
use health::StorageHealth;
use inboxes::Inboxes;
use ingress::Ingress;
use load::Load;
pub(crate) use operator::{count_kind, kind_of};
pub use question::QuestionId;
use retention::Retention;
pub use session_ref::SessionRef;
use sessions::Sessions;
pub use sessions::{Unproven, check_claim};
use shares::Shares;
pub use sweep::{SweepPage, Swept};

/// The state machine of the store: events go in, [`Effects`] come out.
pub struct Core<M> {
    mailbox: Arc<M>,
    config: StoreConfig,
    counters: Arc<StoreCounters>,
    inboxes: Inboxes,
    ingress: Ingress,
    sessions: Sessions,
    delivery: Delivery,
    commits: Commits,
    health: StorageHealth,
    retention: Retention,
    effects: Effects,
}

impl<M: Mailbox> Core<M> {
    /// A core without peers.
    pub fn new(mailbox: Arc<M>, config: StoreConfig, counters: Arc<StoreCounters>, now: Instant) -> Self {
        let whole = Load { messages: config.inbox_messages, bytes: config.inbox_bytes };
        Self {
            health: StorageHealth::new(mailbox.filling()),
            mailbox,
            inboxes: Inboxes::new(Shares::new(whole, config.newcomer_share), now),
            ingress: Ingress::new(config.window),
            sessions: Sessions::new(&config, now),
            delivery: Delivery::new(&config),
            commits: Commits::default(),
            retention: Retention::new(&config, now),
            effects: Effects::default(),
            config,
            counters,
        }
    }

    /// A new `mix-ingress` is connected. What its predecessor delivered stays pending, and is not answered.
    pub const fn ingress_up(&mut self) {
        self.ingress.up();
    }

    /// A new `client-edge` is connected; its predecessor's sessions are gone.
    pub const fn edge_up(&mut self) {
        self.sessions.up();
    }

    /// `client-edge` is gone, and with it every session: their unproved mail is written at once.
    pub fn edge_down(&mut self) {
        let attached = self.sessions.clear();
        self.delivery.clear();
        self.effects.to_edge.clear();
        for client in attached {
            self.spill_all(&client);
        }
    }

    /// When [`tick`](Self::tick) is due.
    pub fn deadline(&self) -> Option<Instant> {
        let (spill, probe, memory) = (self.commits.spill_due(), self.sessions.probe_due(), self.delivery.due());
        let (storage, retention) = (self.health.retry_at(), self.retention.due());
        [spill, probe, memory, storage, retention, self.keep_classes_at()].into_iter().flatten().min()
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Instant) {
        while let Some((client, sequence)) = self.commits.next_spill(now) {
            self.spill(&client, sequence);
        }
        self.end_probes(now);
        self.look_again(now);
        self.retry_storage(now);
        self.sweep(now);
        if self.keep_classes_at().is_some_and(|at| at <= now) {
            self.effects.jobs.push(Job::KeepClasses(self.inboxes.take_changed_classes(now)));
        }
    }

    /// When changed classes may be written. A database that has failed once takes nothing more, so none are written while storage may
    /// fail.
    fn keep_classes_at(&self) -> Option<Instant> {
        self.inboxes.keep_classes_at().filter(|_| self.health.takes_clients())
    }

    /// What is to be done now. Starts a commit whenever there is something to commit and none is under way, so whatever
    /// comes during a commit goes into the next.
    pub fn take_effects(&mut self) -> Effects {
        self.delivery.show(&self.counters);
        self.health.show(&self.counters);
        if !self.health.is_broken() {
            self.begin_commits();
        }
        std::mem::take(&mut self.effects)
    }

    /// Whether there is anything to do that [`take_effects`](Self::take_effects) has not handed out.
    pub const fn has_effects(&self) -> bool {
        !self.effects.is_empty()
    }

    /// Whether nothing waits for the disk, or waiting is in vain.
    pub fn is_settled(&self) -> bool {
        !self.commits.is_committing() && (!self.commits.is_waiting() || self.health.is_broken())
    }
}
