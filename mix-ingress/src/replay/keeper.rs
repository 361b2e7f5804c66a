//! The keeper of the replay filter: restores the filter at the start, saves it at intervals and at the end, and begins new
//! generations.
//!
//! *Promises*: no packet is unwrapped before the saved marks are restored, however long `store` takes. Without `store` nothing could be
//! delivered anyway, and an attacker who slows `store` down must not make the filter forget. Marks that `store` cannot return intact
//! are given up, and the log says so. Only new marks are saved, piece by piece, and no thread that unwraps packets waits for that.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use ipc::{
    Opaque,
    ingress_store::{MARKS_LEN, ReplayGeneration, ReplayRequest},
};
use tokio::{
    select,
    sync::{mpsc, oneshot},
    task::spawn_blocking,
    time::{Instant, sleep, sleep_until},
};
use worker::{counter::count, drain::Drain};

use super::{
    Generation, Marker, ReplayFilter,
    archive::{Archive, ArchiveLink, AskError},
    generation::Restoring,
    retention::{Clock, Retention},
    shares,
};
use crate::counters::Counters;

/// The task that keeps the filter.
pub(crate) struct Keeper {
    retention: Retention,
    snapshot_interval: Duration,
    archive: Archive,
    clock: Clock,
    /// The number of marks on disk for each generation, by its number.
    saved: BTreeMap<u64, u64>,
    counters: Arc<Counters>,
}

impl Keeper {
    /// `links` brings a link to each incarnation of `store`.
    pub(crate) fn new(
        retention: Retention,
        snapshot_interval: Duration,
        links: mpsc::Receiver<ArchiveLink>,
        counters: Arc<Counters>,
    ) -> Self {
        let (archive, clock) = (Archive::new(links), Clock::start());
        Self { retention, snapshot_interval, archive, clock, saved: BTreeMap::new(), counters }
    }

    /// Restores the filter, hands it to `open`, and keeps it until its last [`Marker`] is dropped.
    pub(crate) async fn run(mut self, open: oneshot::Sender<Marker>, drain: Drain) {
        let filter = select! {
            filter = self.restore() => Arc::new(filter),
            () = drain.begun() => return,
        };
        let (full, mut signals) = mpsc::channel(1);
        // The receiver may have ended because the worker drains.
        let _ = open.send(Marker { filter: Arc::clone(&filter), clock: self.clock, full });
        let mut next_save = Instant::now() + self.snapshot_interval;
        let mut next_shares = Instant::now() + shares::INTERVAL;
        loop {
            self.show(&filter);
            select! {
                signal = signals.recv() => match signal {
                    Some(_) => {}
                    None => return self.save_last(&filter).await,
                },
                () = sleep_until(next_save) => {
                    self.save(&filter).await;
                    next_save = Instant::now() + self.snapshot_interval;
                }
                () = sleep_until(next_shares) => {
                    filter.begin_share_interval();
                    next_shares = Instant::now() + shares::INTERVAL;
                }
                () = sleep(filter.idle_for(self.clock.now())) => {}
                () = self.archive.next_link() => {}
            }
            if filter.idle_for(self.clock.now()).is_zero() {
                tend(&filter, self.clock.now()).await;
            }
        }
    }

    async fn restore(&mut self) -> ReplayFilter {
        loop {
            self.archive.next_link().await;
            // If the link ends meanwhile, the next one is tried.
            let Ok(filter) = self.fetch().await else { continue };
            tracing::info!(
                packets = packets(&filter),
                generation = filter.current().number(),
                generations_at_most = self.retention.generations,
                bytes_per_generation = self.retention.shape.len(),
                accepted_per_second = self.retention.packets_per_second(),
                "replay filter ready"
            );
            return filter;
        }
    }

    /// The saved filter, as far as `store` can return it.
    async fn fetch(&mut self) -> Result<ReplayFilter, AskError> {
        let mut kept = self.archive.list().await?;
        kept.sort_by_key(|saved| std::cmp::Reverse(saved.number));
        kept.dedup_by_key(|saved| saved.number);
        let now = self.clock.now();
        let newest = kept.first().map(|newest| newest.number);
        kept.retain(|saved| {
            let fits = self.retention.fits(saved);
            if !fits {
                let generation = saved.number;
                tracing::warn!(
                    id = "GWD-I001",
                    generation,
                    "marks of packets seen are given up: [replay] was changed since"
                );
            }
            fits
        });
        let seed = kept.first().map_or_else(rand::random, |newest| newest.seed);
        // A packet is hashed once for all generations, so they need the same seed.
        kept.retain(|saved| saved.seed == seed);
        kept.truncate(self.retention.generations);
        let mut older = VecDeque::new();
        for saved in kept.iter().rev() {
            older.extend(self.fetch_generation(saved, now).await?.map(Arc::new));
        }
        let current = match older.pop_back_if(|last| Some(last.number()) == newest) {
            Some(current) => current,
            // Numbers never go back, because the remains of an earlier filter might be taken for the newest.
            None => {
                older.drain(..older.len().saturating_sub(self.retention.generations.saturating_sub(1)));
                let number = newest.map_or(0, |newest| newest.saturating_add(1)).max(now.as_secs());
                Arc::new(Generation::new(self.retention.shape, number, now))
            }
        };
        Ok(ReplayFilter::new(seed, self.retention, older, current))
    }

    async fn fetch_generation(
        &mut self,
        saved: &ReplayGeneration,
        now: Duration,
    ) -> Result<Option<Generation>, AskError> {
        let mut restoring = Restoring::begin(self.retention.shape, saved, now);
        while !restoring.is_whole() {
            let marks = self.archive.read(saved.number, restoring.offset()).await?;
            if !restoring.take(&marks) {
                let generation = saved.number;
                tracing::error!(
                    id = "GWD-I002",
                    generation,
                    "marks of packets seen cannot be read back; replays may not be noticed"
                );
                return Ok(None);
            }
        }
        self.saved.insert(saved.number, saved.marked);
        Ok(restoring.finish())
    }

    /// Saves new marks, and logs a failure. The next attempt comes after the usual interval.
    async fn save(&mut self, filter: &ReplayFilter) {
        match self.save_new(filter).await {
            Ok(generations) => {
                self.counters.replay_saved_timestamp.store(self.clock.now().as_secs(), Relaxed);
                if generations == 0 {
                    return;
                }
                count(&self.counters.replay_snapshots_saved);
                tracing::debug!(generations, packets = filter.current().marked(), "replay filter saved");
            }
            Err(error) => {
                count(&self.counters.replay_snapshots_failed);
                tracing::warn!(
                    id = "GWD-I003", %error,
                    "the marks of packets seen were not saved; the next attempt comes in its time"
                );
            }
        }
    }

    /// Shows how many marks there are. Called whenever the loop turns, once for each interval of the shares at the least.
    fn show(&self, filter: &ReplayFilter) {
        self.counters.replay_marks.store(packets(filter), Relaxed);
        self.counters.replay_marks_limit.store(self.retention.packets(), Relaxed);
    }

    async fn save_last(&mut self, filter: &ReplayFilter) {
        self.save(filter).await;
        tracing::info!(packets = packets(filter), generation = filter.current().number(), "replay filter closed");
    }

    /// Saves each generation that has changed, the oldest first, so that the generations on disk always fit together.
    async fn save_new(&mut self, filter: &ReplayFilter) -> Result<usize, AskError> {
        let generations = filter.oldest_first();
        let live: Vec<u64> = generations.iter().map(|generation| generation.number()).collect();
        self.saved.retain(|number, _| live.contains(number));
        let mut saved = 0;
        for generation in generations {
            let description = filter.describe(&generation);
            let (number, marked) = (description.number, description.marked);
            if marked == 0 || self.saved.get(&number) == Some(&marked) {
                continue;
            }
            self.archive.step(ReplayRequest::BeginSave { generation: description, live: live.clone() }).await?;
            self.write_marks(&generation).await?;
            self.archive.step(ReplayRequest::CommitSave).await?;
            self.saved.insert(number, marked);
            saved += 1;
        }
        Ok(saved)
    }

    async fn write_marks(&mut self, generation: &Generation) -> Result<(), AskError> {
        let mut offset = 0;
        loop {
            let marks = generation.piece(offset, MARKS_LEN);
            if marks.is_empty() {
                return Ok(());
            }
            offset += marks.len();
            self.archive.step(ReplayRequest::WriteMarks { marks: Opaque(marks.into()) }).await?;
        }
    }
}

fn packets(filter: &ReplayFilter) -> u64 {
    filter.oldest_first().iter().map(|generation| generation.marked()).sum()
}

/// Making a generation takes milliseconds, so it is done on a blocking thread.
async fn tend(filter: &Arc<ReplayFilter>, now: Duration) {
    let filter = Arc::clone(filter);
    let tended = spawn_blocking(move || {
        let packets_before = filter.current().marked();
        if filter.tend(now) {
            let generations = filter.oldest_first().len();
            tracing::info!(
                generation = filter.current().number(),
                generations,
                packets_before,
                "replay filter rotated"
            );
        }
    });
    if let Err(error) = tended.await {
        tracing::error!(id = "GWD-I004", %error, "no new generation of the replay filter was begun");
    }
}
