//! Whether what the gateway uses stays level: memory and descriptors of each process, and its disk, looked at again and again.
//! The judgement compares the last quarter of the run with the second; the first is for caches that fill.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use harness::{output::say, process::Process, usage::processes};
use tokio::{sync::watch, task::JoinHandle};

/// What may be more in the end: a tenth, and a little that is noise.
const GROWTH: f64 = 1.10;
const NOISE_KIB: f64 = 2_048.0;
const NOISE_DESCRIPTORS: f64 = 8.0;
/// sled reuses its segments, in pieces of 4 MiB.
const NOISE_DISK_KIB: f64 = 32_768.0;

/// By what is measured: `store KiB`, `store fds`, `disk KiB`.
type Sample = BTreeMap<String, f64>;

/// Looks at a gateway.
pub(crate) struct Levels {
    samples: Arc<Mutex<Vec<Sample>>>,
    looking: JoinHandle<()>,
}

impl Levels {
    /// Looks every `period`, and says what it sees.
    pub(crate) fn watch(supervisor: watch::Receiver<Process>, data: PathBuf, period: Duration) -> Self {
        let samples = Arc::new(Mutex::new(Vec::new()));
        let keep = samples.clone();
        let begin = Instant::now();
        let looking = tokio::spawn(async move {
            loop {
                tokio::time::sleep(period).await;
                let now = *supervisor.borrow();
                let sample = look(now, &data);
                if say(format_args!("{:7.1} s  {}", begin.elapsed().as_secs_f64(), words(&sample))).is_err() {
                    return;
                }
                keep.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
            }
        });
        Self { samples, looking }
    }

    /// What has grown, in words.
    pub(crate) fn judge(&self) -> Vec<String> {
        judge(&self.samples.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Levels {
    fn drop(&mut self) {
        self.looking.abort();
    }
}

fn look(supervisor: Process, data: &Path) -> Sample {
    let mut sample = Sample::new();
    for (name, process) in processes(supervisor) {
        if let (Ok(memory), Ok(descriptors)) = (process.resident(), process.descriptors()) {
            sample.insert(format!("{name} KiB"), (memory >> 10) as f64);
            sample.insert(format!("{name} fds"), descriptors.len() as f64);
        }
    }
    sample.insert("disk KiB".to_owned(), disk_kib(data));
    sample
}

fn words(sample: &Sample) -> String {
    let words: Vec<String> = sample.iter().map(|(what, value)| format!("{what} {value:.0}")).collect();
    words.join(", ")
}

fn disk_kib(path: &Path) -> f64 {
    const BLOCK: f64 = 512.0;
    let own = path.symlink_metadata().map_or(0, |metadata| metadata.blocks());
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| disk_kib(&entry.path())).sum::<f64>() + own as f64 * BLOCK / 1024.0
}

fn judge(samples: &[Sample]) -> Vec<String> {
    let quarter = samples.len() / 4;
    let mean = |what: &str, skip: usize| {
        let values: Vec<f64> =
            samples.iter().skip(skip).take(quarter).filter_map(|sample| sample.get(what).copied()).collect();
        values.iter().sum::<f64>() / values.len() as f64
    };
    let mut grown = Vec::new();
    for what in samples.last().into_iter().flat_map(BTreeMap::keys) {
        let (before, after) = (mean(what, quarter), mean(what, samples.len() - quarter));
        let noise = match what.as_str() {
            "disk KiB" => NOISE_DISK_KIB,
            memory if memory.ends_with("KiB") => NOISE_KIB,
            _ => NOISE_DESCRIPTORS,
        };
        // Without samples there is no mean, and nothing is level.
        if after.is_nan() || before.is_nan() || after > before * GROWTH + noise {
            grown.push(format!("{what} grew from {before:.0} to {after:.0}"));
        }
    }
    grown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_is_named_and_what_fills_at_first_is_not() {
        let sample =
            |level: f64, leak: f64| Sample::from([("store KiB".to_owned(), level), ("store fds".to_owned(), leak)]);
        let samples: Vec<Sample> =
            (0..40).map(|at| sample(if at < 5 { 1_000.0 } else { 90_000.0 }, f64::from(at) * 2.0)).collect();
        assert_eq!(judge(&samples), ["store fds grew from 29 to 69"]);
        assert!(!judge(&samples[..2]).is_empty());
    }
}
