//! Which states of the medium are looked at: all that there may be are too many.
//!
//! At each line where something was promised, and around each change of a name, the extremes; and at random lines some of everything.

use std::{
    fmt,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Error, Result, anyhow};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};

use super::{History, Lottery, Opened, Promises};

/// A loss of power just before a line, and what it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// The line of the trace.
    pub line: usize,
    /// What becomes of what is in doubt.
    pub lottery: Lottery,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "power lost before line {}, {}", self.line, self.lottery)
    }
}

/// A history, what was promised in it, and how to open its images.
#[derive(Debug)]
pub struct Search<'a> {
    /// What was done to the folder of data.
    pub history: &'a History,
    /// What was promised meanwhile.
    pub promises: &'a Promises,
    /// `data_bytes` of the configuration.
    pub limit: u64,
    /// Lines of the trace.
    pub lines: usize,
}

impl Search<'_> {
    /// Some cases, those first that cannot be left out.
    pub fn cases(&self, seed: u64) -> Vec<Case> {
        let mut random = StdRng::seed_from_u64(seed);
        let promised = self.promises.lines();
        let first = promised.first().copied().unwrap_or(0);
        // A promise holds from the line on that makes it.
        let mut lines: Vec<usize> = promised.iter().map(|line| line + 1).collect();
        let turns = self.history.turning_points();
        lines.extend(turns.iter().filter(|line| **line > first).flat_map(|line| [*line, line + 1]));
        lines.sort_unstable();
        lines.dedup();
        let case = |line: usize, lottery: Lottery| Case { line, lottery };
        let mut extremes: Vec<Case> = Vec::new();
        for lottery in Lottery::EXTREMES {
            extremes.extend(lines.iter().map(|line| case(*line, lottery)));
        }
        let mut cases = vec![case(self.lines, Lottery::by_chance(seed))];
        let by_chance = (0..extremes.len()).map(|_| {
            let line = random.random_range(first..=self.lines);
            case(line, Lottery::by_chance(random.random()))
        });
        extremes.extend(by_chance.collect::<Vec<_>>());
        extremes.shuffle(&mut random);
        cases.extend(extremes);
        cases
    }

    /// Looks at cases, in `folder`, until the time is over. Says how many were looked at.
    ///
    /// # Errors
    /// If a promise is broken in one of them.
    pub fn run(&self, cases: &[Case], folder: &Path, limit: Duration) -> Result<usize> {
        const THREADS: usize = 2;
        let end = Instant::now() + limit;
        let next = AtomicUsize::new(0);
        let failure: Mutex<Option<Error>> = Mutex::new(None);
        let looked = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    while let Some((number, case)) = cases
                        .get(next.fetch_add(1, Ordering::Relaxed))
                        .map(|case| (looked.fetch_add(1, Ordering::Relaxed), case))
                    {
                        let outcome = self.look_at(case, &folder.join(number.to_string()));
                        let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
                        if let Err(error) = outcome {
                            failure.get_or_insert(error);
                        }
                        if failure.is_some() || Instant::now() >= end {
                            break;
                        }
                    }
                });
            }
        });
        match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(looked.into_inner()),
        }
    }

    /// Looks at one case.
    ///
    /// # Errors
    /// If a promise is broken.
    pub fn look_at(&self, case: &Case, folder: &Path) -> Result<()> {
        self.open(case, folder).with_context(|| {
            let doubts = self.history.names_in_doubt(case.line);
            let doubts: Vec<String> = doubts.iter().map(|step| format!("{}: {}", step.began, step.change)).collect();
            format!("{case}; names in doubt: {doubts:?}")
        })
    }

    fn open(&self, case: &Case, folder: &Path) -> Result<()> {
        std::fs::create_dir(folder)?;
        self.history.image(case.line, case.lottery).write_to(self.history, folder)?;
        let opened = Opened::open(folder, self.limit)?;
        for (client, claim) in self.promises.at(case.line) {
            opened.check(&client, &claim).map_err(|error| anyhow!("client {client}: {error:#}"))?;
        }
        drop(opened);
        std::fs::remove_dir_all(folder)?;
        Ok(())
    }
}
