//! What a crew makes of what a worker says of a peer.
//!
//! *Trusts*: whoever has a link to a worker, that the worker should be replaced, but not for ever; there is nothing else to be gained
//! by a lie. *Promises*: nobody is blamed for a predecessor; a worker that lets go of a link is replaced even if it lives on; one
//! that goes on accusing is replaced itself.

use std::time::{Duration, Instant};

use ipc::Role;

use super::{Crew, Phase, State};
use crate::supervisor::links;

/// A link ends with the process at its other end. Within this time its death is heard of too, or the process lives on.
const DEATH_LIMIT: Duration = Duration::from_secs(1);
/// So often in its life a worker is believed. Then it is replaced too: it may be the one who lies.
pub(super) const ACCUSATIONS: u32 = 8;

/// Somebody has let go of a link and is not known to be dead.
#[derive(Debug)]
pub(super) struct Suspicion {
    reporter: Role,
    peer: Role,
    condemn_at: Instant,
}

impl Crew {
    pub(super) fn on_violation(&mut self, reporter: Role, peer: Role, link: u32, rule: &str) {
        if self.is_about_the_living(reporter, peer, link) {
            tracing::error!(worker = %peer, reporter = %reporter, rule, "worker broke a rule of its link");
            self.replace_on_word_of(reporter, peer, "it broke a rule of its link");
        }
    }

    pub(super) fn on_loss(&mut self, reporter: Role, peer: Role, link: u32) {
        let known = self.suspicions.iter().any(|known| (known.reporter, known.peer) == (reporter, peer));
        // At the end of the gateway, links end before processes do.
        if self.is_about_the_living(reporter, peer, link) && !known && self.phase != Phase::Closing {
            self.suspicions.push(Suspicion { reporter, peer, condemn_at: Instant::now() + DEATH_LIMIT });
        }
    }

    fn replace_on_word_of(&mut self, reporter: Role, peer: Role, why: &str) {
        self.condemn(peer, why);
        let accusations = &mut self.posts.get_mut(reporter).accusations;
        *accusations += 1;
        if *accusations >= ACCUSATIONS {
            self.condemn(reporter, "it has accused its peers too often");
        }
    }

    /// Whether both live, and this is the link between them. Whoever accuses a stranger is condemned.
    fn is_about_the_living(&mut self, reporter: Role, peer: Role, link: u32) -> bool {
        if !links::peers(reporter).any(|linked| linked == peer) {
            self.condemn(reporter, "it accused a worker that it has no link to");
            return false;
        }
        let lives =
            |role| !matches!(self.posts.get(role).state, State::Dead { .. } | State::Condemned { .. } | State::Gone);
        lives(reporter) && lives(peer) && *self.posts.get(reporter).links.get(peer) == link
    }

    pub(super) fn next_suspicion(&self) -> Option<Instant> {
        self.suspicions.iter().map(|suspicion| suspicion.condemn_at).min()
    }

    pub(super) fn condemn_suspects(&mut self, now: Instant) {
        while let Some(Suspicion { reporter, peer, .. }) = self.suspicions.iter().find(|due| due.condemn_at <= now) {
            let (reporter, peer) = (*reporter, *peer);
            tracing::error!(worker = %peer, reporter = %reporter, "worker let go of its link and lives on");
            self.replace_on_word_of(reporter, peer, "it let go of its link");
        }
    }

    /// Between a worker that is dead, or as good as dead, and its peers there is nothing to be judged any more.
    pub(super) fn clear_suspicions(&mut self, dead: Role) {
        self.suspicions.retain(|suspicion| suspicion.reporter != dead && suspicion.peer != dead);
    }
}
