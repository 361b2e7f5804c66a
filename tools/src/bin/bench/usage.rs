//! What the gateway's processes use, as the kernel counts it.

use std::{fmt, time::Duration};

use anyhow::{Context, Result};
use harness::{
    gateway::{Gateway, WORKERS},
    process::Process,
};
use nix::{time::ClockId, unistd::Pid};

/// Processor time of each process since it began, to the nanosecond, all threads together.
pub(crate) struct Usage(Vec<(&'static str, Duration)>);

fn processes(gateway: &Gateway) -> Result<Vec<(&'static str, Process)>> {
    let mut processes = vec![("supervisor", gateway.supervisor())];
    processes.extend(WORKERS.into_iter().zip(gateway.workers()?));
    Ok(processes)
}

impl Usage {
    /// Reads the clocks of all five processes.
    ///
    /// # Errors
    /// If one has ended.
    pub(crate) fn now(gateway: &Gateway) -> Result<Self> {
        let mut usage = Vec::new();
        for (name, process) in processes(gateway)? {
            let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(i32::try_from(process.0)?))
                .and_then(ClockId::now)
                .with_context(|| format!("cannot read the clock of {name}"))?;
            usage.push((name, Duration::from(clock)));
        }
        Ok(Self(usage))
    }

    /// Microseconds per item since `earlier`: of all processes together, and in words of each.
    pub(crate) fn per_item(&self, earlier: &Self, items: usize) -> (f64, String) {
        let micros = |later: Duration, earlier: Duration| (later - earlier).as_secs_f64() * 1e6 / items as f64;
        let each: Vec<_> =
            self.0.iter().zip(&earlier.0).map(|((name, now), (_, then))| (*name, micros(*now, *then))).collect();
        let words: Vec<_> = each.iter().map(|(name, micros)| format!("{name} {micros:.1}")).collect();
        (each.iter().map(|(_, micros)| micros).sum(), words.join(", "))
    }
}

/// Kibibytes of resident memory of each process.
pub(crate) struct Resident(Vec<(&'static str, u64)>);

impl Resident {
    /// Asks the kernel.
    ///
    /// # Errors
    /// If a process has ended.
    pub(crate) fn now(gateway: &Gateway) -> Result<Self> {
        let mut resident = Vec::new();
        for (name, process) in processes(gateway)? {
            resident.push((name, process.resident().with_context(|| format!("the memory of {name}"))? >> 10));
        }
        Ok(Self(resident))
    }

    /// All processes together.
    pub(crate) fn sum(&self) -> u64 {
        self.0.iter().map(|(_, kib)| kib).sum()
    }
}

impl fmt::Display for Resident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = self.0.iter().map(|(name, kib)| format!("{name} {kib}")).collect();
        write!(f, "{} KiB: {}", self.sum(), words.join(", "))
    }
}
