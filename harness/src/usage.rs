//! What each process of the gateway uses.

use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, task::JoinHandle};

use crate::{gateway::WORKERS, process::Process};

const LOOK: Duration = Duration::from_millis(250);

/// The supervisor and its children, by name.
pub fn processes(supervisor: Process) -> Vec<(String, Process)> {
    let pid = supervisor.0;
    let mut processes = vec![("supervisor".to_owned(), supervisor)];
    // A gateway that has just died has no processes.
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    for child in children.split_whitespace().filter_map(|child| child.parse().ok()).map(Process) {
        let name = fs::read_to_string(format!("/proc/{}/comm", child.0)).unwrap_or_default();
        // A process with another name has not executed its program yet.
        if WORKERS.contains(&name.trim_end()) {
            processes.push((name.trim_end().to_owned(), child));
        }
    }
    processes
}

/// The most memory that each process has had resident, in KiB.
#[derive(Debug)]
pub struct Peaks {
    peaks: Arc<Mutex<BTreeMap<String, u64>>>,
    looking: JoinHandle<()>,
}

impl Peaks {
    /// Looks at the gateway with this supervisor again and again.
    pub fn watch(supervisor: watch::Receiver<Process>) -> Self {
        let peaks = Arc::new(Mutex::new(BTreeMap::new()));
        let keep = peaks.clone();
        let looking = tokio::spawn(async move {
            loop {
                let now = *supervisor.borrow();
                for (name, process) in processes(now) {
                    let Ok(kib) = process.peak().map(|bytes| bytes >> 10) else { continue };
                    let mut peaks = keep.lock().unwrap_or_else(PoisonError::into_inner);
                    let peak = peaks.entry(name).or_default();
                    *peak = kib.max(*peak);
                }
                tokio::time::sleep(LOOK).await;
            }
        });
        Self { peaks, looking }
    }

    /// What has been seen.
    pub fn seen(&self) -> BTreeMap<String, u64> {
        self.peaks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Peaks {
    fn drop(&mut self) {
        self.looking.abort();
    }
}
