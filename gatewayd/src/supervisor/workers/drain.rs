//! The orderly end: the order in which the workers finish, and what happens to one that does not.
//!
//! `mix-ingress` is first, so that no new message comes in from the mixnet, and `http-api`, which has nothing to finish. Then `client-edge`
//! lets its clients go. `mix-egress` and
//! `store` are last: `mix-egress` sends what is left, `store` writes it to disk.

use std::{
    future::Future,
    mem,
    pin::pin,
    time::{Duration, Instant},
};

use ipc::{Role, control::WorkerCommand};

use super::{GatewayPhase, Workers, slot::WorkerState};

/// Groups of workers that finish together, and the time of each, counted from the order to end. A group that finishes early leaves its
/// time to the next. `mix-ingress` has tens of megabytes to save, which take a slow disk seconds. With [`LAST`] the whole takes less than
/// ten seconds.
pub(super) const ORDER: [(&[Role], Duration); 3] = [
    (&[Role::MixIngress, Role::HttpApi], Duration::from_secs(5)),
    (&[Role::ClientEdge], Duration::from_secs(7)),
    (&[Role::MixEgress, Role::Store], Duration::from_secs(9)),
];
/// The time for killed workers to be gone.
const LAST: Duration = Duration::from_millis(500);

/// How the workers ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drained {
    /// Each worker finished, or was killed when its time was over.
    InOrder,
    /// All were killed, because `hurry` came.
    InHurry,
}

impl Workers {
    /// Ends all workers within ten seconds, or at once when `hurry` comes.
    pub(crate) async fn drain(&mut self, hurry: impl Future<Output = ()>) -> Drained {
        let mut hurry = pin!(hurry);
        self.phase = GatewayPhase::Closing;
        self.stop_replacing();
        for role in Role::ALL {
            let state = &mut self.slots.get_mut(role).state;
            if matches!(state, WorkerState::Dead { .. }) {
                *state = WorkerState::Gone;
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
                self.kill_for(role, "it did not finish in time");
            }
        }
        if drained == Drained::InHurry {
            for role in Role::ALL {
                self.kill_for(role, "the gateway ends at once");
            }
        }
        self.wait_for(&Role::ALL, Instant::now() + LAST, std::future::pending()).await;
        drained
    }

    pub(super) fn tell_to_finish(&mut self, role: Role) {
        let slot = self.slots.get_mut(role);
        slot.state = match mem::replace(&mut slot.state, WorkerState::Gone) {
            WorkerState::Starting { worker, .. } | WorkerState::Ready { worker, .. } => {
                // On an error the worker is dying, or it hangs and is killed when its time is over.
                let _ = worker.send(&WorkerCommand::DrainWorker, &[]);
                WorkerState::Draining { worker }
            }
            other => other,
        };
    }

    /// Handles events until all of `group` are gone, `deadline` is reached, or `hurry` comes.
    async fn wait_for(
        &mut self,
        group: &[Role],
        deadline: Instant,
        mut hurry: impl Future<Output = ()> + Unpin,
    ) -> Drained {
        while group.iter().any(|role| !matches!(self.slots.get(*role).state, WorkerState::Gone)) {
            tokio::select! {
                Some(event) = self.events.recv() => {
                    if let Err(error) = self.on_event(event) {
                        tracing::error!(id = "GWD-G026", "{error}");
                    }
                }
                () = tokio::time::sleep_until(deadline.into()) => break,
                () = &mut hurry => return Drained::InHurry,
            }
        }
        Drained::InOrder
    }
}
