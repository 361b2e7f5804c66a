//! One supervisor per gateway: a locked file that holds its process number.
//!
//! *Promises*: the lock is the kernel's (`flock`), so that a crash leaves none behind. A child of a killed supervisor may hold it for a
//! moment longer, and this code waits for its end. The number in a stale file is never believed.

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    os::fd::{AsRawFd as _, OwnedFd},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg, OFlag, openat},
    sys::stat::{Mode, fstat},
    unistd::Pid,
};

use crate::{
    launch::{PREDECESSOR, process_exists},
    path_guard::{PathGuard, hand_on},
};

/// The file's name in the runtime directory.
const FILE: &str = "gatewayd.pid";
/// How the file is opened. A link is not followed, and a pipe in its place does not block.
const FLAGS: OFlag =
    OFlag::O_RDWR.union(OFlag::O_NOFOLLOW).union(OFlag::O_NONBLOCK).union(OFlag::O_NOCTTY).union(OFlag::O_CLOEXEC);
/// The longest process number, in characters.
const PID_LEN: u64 = 20;
/// The pause between two attempts to take the lock.
const PAUSE: Duration = Duration::from_millis(20);

/// Why this supervisor may not run.
#[derive(Debug, thiserror::Error)]
pub enum RunLockError {
    /// Another supervisor runs this gateway.
    #[error("gateway \"{id}\" is already running (pid {pid}); stop that process first, or run another id")]
    Running {
        /// The gateway.
        id: String,
        /// The number in the file of the other supervisor.
        pid: String,
    },
    /// The runtime directory or the file cannot be used.
    #[error("cannot {step} {}: {source}; the account that runs gatewayd must be able to write there", path.display())]
    Unusable {
        /// What failed.
        step: &'static str,
        /// The directory or file.
        path: PathBuf,
        /// What the operating system answered.
        source: io::Error,
    },
}

/// The right to run a gateway, for as long as this lives.
#[derive(Debug)]
pub(crate) struct RunLock {
    file: Flock<File>,
    directory: OwnedFd,
}

impl RunLock {
    /// Takes the lock of gateway `id` in `run_dir`, which is created (0700) if it is missing. No link is followed: the file is written
    /// only after it is known to be a regular file of the gateway.
    ///
    /// # Errors
    /// [`RunLockError::Running`] if another process holds it.
    pub(crate) fn take(run_dir: &Path, id: &str, guard: &PathGuard) -> Result<Self, RunLockError> {
        let unusable = |step, path: &Path| {
            let path = path.to_owned();
            move |source| RunLockError::Unusable { step, path, source }
        };
        let directory = guard.make_directory(run_dir, 0o700, None).map_err(unusable("create", run_dir))?;
        let path = run_dir.join(FILE);
        let opened = openat(&directory, FILE, FLAGS | OFlag::O_CREAT, Mode::S_IRUSR | Mode::S_IWUSR)
            .and_then(|file| fstat(&file).map(|stat| (file, stat)));
        let (file, stat) = opened.map_err(|error| unusable("open", &path)(error.into()))?;
        guard.check_writable(&path, &stat).map_err(|error| unusable("use", &path)(error.into()))?;
        hand_on(&file, &directory).map_err(unusable("give away", &path))?;
        let mut file = File::from(file);
        let give_up_at = Instant::now() + PREDECESSOR;
        loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => {
                    let mut lock = Self { file: lock, directory };
                    lock.write_pid().map_err(unusable("write", &path))?;
                    return Ok(lock);
                }
                Err((held, Errno::EWOULDBLOCK)) => {
                    file = held;
                    let holder = read_pid(&mut file);
                    if holder.is_some_and(process_exists) || Instant::now() >= give_up_at {
                        return Err(running(id, holder));
                    }
                    thread::sleep(PAUSE);
                }
                Err((_, errno)) => return Err(unusable("lock", &path)(errno.into())),
            }
        }
    }

    /// Whether the lock could be taken, as far as the directory and the file exist. Nothing is made and nothing written.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub(crate) fn look(run_dir: &Path, id: &str, guard: &PathGuard) -> Result<(), RunLockError> {
        let path = run_dir.join(FILE);
        let unusable = |source| RunLockError::Unusable { step: "use", path: path.clone(), source };
        let opened = guard.open_directory(run_dir, None).and_then(|directory| {
            let file = openat(&directory, FILE, FLAGS, Mode::empty())?;
            Ok((fstat(&file)?, File::from(file)))
        });
        let (stat, file) = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            opened => opened.map_err(unusable)?,
        };
        guard.check_writable(&path, &stat).map_err(|error| unusable(error.into()))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Err((mut held, Errno::EWOULDBLOCK)) => Err(running(id, read_pid(&mut held))),
            Err((_, errno)) => Err(unusable(errno.into())),
            Ok(_) => Ok(()),
        }
    }

    /// A path to `name` in the runtime directory. It stays valid while this value lives, even if the directory is renamed.
    pub(crate) fn path_to(&self, name: &str) -> PathBuf {
        Path::new("/proc/self/fd").join(self.directory.as_raw_fd().to_string()).join(name)
    }

    fn write_pid(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        writeln!(self.file, "{}", std::process::id())
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // Without this an operator could signal a number that is no longer ours. On an error the lock is released all the same.
        let _ = self.file.set_len(0);
    }
}

fn running(id: &str, holder: Option<Pid>) -> RunLockError {
    let pid = holder.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string());
    RunLockError::Running { id: id.to_owned(), pid }
}

/// The number in the file, if there is a valid one.
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
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn take(run: &Path) -> Result<RunLock, RunLockError> {
        RunLock::take(run, "demo", &PathGuard::new(run))
    }

    #[test]
    fn the_second_is_told_who_is_the_first() {
        let home = tempfile::tempdir().unwrap();
        let run = home.path().join("run");
        let first = take(&run).unwrap();
        assert_eq!(std::fs::metadata(&run).unwrap().permissions().mode() & 0o7777, 0o700);
        let error = take(&run).unwrap_err();
        let pid = std::process::id();
        assert_eq!(
            error.to_string(),
            format!("gateway \"demo\" is already running (pid {pid}); stop that process first, or run another id")
        );
        drop(first);
        assert_eq!(std::fs::read_to_string(run.join(FILE)).unwrap(), "");
        take(&run).unwrap();
    }

    #[test]
    fn a_lock_when_looked_at_is_neither_made_nor_taken() {
        let home = tempfile::tempdir().unwrap();
        let run = home.path().join("run");
        let look = || RunLock::look(&run, "demo", &PathGuard::new(&run));
        look().unwrap();
        assert!(!run.exists());
        std::fs::create_dir(&run).unwrap();
        look().unwrap();
        assert!(!run.join(FILE).exists());
        let lock = take(&run).unwrap();
        let pid = std::process::id().to_string();
        assert!(matches!(look(), Err(RunLockError::Running { pid: told, .. }) if told == pid));
        drop(lock);
        look().unwrap();
    }

    #[test]
    fn a_stale_file_is_no_lock_and_a_strange_one_is_not_quoted() {
        let run = tempfile::tempdir().unwrap();
        std::fs::write(run.path().join(FILE), "4000000000 is a very long stale line\n").unwrap();
        let lock = take(run.path()).unwrap();
        assert_eq!(std::fs::read_to_string(run.path().join(FILE)).unwrap(), format!("{}\n", std::process::id()));
        std::fs::write(run.path().join(FILE), "\x1b[31mnonsense").unwrap();
        assert!(matches!(take(run.path()), Err(RunLockError::Running { pid, .. }) if pid == "unknown"));
        drop(lock);
    }

    #[test]
    fn what_is_left_of_a_dead_supervisor_is_waited_for() {
        let run = tempfile::tempdir().unwrap();
        let left = take(run.path()).unwrap();
        let mut dead = std::process::Command::new("true").spawn().unwrap();
        dead.wait().unwrap();
        std::fs::write(run.path().join(FILE), dead.id().to_string()).unwrap();
        let next = thread::spawn({
            let run = run.path().to_owned();
            move || take(&run).map(|_| ())
        });
        thread::sleep(PAUSE);
        drop(left);
        next.join().unwrap().unwrap();
    }

    #[test]
    fn a_directory_that_cannot_be_is_named() {
        let error = take(Path::new("/proc/nowhere/run")).unwrap_err().to_string();
        assert!(error.starts_with("cannot create /proc/nowhere/run: "), "{error}");
    }

    #[test]
    fn a_link_in_place_of_the_file_leaves_its_target_whole() {
        let (run, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (canary, file) = (other.path().join("canary"), run.path().join(FILE));
        std::fs::write(&canary, "sings").unwrap();
        symlink(&canary, &file).unwrap();
        assert!(matches!(take(run.path()), Err(RunLockError::Unusable { .. })));
        std::fs::remove_file(&file).unwrap();
        std::fs::hard_link(&canary, &file).unwrap();
        let error = take(run.path()).unwrap_err().to_string();
        assert!(error.contains("second name"), "{error}");
        assert_eq!(std::fs::read_to_string(&canary).unwrap(), "sings");
    }
}
