//! Handles what a worker reports about a peer.
//!
//! *Trusts*: a worker may have a few of its peers replaced; a false report gains it nothing else. *Promises*: no worker is killed for what
//! its predecessor did. A worker that closes a link is replaced even if it lives on. A worker that reports too many peers is replaced too.

use std::time::{Duration, Instant};

use ipc::Role;

use super::{
    GatewayPhase, Workers,
    slot::{PendingKill, WorkerState},
};
use crate::launch::peers;

/// The time between the end of a link and the death of the process at its other end. A process without a death by then lives on.
const DEATH_LIMIT: Duration = Duration::from_secs(1);
/// How many peers are replaced on the word of one worker. Then the worker is replaced too, because its reports may be false.
pub(super) const MAX_PEER_REPORTS: u32 = 8;

impl Workers {
    pub(super) fn on_violation(&mut self, reporter: Role, peer: Role, link: u32, rule: &str) {
        if self.is_about_the_living(reporter, peer, link) {
            tracing::error!(
                id = "GWD-G036", worker = %peer, reporter = %reporter, rule,
                "worker broke a rule of its link"
            );
            self.replace_on_word_of(reporter, peer, "it broke a rule of its link");
        }
    }

    pub(super) fn on_loss(&mut self, reporter: Role, peer: Role, link: u32) {
        let known = self.pending_kills.iter().any(|known| (known.reporter, known.peer) == (reporter, peer));
        // When the gateway or a worker ends in order, links end before processes do.
        let ends = matches!(self.slots.get(peer).state, WorkerState::Draining { .. });
        if !ends && self.is_about_the_living(reporter, peer, link) && !known && self.phase != GatewayPhase::Closing {
            self.pending_kills.push(PendingKill { reporter, peer, kill_at: Instant::now() + DEATH_LIMIT });
        }
    }

    fn replace_on_word_of(&mut self, reporter: Role, peer: Role, why: &str) {
        self.kill_for(peer, why);
        let peer_reports = &mut self.slots.get_mut(reporter).peer_reports;
        *peer_reports += 1;
        if *peer_reports >= MAX_PEER_REPORTS {
            self.kill_for(reporter, "it has reported its peers too often");
        }
    }

    /// Whether both live, and `link` is the present link between them. A worker that reports a peer without a link to it is killed.
    fn is_about_the_living(&mut self, reporter: Role, peer: Role, link: u32) -> bool {
        if !peers(reporter).any(|linked| linked == peer) {
            self.kill_for(reporter, "it reported a worker that it has no link to");
            return false;
        }
        let lives = |role| {
            !matches!(
                self.slots.get(role).state,
                WorkerState::Dead { .. } | WorkerState::Killed { .. } | WorkerState::Gone
            )
        };
        lives(reporter) && lives(peer) && *self.slots.get(reporter).links.get(peer) == link
    }

    pub(super) fn next_pending_kill(&self) -> Option<Instant> {
        self.pending_kills.iter().map(|suspicion| suspicion.kill_at).min()
    }

    pub(super) fn run_pending_kills(&mut self, now: Instant) {
        while let Some(PendingKill { reporter, peer, .. }) = self.pending_kills.iter().find(|due| due.kill_at <= now) {
            let (reporter, peer) = (*reporter, *peer);
            tracing::error!(
                id = "GWD-G037", worker = %peer, reporter = %reporter,
                "worker closed its link and lives on"
            );
            self.replace_on_word_of(reporter, peer, "it closed its link");
        }
    }

    /// Forgets what was pending between a worker that is dead or killed and its peers.
    pub(super) fn clear_pending_kills(&mut self, dead: Role) {
        self.pending_kills.retain(|suspicion| suspicion.reporter != dead && suspicion.peer != dead);
    }
}
