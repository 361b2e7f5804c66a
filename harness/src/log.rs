//! The gateway's standard error, line by line: kept, repeated on the test's own, and waited for.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    sync::watch,
    task::JoinHandle,
};

use crate::{deadline, process::Process};

/// What the supervisor writes when a process was killed by its own filter of system calls.
pub const REFUSAL: &str = "died of a system call that its policy does not list";

/// Everything one run of the gateway has written so far.
#[derive(Debug)]
pub struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    /// Refusals that the test has provoked.
    expected: Mutex<Vec<String>>,
    changed: watch::Receiver<usize>,
    reader: JoinHandle<()>,
}

impl Log {
    /// Reads `source` to its end in a task of its own.
    pub fn follow(source: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (tell, changed) = watch::channel(0);
        let keep = lines.clone();
        let reader = tokio::spawn(async move {
            let mut source = BufReader::new(source);
            let mut line = Vec::new();
            while matches!(source.read_until(b'\n', &mut line).await, Ok(1..)) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                eprintln!("{text}");
                line.clear();
                let count = {
                    let mut lines = keep.lock().unwrap_or_else(PoisonError::into_inner);
                    lines.push(text);
                    lines.len()
                };
                tell.send_replace(count);
            }
        });
        Self { lines, expected: Mutex::default(), changed, reader }
    }

    /// Closes the reading end: what is written from now on is lost.
    pub fn stop_reading(&self) {
        self.reader.abort();
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The first thing that `find` finds in a line, waiting for it if need be.
    ///
    /// # Errors
    /// If no such line comes, or the process ended before it.
    pub async fn wait_for<T>(&self, what: &str, find: impl Fn(&str) -> Option<T>) -> Result<T> {
        let mut changed = self.changed.clone();
        let look = || self.lines().iter().find_map(|line| find(line));
        let what = format!("a log line: {what}");
        // An error means that the log has ended; the line may still be its last one.
        let _ = deadline::soon(&what, changed.wait_for(|_| look().is_some())).await?;
        look().with_context(|| format!("the gateway ended before it wrote {what}"))
    }
}

impl Log {
    /// Waits until everything is read that was written, once all that write are gone.
    ///
    /// # Errors
    /// If a process may still write.
    pub async fn wait_for_end(&self) -> Result<()> {
        let mut changed = self.changed.clone();
        deadline::soon("the end of the log", async { while changed.changed().await.is_ok() {} }).await
    }

    /// Waits until the jail of this worker has killed it for this system call. That death, and no other, may be in the log of a
    /// test that goes well.
    ///
    /// # Errors
    /// If it does not.
    pub async fn expect_refusal(&self, worker: &str, process: Process, syscall: &str) -> Result<()> {
        let pid = process.0.to_string();
        let is_it = |line: &str| {
            let fits = [("worker", worker), ("pid", pid.as_str()), ("syscall", syscall)];
            line.contains(REFUSAL) && fits.iter().all(|(name, value)| field(line, name) == Some(*value))
        };
        let found = |line: &str| is_it(line).then(|| line.to_owned());
        let line = self.wait_for(&format!("{worker} dies of {syscall}"), found).await?;
        self.expected.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        Ok(())
    }
}

impl Drop for Log {
    /// A test fails if the jail of a process killed it, unless the test has provoked that.
    fn drop(&mut self) {
        self.reader.abort();
        let lines = self.lines();
        let expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        let refusal = lines.iter().find(|line| line.contains(REFUSAL) && !expected.contains(line));
        assert!(refusal.is_none() || std::thread::panicking(), "its own policy does not list what it did: {refusal:?}");
    }
}

/// The value of `name=` in a log line.
pub fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split_whitespace()
        .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
        .map(|value| value.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waits_for_lines_and_notices_the_end() {
        let log = Log::follow(&b" 2021 INFO gatewayd > ready worker=store pid=42\nlast"[..]);
        let pid = log.wait_for("ready", |line| field(line, "pid")?.parse::<u32>().ok()).await.unwrap();
        assert_eq!(pid, 42);
        assert!(log.wait_for("never", |line| line.contains("never").then_some(())).await.is_err());
        assert_eq!(log.lines().last().unwrap(), "last");
    }

    #[tokio::test]
    #[should_panic(expected = "its own policy does not list")]
    async fn a_process_killed_by_its_own_filter_fails_the_test() {
        let line = format!(" 2021 ERROR gatewayd > worker {REFUSAL} worker=store syscall=\"socket\"\n");
        let log = Log::follow(std::io::Cursor::new(line));
        log.wait_for("the death", |line| line.contains(REFUSAL).then_some(())).await.unwrap();
    }

    #[tokio::test]
    #[should_panic(expected = "pid=8")]
    async fn one_expected_death_excuses_no_other() {
        let died = |pid| format!("ERROR gatewayd > worker {REFUSAL} worker=store pid={pid} syscall=\"socket\"\n");
        let log = Log::follow(std::io::Cursor::new(died(7) + &died(8)));
        log.wait_for("the second death", |line| line.contains("pid=8").then_some(())).await.unwrap();
        log.expect_refusal("store", Process(7), "socket").await.unwrap();
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let line = "started worker=\"mix-ingress\" pid=7 ppid=1";
        assert_eq!(field(line, "worker"), Some("mix-ingress"));
        assert_eq!(field(line, "pid"), Some("7"));
        assert_eq!(field(line, "id"), None);
    }
}
