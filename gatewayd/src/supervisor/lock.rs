//! One supervisor per gateway: a locked file that holds its process number.
//!
//! *Promises*: the lock is the kernel's (`flock`), so a crash leaves none behind, though a child that was being made may hold it for
//! a moment longer, which is waited for; what a stale file says is never believed.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    unistd::Pid,
};

use super::alive::runs;

/// The file's name in the runtime directory.
const FILE: &str = "gatewayd.pid";
/// Longest process number, in characters.
const PID_LEN: u64 = 20;
/// How long the lock, or a port, may be held by what is left of a supervisor that was killed: its children die with it, but not at
/// the same instant.
pub(super) const PREDECESSOR: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

/// Why this supervisor may not run.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another one does.
    #[error("gateway \"{id}\" is already running (pid {pid}); stop that process first, or run another id")]
    Running {
        /// The gateway.
        id: String,
        /// The other supervisor, as its file says.
        pid: String,
    },
    /// The runtime directory or the file cannot be used.
    #[error("cannot {step} {}: {source}; the account that runs gatewayd must be able to write there", path.display())]
    Unusable {
        /// What failed.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// The right to run a gateway, for as long as this lives.
#[derive(Debug)]
pub(super) struct RunLock(Flock<File>);

impl RunLock {
    /// Takes the lock of gateway `id` in `run_dir`, which is made (0700) if it is missing.
    ///
    /// # Errors
    /// [`LockError::Running`] if another process holds it.
    pub(super) fn take(run_dir: &Path, id: &str) -> Result<Self, LockError> {
        let unusable = |step, path: &Path| {
            let path = path.to_owned();
            move |source| LockError::Unusable { step, path, source }
        };
        DirBuilder::new().recursive(true).mode(0o700).create(run_dir).map_err(unusable("create", run_dir))?;
        let path = run_dir.join(FILE);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(unusable("open", &path))?;
        let patience = Instant::now() + PREDECESSOR;
        loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => {
                    let mut lock = Self(lock);
                    lock.write_pid().map_err(unusable("write", &path))?;
                    return Ok(lock);
                }
                Err((held, Errno::EWOULDBLOCK)) => {
                    file = held;
                    let holder = read_pid(&mut file);
                    if holder.is_some_and(runs) || Instant::now() >= patience {
                        let pid = holder.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string());
                        return Err(LockError::Running { id: id.to_owned(), pid });
                    }
                    thread::sleep(PAUSE);
                }
                Err((_, errno)) => return Err(unusable("lock", &path)(errno.into())),
            }
        }
    }

    fn write_pid(&mut self) -> io::Result<()> {
        self.0.set_len(0)?;
        self.0.rewind()?;
        writeln!(self.0, "{}", std::process::id())
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // Nobody shall signal a number that is no longer ours. If it fails, the lock is gone all the same.
        let _ = self.0.set_len(0);
    }
}

/// The number in the file, if it is one.
fn read_pid(file: &mut File) -> Option<Pid> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(PID_LEN).read_to_string(&mut text).ok()?;
    let pid: i32 = text.trim().parse().ok()?;
    (pid > 0).then(|| Pid::from_raw(pid))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_second_is_told_who_is_the_first() {
        let home = tempfile::tempdir().unwrap();
        let run = home.path().join("run");
        let first = RunLock::take(&run, "demo").unwrap();
        assert_eq!(std::fs::metadata(&run).unwrap().permissions().mode() & 0o7777, 0o700);
        let error = RunLock::take(&run, "demo").unwrap_err();
        let pid = std::process::id();
        assert_eq!(
            error.to_string(),
            format!("gateway \"demo\" is already running (pid {pid}); stop that process first, or run another id")
        );
        drop(first);
        assert_eq!(std::fs::read_to_string(run.join(FILE)).unwrap(), "");
        RunLock::take(&run, "demo").unwrap();
    }

    #[test]
    fn a_stale_file_is_no_lock_and_a_strange_one_is_not_quoted() {
        let run = tempfile::tempdir().unwrap();
        std::fs::write(run.path().join(FILE), "4000000000 is a very long stale line\n").unwrap();
        let lock = RunLock::take(run.path(), "demo").unwrap();
        assert_eq!(std::fs::read_to_string(run.path().join(FILE)).unwrap(), format!("{}\n", std::process::id()));
        std::fs::write(run.path().join(FILE), "\x1b[31mnonsense").unwrap();
        assert!(matches!(RunLock::take(run.path(), "demo"), Err(LockError::Running { pid, .. }) if pid == "unknown"));
        drop(lock);
    }

    #[test]
    fn what_is_left_of_a_dead_supervisor_is_waited_for() {
        let run = tempfile::tempdir().unwrap();
        let left = RunLock::take(run.path(), "demo").unwrap();
        let mut dead = std::process::Command::new("true").spawn().unwrap();
        dead.wait().unwrap();
        std::fs::write(run.path().join(FILE), dead.id().to_string()).unwrap();
        let next = thread::spawn({
            let run = run.path().to_owned();
            move || RunLock::take(&run, "demo").map(|_| ())
        });
        thread::sleep(PAUSE);
        drop(left);
        next.join().unwrap().unwrap();
    }

    #[test]
    fn a_directory_that_cannot_be_is_named() {
        let error = RunLock::take(Path::new("/proc/nowhere/run"), "demo").unwrap_err().to_string();
        assert!(error.starts_with("cannot create /proc/nowhere/run: "), "{error}");
    }
}
