//! Signals: those by which an operator or a service manager ends the gateway, and all others whose default action ends a process.
//!
//! *Promises*: once these signals are caught, the only signals that end the supervisor before the workers are drained are SIGKILL and those
//! by which the kernel reports a fault of the program itself.

use std::{
    fmt, io,
    task::{Context, Poll},
};

use nix::sys::signal::SigSet;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What the gateway does about each signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caught {
    /// An order to end.
    End(EndSignal),
    /// An order to read the configuration again: SIGHUP.
    Reload,
    /// Nothing, but for a line in the log.
    Other(OtherSignal),
}

/// An order to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndSignal {
    /// From a terminal, or the unit of 0.10.1 (`KillSignal=SIGINT`).
    Interrupt,
    /// From systemd.
    Terminate,
    /// From a terminal (Ctrl-\\).
    Quit,
}

impl fmt::Display for EndSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
            Self::Quit => "SIGQUIT",
        })
    }
}

/// A signal that has no meaning here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OtherSignal(i32);

impl OtherSignal {
    /// Logs that the signal changes nothing.
    pub(super) fn log_ignored(self) {
        let name = nix::sys::signal::Signal::try_from(self.0).map_or_else(|_| self.0.to_string(), |s| s.to_string());
        tracing::warn!(
            id = "GWD-G021",
            "{name} changes nothing; SIGTERM ends the gateway, and SIGHUP has it read its configuration again"
        );
    }
}

/// Signals whose default action ends a process, without SIGHUP, those of [`EndSignal`], those of faults, SIGKILL, and SIGPIPE, which the standard
/// library ignores.
fn others() -> impl Iterator<Item = i32> {
    use nix::libc::{SIGALRM, SIGIO, SIGPROF, SIGPWR, SIGSTKFLT, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXCPU, SIGXFSZ};
    [SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGIO, SIGPWR, SIGSTKFLT, SIGXCPU, SIGXFSZ]
        .into_iter()
        .chain(nix::libc::SIGRTMIN()..=nix::libc::SIGRTMAX())
}

/// Catches all these signals while it lives.
pub(super) struct Signals(Vec<(Caught, Signal)>);

impl Signals {
    /// Starts to catch signals.
    ///
    /// # Errors
    /// If the handlers cannot be installed.
    pub(super) fn catch() -> io::Result<Self> {
        let meant = [
            (Caught::End(EndSignal::Interrupt), SignalKind::interrupt()),
            (Caught::End(EndSignal::Terminate), SignalKind::terminate()),
            (Caught::End(EndSignal::Quit), SignalKind::quit()),
            (Caught::Reload, SignalKind::hangup()),
        ];
        let others = others().map(|number| (Caught::Other(OtherSignal(number)), SignalKind::from_raw(number)));
        let all = meant.into_iter().chain(others);
        let caught = all.map(|(caught, kind)| Ok((caught, signal(kind)?))).collect::<io::Result<_>>()?;
        // Those that came while this process became this program have waited.
        SigSet::all().thread_unblock()?;
        Ok(Self(caught))
    }

    /// Waits for the next signal.
    pub(super) async fn next(&mut self) -> Caught {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Caught> {
        for (caught, signal) in &mut self.0 {
            if signal.poll_recv(cx).is_ready() {
                return Poll::Ready(*caught);
            }
        }
        Poll::Pending
    }
}
