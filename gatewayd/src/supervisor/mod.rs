//! The supervisor: starts the workers, keeps them alive, and ends them in order.
//!
//! *Trusts*: the operator. *Holds*: what workers are launched with, and its end of every control link. *Promises*: nothing is printed
//! as started before every worker has reported ready. A dead worker is replaced and gets new links. An order to end is followed
//! within ten seconds. No worker outlives the supervisor, because each watches for the supervisor's death.
//!
//! | file | idea |
//! |---|---|
//! | [`workers`] | the workers, each in its slot |
//! | [`workers::drain`] | their orderly end |
//! | [`lock`] | one supervisor for one id |
//! | [`orders`] | the orders of the operator |
//! | [`reload`] | what a changed configuration means |
//! | [`restart`] | the delay before a dead worker is started again |
//! | [`signals`] | what ends the supervisor, and what does not |
//! | [`upgrades`] | orders to become another program |

mod lock;
mod orders;
mod reload;
mod restart;
mod signals;
mod upgrades;
mod workers;

use std::{
    cell::Cell,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

pub(crate) use self::{lock::RunLock, reload::InForce, upgrades::Upgrades, workers::Workers};
pub use self::{lock::RunLockError, workers::error::WorkersError};
use self::{
    signals::{Caught, Signals},
    workers::drain::Drained,
};
use crate::{
    admin::{
        order::{Ordered, Task},
        server::Admin,
    },
    handover::{Candidate, WayBack},
    launch::LaunchSpec,
    system_error::SystemError,
    systemd::{self, Watchdog},
};

/// A signal to the process and one to its group are the same order to end. A later signal ends the drain.
const SAME_ORDER: Duration = Duration::from_secs(1);

/// Why a gateway did not come up, or did not end in order.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// A worker does not start, or does not come back.
    #[error(transparent)]
    Workers(#[from] WorkersError),
    /// A second signal came while the workers were finishing.
    #[error("a second signal came: the workers were killed before they had finished")]
    Hurried,
    /// The operating system refused a call.
    #[error(transparent)]
    System(#[from] SystemError),
}

/// A duration for people: `1.8s`, `5m`, `8d`.
fn brief(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..120 => format!("{:.1}s", duration.as_secs_f64()),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Waits for the next order. Without an admin socket there is none.
async fn next_order(admin: &mut Option<Admin>) -> Ordered {
    match admin {
        Some(admin) => admin.next_order().await,
        None => std::future::pending().await,
    }
}

/// How a supervisor has ended that has ended in order.
#[derive(Debug)]
pub(crate) enum Ended {
    /// It was told to.
    Stopped,
    /// To become this program.
    ToUpgrade {
        /// The program.
        candidate: Candidate,
        /// What the workers were started from.
        spec: Arc<LaunchSpec>,
        /// Whether new clients were let in.
        newcomers: bool,
    },
    /// To become the program again that it was before.
    ToGoBack {
        /// Why.
        why: String,
        /// Whether new clients were let in.
        newcomers: bool,
    },
}

/// Why the workers are to end.
enum Reason {
    Stop,
    Failure(WorkersError),
    Upgrade(Candidate),
    WayBack(String),
}

impl Reason {
    /// Whether the process goes on as another program.
    const fn is_to_go_on(&self) -> bool {
        matches!(self, Self::Upgrade(_) | Self::WayBack(_))
    }
}

/// Starts `workers` and keeps them alive until a signal comes, or until the process is to become another program; then ends them. Calls `print`
/// once the announced keys are known to be the gateway's own. `way_back` is there as long as the programs of an upgrade are not sure to stay.
///
/// # Errors
/// If the gateway does not come up, or cannot go on. No worker is left running then.
pub(crate) async fn supervise(
    mut workers: Workers,
    mut admin: Option<Admin>,
    mut upgrades: Upgrades,
    way_back: &mut Option<WayBack>,
    print: impl FnOnce(),
) -> Result<Ended, SupervisorError> {
    let begun = Instant::now();
    let mut signals = Signals::catch().map_err(SystemError::during("catch signals"))?;
    let mut watchdog = Watchdog::from_env();
    let mut print = Some(print);
    let reason = loop {
        if let Some(print) = print.take_if(|_| workers.keys_are_proven()) {
            print();
        }
        if let Some(admin) = &admin {
            admin.publish(workers.ready(), workers.spec());
        }
        match workers.take_verdict() {
            Some(Ok(())) => {
                tracing::info!(
                    "the programs of the upgrade stay: no worker died or hung, storage is no worse, and no more is refused than before"
                );
                upgrades.keep();
                *way_back = None;
            }
            Some(Err(why)) if upgrades.can_go_back(&why, &workers) => break Reason::WayBack(why),
            Some(Err(_)) => *way_back = None,
            None => {}
        }
        tokio::select! {
            signal = signals.next() => match signal {
                Caught::End(signal) => {
                    tracing::info!("Received {signal} - the gateway will terminate now: draining");
                    break Reason::Stop;
                }
                Caught::Reload => {
                    tracing::info!("Received SIGHUP - the configuration is read again");
                    workers.reload(false, None);
                }
                Caught::Other(signal) => signal.log_ignored(),
            },
            step = workers.step() => match step {
                Ok(()) => {}
                Err(error) if workers.is_on_probation() => break Reason::WayBack(error.to_string()),
                Err(error) => break Reason::Failure(error),
            },
            ordered = next_order(&mut admin) => match ordered {
                Ordered { task: Task::Upgrade(question), answer } => upgrades.hear(question, answer, &workers),
                ordered => workers.carry_out(ordered),
            },
            tried = upgrades.next_tried() => if let Some(candidate) = tried.decide(&workers) {
                break Reason::Upgrade(candidate);
            },
            () = watchdog.report() => {}
        }
    };
    if let Some(admin) = &mut admin {
        admin.close();
    }
    let told_at = Cell::new((!reason.is_to_go_on()).then(Instant::now));
    if told_at.get().is_some() {
        systemd::stopping();
    } else {
        systemd::reloading("becoming another program: the workers end");
    }
    let drain_began = Instant::now();
    let hurry = async {
        loop {
            match (signals.next().await, told_at.get()) {
                (Caught::End(signal), None) => {
                    tracing::info!("Received {signal} - the gateway will terminate now");
                    systemd::stopping();
                    told_at.set(Some(Instant::now()));
                }
                (Caught::End(_), Some(told_at)) if told_at.elapsed() >= SAME_ORDER => return,
                (Caught::End(_) | Caught::Reload, _) => {}
                (Caught::Other(signal), _) => signal.log_ignored(),
            }
        }
    };
    let drained = {
        let mut drain = pin!(workers.drain(hurry));
        loop {
            tokio::select! {
                drained = &mut drain => break drained,
                () = watchdog.report() => {}
            }
        }
    };
    let (spec, newcomers) = (Arc::clone(workers.spec()), workers.lets_newcomers_in());
    match (reason, drained) {
        (Reason::Failure(error), _) => Err(error.into()),
        (_, Drained::InHurry) => Err(SupervisorError::Hurried),
        (Reason::Upgrade(candidate), _) if told_at.get().is_none() => {
            Ok(Ended::ToUpgrade { candidate, spec, newcomers })
        }
        (Reason::WayBack(why), _) if told_at.get().is_none() => Ok(Ended::ToGoBack { why, newcomers }),
        (Reason::Stop | Reason::Upgrade(_) | Reason::WayBack(_), Drained::InOrder) => {
            tracing::info!("ended in good order after {}, up {}", brief(drain_began.elapsed()), brief(begun.elapsed()));
            Ok(Ended::Stopped)
        }
    }
}
