//! Tells the supervisor once a minute how many packets were counted, for `http-api` to show.

use std::time::Duration;

use ipc::{control::WorkerReport, http_api::PacketFigures};
use tokio::sync::mpsc;

/// Time between two reports.
const PERIOD: Duration = Duration::from_secs(60);

/// Reports what `count` has grown by, until dropped. A report for which there is no room becomes part of the next one.
pub async fn report_packets(reports: mpsc::Sender<WorkerReport>, count: impl Fn() -> PacketFigures + Send) {
    let mut told = PacketFigures::default();
    loop {
        tokio::time::sleep(PERIOD).await;
        let now = count();
        let grown = now.since(told);
        if grown == PacketFigures::default() || reports.try_send(WorkerReport::CountPackets(grown)).is_ok() {
            told = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn packets_are_reported_once_whatever_the_queue() {
        let (reports, mut sent) = mpsc::channel(1);
        let counted = std::sync::Arc::new(AtomicU64::new(0));
        let received = std::sync::Arc::clone(&counted);
        let count = move || PacketFigures { received: received.load(Relaxed), ..PacketFigures::default() };
        let task = tokio::spawn(report_packets(reports, count));
        let told = |received| WorkerReport::CountPackets(PacketFigures { received, ..PacketFigures::default() });
        counted.store(5, Relaxed);
        tokio::time::sleep(PERIOD * 3 / 2).await;
        // The queue is full at the second and third look.
        counted.store(9, Relaxed);
        tokio::time::sleep(PERIOD * 2).await;
        assert_eq!(sent.recv().await, Some(told(5)));
        assert_eq!(sent.recv().await, Some(told(4)));
        task.abort();
    }
}
