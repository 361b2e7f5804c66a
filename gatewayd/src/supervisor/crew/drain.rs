//! The orderly end: who finishes in which order, and what happens to those who do not.
//!
//! First nothing new comes in from the mixnet, then the clients are let go, and at last the two that hold what is left:
//! `mix-egress` sends it, `store` writes it to disk.

use std::{
    future::Future,
    mem,
    pin::pin,
    time::{Duration, Instant},
};

use ipc::{Role, control::WorkerCommand};

use super::{Crew, Phase, State};

/// Who finishes together, and by when, after the order to end. What one group leaves of its time is the next one's. `mix-ingress`
/// has tens of megabytes to save, which take a slow disk seconds. With [`LAST`] all this is within the ten seconds that the whole
/// may take.
const ORDER: [(&[Role], Duration); 3] = [
    (&[Role::MixIngress], Duration::from_secs(5)),
    (&[Role::ClientEdge], Duration::from_secs(7)),
    (&[Role::MixEgress, Role::Store], Duration::from_secs(9)),
];
/// Time for the killed to be gone.
const LAST: Duration = Duration::from_millis(500);

/// How the workers ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Drained {
    /// Each finished, or had its time.
    InOrder,
    /// All were killed when `hurry` came.
    InHurry,
}

impl Crew {
    /// Ends all workers, within ten seconds; at once when `hurry` comes.
    pub(in super::super) async fn drain(&mut self, hurry: impl Future<Output = ()>) -> Drained {
        let mut hurry = pin!(hurry);
        self.phase = Phase::Closing;
        for role in Role::ALL {
            let state = &mut self.posts.get_mut(role).state;
            if matches!(state, State::Dead { .. }) {
                *state = State::Gone;
            }
        }
        let begun = Instant::now();
        let mut drained = Drained::InOrder;
        for (group, limit) in ORDER {
            for &role in group {
                self.tell_to_finish(role);
            }
            drained = self.wait_for(group, begun + limit, hurry.as_mut()).await;
            if drained == Drained::InHurry {
                break;
            }
            for &role in group {
                self.condemn(role, "it did not finish in time");
            }
        }
        if drained == Drained::InHurry {
            for role in Role::ALL {
                self.condemn(role, "the gateway ends at once");
            }
        }
        self.wait_for(&Role::ALL, Instant::now() + LAST, std::future::pending()).await;
        drained
    }

    fn tell_to_finish(&mut self, role: Role) {
        let post = self.posts.get_mut(role);
        post.state = match mem::replace(&mut post.state, State::Gone) {
            State::Starting { worker, .. } | State::Ready { worker, .. } => {
                // A worker that cannot be told is dying, or wedged and killed when its time is over.
                let _ = worker.order(&WorkerCommand::DrainWorker, &[]);
                State::Draining { worker }
            }
            other => other,
        };
    }

    /// Until all of `group` are gone, or it is `deadline`, or `hurry` comes.
    async fn wait_for(
        &mut self,
        group: &[Role],
        deadline: Instant,
        mut hurry: impl Future<Output = ()> + Unpin,
    ) -> Drained {
        while group.iter().any(|role| !matches!(self.posts.get(*role).state, State::Gone)) {
            tokio::select! {
                Some(event) = self.events.recv() => {
                    if let Err(error) = self.on_event(event) {
                        tracing::error!("{error}");
                    }
                }
                () = tokio::time::sleep_until(deadline.into()) => break,
                () = &mut hurry => return Drained::InHurry,
            }
        }
        Drained::InOrder
    }
}
