//! The threads of a worker, which start only in a closed jail.

use std::io;

use sandbox::Closed;
use tokio::runtime::{Builder, Runtime};

/// How many threads run the tasks of a worker. One more writes the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// The calling thread alone.
    One,
    /// So many for tasks, and at most as many for blocking work. The system shares the cores among them.
    Many(usize),
}

/// Starts the thread of the log, and the runtime.
///
/// # Errors
/// If a thread or the runtime cannot be started.
pub fn start_threads(_: &Closed, threads: Threads) -> io::Result<Runtime> {
    logging::write_in_background()?;
    match threads {
        Threads::One => Builder::new_current_thread().enable_all().build(),
        Threads::Many(threads) => {
            let threads = threads.max(1);
            Builder::new_multi_thread().worker_threads(threads).max_blocking_threads(threads).enable_all().build()
        }
    }
}
