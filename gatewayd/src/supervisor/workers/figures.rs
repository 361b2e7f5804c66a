//! What `http-api` shows of the gateway's work: packets, as the workers at the mixnet report them, and the load of the machine.
//!
//! *Trusts*: `mix-ingress` and `mix-egress` about their own numbers, which decide nothing. *Promises*: a number never falls while the
//! gateway runs, whatever happens to its workers.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use ipc::{
    Role,
    control::WorkerCommand,
    http_api::{Load, NodeFigures, PacketFigures},
};

use super::{Workers, slot::WorkerState};

/// Time between two publications.
const PERIOD: Duration = Duration::from_secs(60);

/// The numbers, and when they are told next.
#[derive(Debug)]
pub(super) struct Figures {
    packets: PacketFigures,
    due: Instant,
}

impl Figures {
    /// Nothing was counted yet.
    pub(super) fn new(now: Instant) -> Self {
        Self { packets: PacketFigures::default(), due: now + PERIOD }
    }

    /// Adds what a worker has counted.
    pub(super) const fn add(&mut self, packets: PacketFigures) {
        self.packets.add(packets);
    }

    /// When they are told next.
    pub(super) const fn due(&self) -> Instant {
        self.due
    }
}

impl Workers {
    /// Tells `http-api` the figures, if they are due and it runs.
    pub(super) fn publish_figures(&mut self, now: Instant) {
        if self.figures.due > now {
            return;
        }
        self.figures.due = now + PERIOD;
        if let WorkerState::Ready { worker, .. } = &self.slots.get(Role::HttpApi).state {
            let figures = NodeFigures { packets: self.figures.packets, load: load() };
            // A worker that does not read its control link has no heartbeat either, and is replaced for that.
            let _ = worker.send(&WorkerCommand::PublishFigures(figures), &[]);
        }
    }
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
    fn load_is_counted_for_each_processor() {
        assert_eq!(percent("1.50 0.70 0.33 2/345 678\n", 2), Some(75));
        assert_eq!(percent("0.00 0.00 0.00 1/1 1", 4), Some(0));
        assert_eq!(percent("", 2), None);
        assert_eq!(percent("x 1 2", 2), None);
    }
}
