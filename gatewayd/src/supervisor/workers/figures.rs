//! What the supervisor sees of its workers, in its own page of figures; and what `http-api` shows of the gateway's work: packets, as the
//! workers at the mixnet count them, and the load of the machine.
//!
//! *Trusts*: `mix-ingress` and `mix-egress` about their own numbers, which decide nothing. *Promises*: a number never falls while the
//! gateway runs, whatever happens to its workers, unless a worker lies.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    sync::atomic::Ordering::Relaxed,
    thread,
    time::{Duration, Instant},
};

use figures::{Page, mix_egress, mix_ingress};
use ipc::{
    Role,
    control::WorkerCommand,
    http_api::{Load, NodeFigures, PacketFigures},
};
use nix::unistd::{SysconfVar, sysconf};

use super::{Workers, slot::WorkerState};
use crate::launch::FiguresPages;

/// Time between two publications.
pub(super) const PERIOD: Duration = Duration::from_secs(60);

impl Workers {
    /// Counts the packets of the last minute and tells `http-api` the figures, if they are due and it runs.
    pub(super) fn publish_figures(&mut self, now: Instant) {
        if self.figures_due > now {
            return;
        }
        self.figures_due = now + PERIOD;
        let accepted = packets_accepted(&self.spec.pages);
        self.packets_of_last_minute = accepted.saturating_sub(self.packets_until_then);
        self.packets_until_then = accepted;
        if let WorkerState::Ready { worker, .. } = &self.slots.get(Role::HttpApi).state {
            let figures = NodeFigures { packets: packets(&self.spec.pages), load: load() };
            // A worker that does not read its control link has no heartbeat either, and is replaced for that.
            let _ = worker.send(&WorkerCommand::PublishFigures(figures), &[]);
        }
    }

    /// Shows in the supervisor's page which workers are at work.
    pub(super) fn show_workers(&self) {
        self.spec.pages.own().admits_newcomers.store(self.newcomers.into(), Relaxed);
        for role in Role::ALL {
            let slot = self.slots.get(role);
            let shown = self.spec.pages.own().of(role);
            shown.deaths.store(slot.deaths.into(), Relaxed);
            shown.ready.store(matches!(slot.state, WorkerState::Ready { .. }).into(), Relaxed);
        }
    }

    /// Shows in the supervisor's page what the processes of the workers take of the machine.
    pub(super) fn show_processes(&self) {
        for role in Role::ALL {
            let pid = self.slots.get(role).pid();
            let shown = self.spec.pages.own().of(role);
            shown.resident.store(pid.and_then(resident_bytes).unwrap_or(0), Relaxed);
            shown.descriptors.store(pid.and_then(descriptors).unwrap_or(0), Relaxed);
        }
    }
}

/// Packets that `mix-ingress` has accepted so far.
pub(super) fn packets_accepted(pages: &FiguresPages) -> u64 {
    pages.read(Page::Worker(Role::MixIngress)).sum(&mix_ingress::ACCEPTED)
}

/// What the public is told of packets.
fn packets(pages: &FiguresPages) -> PacketFigures {
    let (ingress, egress) = (pages.read(Page::Worker(Role::MixIngress)), pages.read(Page::Worker(Role::MixEgress)));
    PacketFigures {
        received: ingress.value("packets_received"),
        sent: egress.value("packets_sent"),
        dropped: ingress.sum(&mix_ingress::DROPPED).saturating_add(egress.sum(&mix_egress::DROPPED)),
    }
}

/// Memory of a process that is in the machine's memory. None if the process is gone.
fn resident_bytes(pid: u32) -> Option<u64> {
    let pages: u64 = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?.split_whitespace().nth(1)?.parse().ok()?;
    let bytes_of_page = u64::try_from(sysconf(SysconfVar::PAGE_SIZE).ok()??).ok()?;
    Some(pages.saturating_mul(bytes_of_page))
}

/// Open descriptors of a process: the size of that folder, since Linux 6.2; before, it is zero. No right over the process is needed.
fn descriptors(pid: u32) -> Option<u64> {
    Some(fs::metadata(format!("/proc/{pid}/fd")).ok()?.size())
}

/// The load of the machine over the last minute.
fn load() -> Load {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let load = fs::read_to_string("/proc/loadavg").ok().and_then(|text| percent(&text, processors));
    load.map_or(Load::Unknown, Load::of_percent)
}

/// The first number of `/proc/loadavg`, which is the mean number of tasks that wanted a processor, in percent of the processors.
fn percent(loadavg: &str, processors: usize) -> Option<u64> {
    let tasks: f64 = loadavg.split_whitespace().next()?.parse().ok()?;
    // A float that does not fit becomes the nearest number.
    Some((tasks * 100.0 / processors as f64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_memory_and_descriptors_of_a_process() {
        let pid = std::process::id();
        assert!(resident_bytes(pid).unwrap() > 100_000 && descriptors(pid).is_some());
        assert_eq!((resident_bytes(u32::MAX), descriptors(u32::MAX)), (None, None));
    }

    #[test]
    fn load_is_counted_for_each_processor() {
        assert_eq!(percent("1.50 0.70 0.33 2/345 678\n", 2), Some(75));
        assert_eq!(percent("0.00 0.00 0.00 1/1 1", 4), Some(0));
        assert_eq!(percent("", 2), None);
        assert_eq!(percent("x 1 2", 2), None);
    }
}
