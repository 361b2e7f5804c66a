//! Resource limits, signals that are meant for the supervisor alone, and death with the supervisor.

use std::os::fd::AsFd;

use nix::sys::{
    prctl,
    resource::{Resource, getrlimit, setrlimit},
    signal::{SigHandler, Signal},
    stat::{SFlag, fstat},
};

use crate::step::{JailError, must};

/// No core file, no more locked memory than there is already, no more descriptors than `open_files`. A role that writes no files
/// cannot make one grow. The number of processes is not limited: the kernel counts those of the whole account, threads included.
pub(crate) fn resources(open_files: u64, writes_files: bool) -> Result<(), JailError> {
    must("no core files", setrlimit(Resource::RLIMIT_CORE, 0, 0))?;
    must("no more locked memory", setrlimit(Resource::RLIMIT_MEMLOCK, 0, 0))?;
    // The log may be a file.
    let log = must("read the type of the log", fstat(std::io::stderr().as_fd()))?;
    let log_is_a_file = SFlag::from_bits_truncate(log.st_mode & SFlag::S_IFMT.bits()) == SFlag::S_IFREG;
    if !writes_files && !log_is_a_file {
        must("no files", setrlimit(Resource::RLIMIT_FSIZE, 0, 0))?;
    }
    let (_, most) = must("limit on open files", getrlimit(Resource::RLIMIT_NOFILE))?;
    let open_files = open_files.min(most);
    must("limit on open files", setrlimit(Resource::RLIMIT_NOFILE, open_files, open_files))
}

/// A terminal, systemd, or an operator's `pkill` sends these to all processes; only the supervisor acts on them.
#[allow(unsafe_code)]
pub(crate) fn ignore_signals_meant_for_the_supervisor() -> Result<(), JailError> {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGQUIT, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2] {
        // SAFETY: ignoring a signal installs no handler, so nothing of ours runs in signal context.
        must("ignored signals", unsafe { nix::sys::signal::signal(signal, SigHandler::SigIgn) })?;
    }
    Ok(())
}

pub(crate) fn die_with_the_supervisor(supervisor: u32) -> Result<(), JailError> {
    must("death with the supervisor", prctl::set_pdeathsig(Signal::SIGKILL))?;
    // The supervisor may have died before the line above.
    if nix::unistd::getppid().as_raw().cast_unsigned() == supervisor { Ok(()) } else { Err(JailError::Orphaned) }
}
