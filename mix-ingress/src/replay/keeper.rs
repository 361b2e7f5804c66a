//! The keeper of the replay filter: gets it back at the start, saves it from time to time and at the end, and begins
//! new generations.
//!
//! *Promises*: no packet is unwrapped before what is saved has been restored, however long `store` takes: until it is there
//! nothing could be delivered anyway, and a filter that forgot because `store` was slow could be made to forget. What
//! `store` cannot give back intact is given up, with a word in the log. Only what is new is saved, piece by piece, and no
//! thread that unwraps packets waits for it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use proto::{
    counter::count,
    ipc::{
        Opaque,
        control::ReplayConfig,
        ingress_store::{MARKS_LEN, ReplayGeneration, ReplayRequest},
    },
};
use tokio::{
    select,
    sync::{mpsc, oneshot},
    task::spawn_blocking,
    time::{Instant, sleep, sleep_until},
};

use super::{
    Generation, Marker, ReplayFilter, Shape,
    archive::{Archive, AskError, Line},
};
use crate::{counters::Counters, drain::Drain};

/// What the keeper works with.
pub(crate) struct Keeper {
    config: ReplayConfig,
    shape: Shape,
    archive: Archive,
    /// Number and marks of what is on disk, by the number's parity, as `store` keeps it.
    saved: [Option<(u64, u64)>; 2],
    counters: Arc<Counters>,
}

impl Keeper {
    /// `lines` brings a line to each incarnation of `store`.
    pub(crate) const fn new(
        config: ReplayConfig,
        shape: Shape,
        lines: mpsc::Receiver<Line>,
        counters: Arc<Counters>,
    ) -> Self {
        Self { config, shape, archive: Archive::new(lines), saved: [None; 2], counters }
    }

    /// Restores the filter, hands it to `open`, and keeps it until nothing will be marked any more.
    pub(crate) async fn run(mut self, open: oneshot::Sender<Marker>, drain: Drain) {
        let filter = select! {
            filter = self.restore() => Arc::new(filter),
            () = drain.begun() => return,
        };
        let (full, mut signals) = mpsc::channel(1);
        // Whoever waited for it may be told to end.
        let _ = open.send(Marker { filter: Arc::clone(&filter), full });
        let mut next_save = Instant::now() + self.config.snapshot_interval;
        loop {
            let old_in = self.config.period.saturating_sub(age(filter.current()));
            select! {
                signal = signals.recv() => match signal {
                    Some(_) if filter.is_full() => rotate(&filter).await,
                    Some(_) => {}
                    None => return self.save_last(&filter).await,
                },
                () = sleep_until(next_save) => {
                    self.save(&filter).await;
                    next_save = Instant::now() + self.config.snapshot_interval;
                }
                () = sleep(old_in) => rotate(&filter).await,
                () = self.archive.next_line() => {}
            }
        }
    }

    async fn restore(&mut self) -> ReplayFilter {
        loop {
            self.archive.next_line().await;
            // Without a link there will be another.
            let Ok(filter) = self.fetch().await else { continue };
            let bytes = self.shape.len().saturating_mul(2);
            let packets = filter.oldest_first().map(Generation::marked).iter().sum::<u64>();
            tracing::info!(
                packets,
                generation = filter.current().number(),
                packets_per_generation = self.config.packets_per_generation,
                bytes,
                "replay filter ready"
            );
            return filter;
        }
    }

    /// The filter as it was saved, as far as `store` can give it back.
    async fn fetch(&mut self) -> Result<ReplayFilter, AskError> {
        let mut kept = self.archive.list().await?;
        kept.retain(|saved| {
            let fits = self.shape.fits(saved);
            if !fits {
                let generation = saved.number;
                tracing::warn!(generation, "marks of packets seen are given up: [replay] was changed since");
            }
            fits
        });
        kept.sort_by_key(|saved| std::cmp::Reverse(saved.number));
        let now = seconds_since_1970();
        let Some(newest) = kept.first().copied() else {
            // Numbers never go back, or the remains of an earlier filter might be taken for the newest.
            return Ok(ReplayFilter::new(rand::random(), self.shape, self.config.packets_per_generation, now, now));
        };
        let per_generation = self.config.packets_per_generation;
        let filter = ReplayFilter::new(newest.seed, self.shape, per_generation, newest.number, newest.begun);
        let previous = newest.number.checked_sub(1);
        for saved in kept.iter().filter(|saved| {
            saved.number == newest.number || (Some(saved.number) == previous && saved.seed == newest.seed)
        }) {
            self.fetch_marks(&filter, saved).await?;
        }
        Ok(filter)
    }

    async fn fetch_marks(&mut self, filter: &ReplayFilter, saved: &ReplayGeneration) -> Result<(), AskError> {
        let mut restoring = filter.of_parity(saved.number).restore(saved);
        while !restoring.is_whole() {
            let marks = self.archive.read(saved.number, restoring.offset()).await?;
            if !restoring.take(&marks) {
                let generation = saved.number;
                tracing::error!(generation, "marks of packets seen cannot be read back; replays may not be noticed");
                return Ok(());
            }
        }
        *self.saved_as(saved.number) = Some((saved.number, saved.marked));
        Ok(())
    }

    /// Saves what is new, and says so if that fails: the next time may be better.
    async fn save(&mut self, filter: &ReplayFilter) {
        match self.save_new(filter).await {
            Ok(0) => {}
            Ok(generations) => {
                count(&self.counters.replay_snapshots_saved);
                tracing::debug!(generations, packets = filter.current().marked(), "replay filter saved");
            }
            Err(error) => {
                count(&self.counters.replay_snapshots_failed);
                tracing::warn!(%error, "the marks of packets seen were not saved; the next attempt comes in its time");
            }
        }
    }

    async fn save_last(&mut self, filter: &ReplayFilter) {
        self.save(filter).await;
        let packets = filter.oldest_first().map(Generation::marked).iter().sum::<u64>();
        tracing::info!(packets, generation = filter.current().number(), "replay filter closed");
    }

    /// Saves each generation that has changed, the older one first, so that what is on disk always fits together.
    async fn save_new(&mut self, filter: &ReplayFilter) -> Result<usize, AskError> {
        let mut generations = 0;
        for generation in filter.oldest_first() {
            let description = filter.describe(generation);
            let state = (description.number, description.marked);
            if description.marked == 0 || *self.saved_as(description.number) == Some(state) {
                continue;
            }
            self.archive.step(ReplayRequest::BeginSave { generation: description }).await?;
            for marks in generation.pieces(MARKS_LEN) {
                self.archive.step(ReplayRequest::WriteMarks { marks: Opaque(marks.into()) }).await?;
            }
            self.archive.step(ReplayRequest::CommitSave).await?;
            *self.saved_as(description.number) = Some(state);
            generations += 1;
        }
        Ok(generations)
    }

    const fn saved_as(&mut self, number: u64) -> &mut Option<(u64, u64)> {
        let [even, odd] = &mut self.saved;
        if number.is_multiple_of(2) { even } else { odd }
    }
}

/// Emptying a generation takes milliseconds, so not on a thread that others wait for.
async fn rotate(filter: &Arc<ReplayFilter>) {
    let filter = Arc::clone(filter);
    let rotated = spawn_blocking(move || {
        let packets = filter.current().marked();
        filter.rotate(seconds_since_1970());
        tracing::info!(generation = filter.current().number(), packets_before = packets, "replay filter rotated");
    });
    if let Err(error) = rotated.await {
        tracing::error!(%error, "the replay filter was not rotated");
    }
}

fn age(generation: &Generation) -> Duration {
    Duration::from_secs(seconds_since_1970().saturating_sub(generation.begun()))
}

fn seconds_since_1970() -> u64 {
    // A clock before 1970 is a clock that was never set.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
