//! The queue between the code that logs and standard error.
//!
//! Standard error may be a pipe that nobody reads or whose reader is gone, a full disk, or a stopped terminal. Therefore lines
//! go through a bounded queue to a thread that only writes them. *Promises*: logging never waits. A line that
//! does not fit into the queue, or cannot be written, is counted, and the count is written before the next line.

use std::{
    io::{self, Write},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::errno::Errno;
use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;

use ipc::log::LineFormat;

use crate::line::head;

/// Most bytes that wait to be written. A line has about a hundred bytes, so a burst of some thousand lines fits.
const QUEUE_BYTES: usize = 512 << 10;
/// Longest line in bytes; the rest of a longer one is cut off.
const LINE_BYTES: usize = 8 << 10;
/// The id of the warning that lines are lost.
const LOST: &str = "GWD-L001";
/// Pause before the next attempt to write, if standard error is non-blocking and full.
const PAUSE: Duration = Duration::from_millis(20);
/// Stack of the thread in bytes. It holds one line.
const STACK: usize = 64 << 10;

/// The lines of this process.
pub(super) static LINES: OnceLock<Lines> = OnceLock::new();

/// The lines that wait, and the number of lost ones.
#[derive(Debug)]
pub(super) struct Lines(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    process: &'static str,
    format: LineFormat,
    queue: Mutex<Queue>,
    changed: Condvar,
    lost: AtomicU64,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<u8>,
    /// The thread holds lines that it has not written yet.
    busy: bool,
    has_thread: bool,
}

/// Starts the queue of this process, or returns `None` if there is one already.
pub(super) fn begin(process: &'static str, format: LineFormat) -> Option<LineWriter> {
    let shared =
        Arc::new(Shared { process, format, queue: Mutex::default(), changed: Condvar::new(), lost: AtomicU64::new(0) });
    LINES.set(Lines(Arc::clone(&shared))).ok().map(|()| LineWriter(shared))
}

impl Lines {
    pub(super) fn start_thread(&self) -> io::Result<()> {
        self.0.queue().has_thread = true;
        let shared = Arc::clone(&self.0);
        let write = move || shared.write_for_ever(&mut StandardError);
        // The thread is never joined, since it may wait for a reader that never comes. It ends with the process.
        let started = thread::Builder::new().name("log".into()).stack_size(STACK).spawn(write).map(drop);
        if started.is_err() {
            self.0.queue().has_thread = false;
        }
        started
    }

    pub(super) fn flush(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        let mut queue = self.0.queue();
        if !queue.has_thread {
            let lines = std::mem::take(&mut queue.waiting);
            drop(queue);
            return self.0.write(&lines, &mut StandardError);
        }
        while queue.busy || !queue.waiting.is_empty() {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return };
            queue = self.0.changed.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // The queue is consistent at any moment, even after a panic.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, line: &[u8]) {
        let (line, cut) = match line.get(..LINE_BYTES) {
            Some(head) if line.len() > LINE_BYTES => (head, true),
            _ => (line, false),
        };
        let mut queue = self.queue();
        if queue.waiting.len() + line.len() > QUEUE_BYTES {
            drop(queue);
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        queue.waiting.extend_from_slice(line);
        if cut {
            queue.waiting.push(b'\n');
        }
        drop(queue);
        self.changed.notify_all();
    }

    fn write_for_ever(&self, out: &mut impl Write) {
        loop {
            let mut queue = self.queue();
            while queue.waiting.is_empty() {
                queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            let lines = std::mem::take(&mut queue.waiting);
            queue.busy = true;
            drop(queue);
            self.write(&lines, out);
            self.queue().busy = false;
            self.changed.notify_all();
        }
    }

    /// Writes line by line, so that lines of several processes do not mix.
    fn write(&self, lines: &[u8], out: &mut impl Write) {
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            let lost = self.lost.load(Ordering::Relaxed);
            if lost > 0 {
                let head = head(self.format, Level::WARN, self.process);
                let notice = format!("{head}{LOST} log lines could not be written and are lost lines={lost}\n");
                if out.write_all(notice.as_bytes()).is_err() {
                    self.lost.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                self.lost.fetch_sub(lost, Ordering::Relaxed);
            }
            if out.write_all(line).is_err() {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Puts each line into the queue.
#[derive(Clone, Debug)]
pub(super) struct LineWriter(Arc<Shared>);

impl<'a> MakeWriter<'a> for LineWriter {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

/// Called once for each line. Never fails.
impl Write for &LineWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.put(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Standard error without the lock of the standard library, for which other writers would wait.
struct StandardError;

impl Write for StandardError {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match nix::unistd::write(io::stderr(), bytes) {
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => thread::sleep(PAUSE),
                written => return Ok(written?),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared() -> Shared {
        Shared {
            process: "store",
            format: LineFormat::Journal,
            queue: Mutex::default(),
            changed: Condvar::new(),
            lost: AtomicU64::new(0),
        }
    }

    fn take(shared: &Shared) -> Vec<u8> {
        std::mem::take(&mut shared.queue().waiting)
    }

    /// Fails so often, then takes everything.
    struct Failing {
        times: usize,
        written: Vec<u8>,
    }

    impl Write for Failing {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if let Some(times) = self.times.checked_sub(1) {
                self.times = times;
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.written.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lost_lines_are_said_once_writing_works_again() {
        let shared = shared();
        for line in ["one\n", "two\n", "three\n", "four\n"] {
            shared.put(line.as_bytes());
        }
        let mut out = Failing { times: 2, written: Vec::new() };
        shared.write(&take(&shared), &mut out);
        let notice = "<4>store > GWD-L001 log lines could not be written and are lost lines=2\n";
        assert_eq!(String::from_utf8(out.written).unwrap(), format!("{notice}three\nfour\n"));
        assert_eq!(shared.lost.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_full_queue_drops_the_newest_and_counts_it() {
        let shared = shared();
        let line = [b"x".repeat(1023), b"\n".to_vec()].concat();
        for _ in 0..QUEUE_BYTES / line.len() + 3 {
            shared.put(&line);
        }
        assert_eq!(take(&shared).len(), QUEUE_BYTES);
        assert_eq!(shared.lost.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_and_still_a_line() {
        let shared = shared();
        shared.put(&b"x".repeat(LINE_BYTES * 2));
        shared.put(b"next\n");
        let lines = take(&shared);
        assert_eq!(lines.len(), LINE_BYTES + 1 + 5);
        assert_eq!(lines.split_inclusive(|byte| *byte == b'\n').count(), 2);
    }
}
