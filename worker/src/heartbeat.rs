//! Proof that a worker's own loop turns.
//!
//! A process can be alive and serve nobody, because it is stopped or waits for something that never comes. Therefore the loop that
//! carries all of a worker's traffic, and no other task, reports [`WorkerReport::LoopTurns`] every [`BEAT`], and counts it in the worker's
//! page of figures. The supervisor replaces a worker whose reports stay away.

use tokio::{
    sync::mpsc,
    time::{Interval, MissedTickBehavior, interval},
};

use figures::Number;
use ipc::control::{BEAT, WorkerReport};

use crate::counter::count;

/// The heartbeat of one loop. The loop awaits [`beat`](Self::beat) beside its other events.
#[derive(Debug)]
pub struct Heartbeat {
    interval: Interval,
    reports: mpsc::Sender<WorkerReport>,
    turns: Number,
}

impl Heartbeat {
    /// The heartbeat of the calling loop, in its runtime. `turns` counts the beats.
    pub fn new(reports: mpsc::Sender<WorkerReport>, turns: Number) -> Self {
        let mut interval = interval(BEAT);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { interval, reports, turns }
    }

    /// Waits until a beat is due, and reports it. Cancel-safe.
    pub async fn beat(&mut self) {
        self.interval.tick().await;
        count(&self.turns);
        // If other reports fill the queue, the next beat is soon enough.
        let _ = self.reports.try_send(WorkerReport::LoopTurns);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_turns_beats_and_one_that_hangs_does_not() {
        let (reports, mut sent) = mpsc::channel(4);
        let turns = Number::default();
        let mut heartbeat = Heartbeat::new(reports, turns.clone());
        heartbeat.beat().await;
        heartbeat.beat().await;
        assert_eq!(sent.len(), 2);
        tokio::time::sleep(BEAT * 10).await;
        assert_eq!(sent.len(), 2);
        assert_eq!(sent.recv().await, Some(WorkerReport::LoopTurns));
        assert_eq!(turns.load(Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_of_reports_holds_up_no_loop() {
        let (reports, _sent) = mpsc::channel(1);
        let mut heartbeat = Heartbeat::new(reports, Number::default());
        for _ in 0..3 {
            heartbeat.beat().await;
        }
    }
}
