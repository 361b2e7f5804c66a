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

mod lock;
mod orders;
mod reload;
mod restart;
mod signals;
mod workers;

use std::{
    pin::pin,
    time::{Duration, Instant},
};

pub(crate) use self::{lock::RunLock, workers::Workers};
pub use self::{lock::RunLockError, workers::error::WorkersError};
use self::{
    signals::{Caught, Signals},
    workers::drain::Drained,
};
use crate::{
    admin::{order::Ordered, server::Admin},
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

/// Starts `workers` and keeps them alive until a signal comes; then ends them. Calls `print` once the announced keys are known to be
/// the gateway's own.
///
/// # Errors
/// If the gateway does not come up, or cannot go on. No worker is left running then.
pub(crate) async fn supervise(
    mut workers: Workers,
    mut admin: Option<Admin>,
    print: impl FnOnce(),
) -> Result<(), SupervisorError> {
    let begun = Instant::now();
    let mut signals = Signals::catch().map_err(SystemError::during("catch signals"))?;
    let mut watchdog = Watchdog::from_env();
    let mut print = Some(print);
    let outcome = loop {
        if let Some(print) = print.take_if(|_| workers.keys_are_proven()) {
            print();
        }
        if let Some(admin) = &admin {
            admin.publish(workers.ready(), workers.spec());
        }
        tokio::select! {
            signal = signals.next() => match signal {
                Caught::End(signal) => {
                    tracing::info!("Received {signal} - the gateway will terminate now: draining");
                    break Ok(());
                }
                Caught::Reload => {
                    tracing::info!("Received SIGHUP - the configuration is read again");
                    workers.reload(false, None);
                }
                Caught::Other(signal) => signal.log_ignored(),
            },
            step = workers.step() => if let Err(error) = step {
                break Err(error);
            },
            ordered = next_order(&mut admin) => workers.carry_out(ordered),
            () = watchdog.report() => {}
        }
    };
    if let Some(admin) = &mut admin {
        admin.close();
    }
    systemd::stopping();
    let told_at = Instant::now();
    let hurry = async {
        loop {
            match signals.next().await {
                Caught::End(_) if told_at.elapsed() >= SAME_ORDER => return,
                Caught::End(_) | Caught::Reload => {}
                Caught::Other(signal) => signal.log_ignored(),
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
    match (outcome, drained) {
        (Err(error), _) => Err(error.into()),
        (Ok(()), Drained::InOrder) => {
            tracing::info!("ended in good order after {}, up {}", brief(told_at.elapsed()), brief(begun.elapsed()));
            Ok(())
        }
        (Ok(()), Drained::InHurry) => Err(SupervisorError::Hurried),
    }
}
