//! Step 4: the process closes its own doors, in this order and nowhere else.

use nix::sys::{
    prctl,
    resource::{Resource, getrlimit, setrlimit},
    signal::{SigHandler, Signal},
};

/// What a worker may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open descriptors at the most; no more than the supervisor itself may have.
    pub open_files: u64,
    /// Process number of the supervisor.
    pub supervisor: u32,
}

/// A step failed; the worker must not go on.
#[derive(Debug, thiserror::Error)]
pub enum JailError {
    /// The kernel refused a step.
    #[error("cannot close the jail: step `{step}` failed: {source}")]
    Step {
        /// Which.
        step: &'static str,
        /// What the kernel said.
        source: nix::Error,
    },
    /// The supervisor died before its death could be watched.
    #[error("the supervisor is gone")]
    Orphaned,
}

/// Proof that the steps were taken.
#[derive(Debug)]
#[non_exhaustive]
pub struct Closed;

/// Takes the steps. To be called while the process has one thread.
///
/// # Errors
/// If any step fails. The process is then half closed and must end.
pub fn close(limits: Limits) -> Result<Closed, JailError> {
    limit_resources(limits.open_files)?;
    ignore_signals_meant_for_the_supervisor()?;
    die_with_the_supervisor(limits.supervisor)?;
    // Not dumpable: no core file, no ptrace, no reading of /proc/<pid>/mem by others of the same account.
    step("not dumpable", prctl::set_dumpable(false))?;
    step("no new privileges", prctl::set_no_new_privs())?;
    Ok(Closed)
}

fn step<T>(step: &'static str, result: nix::Result<T>) -> Result<T, JailError> {
    result.map_err(|source| JailError::Step { step, source })
}

fn limit_resources(open_files: u64) -> Result<(), JailError> {
    step("no core files", setrlimit(Resource::RLIMIT_CORE, 0, 0))?;
    let (_, most) = step("limit on open files", getrlimit(Resource::RLIMIT_NOFILE))?;
    let open_files = open_files.min(most);
    step("limit on open files", setrlimit(Resource::RLIMIT_NOFILE, open_files, open_files))
}

/// A terminal or systemd sends these to the whole group; only the supervisor acts on them.
#[allow(unsafe_code)]
fn ignore_signals_meant_for_the_supervisor() -> Result<(), JailError> {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // SAFETY: ignoring a signal installs no handler, so nothing of ours runs in signal context.
        step("ignored signals", unsafe { nix::sys::signal::signal(signal, SigHandler::SigIgn) })?;
    }
    Ok(())
}

fn die_with_the_supervisor(supervisor: u32) -> Result<(), JailError> {
    step("death with the supervisor", prctl::set_pdeathsig(Signal::SIGKILL))?;
    // It may have died before the line above.
    if nix::unistd::getppid().as_raw().cast_unsigned() == supervisor { Ok(()) } else { Err(JailError::Orphaned) }
}
