//! A program that answers one request and ends: `validator-query`, `node-check`, `signer`.
//!
//! The request goes over a control link, as a worker's commands do. What the program reports of its jail comes back there: which layers
//! are missing, and at which system call it dies. The answer has a pipe of its own.
//!
//! *Trusts*: nothing that the program says, since it may have read hostile bytes. *Promises*: nothing of the program is left when the
//! answer is there or the time is over.

use std::{
    io::{self, Read as _},
    net::Shutdown,
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::{net::UnixDatagram, process::ExitStatusExt as _},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use ipc::{
    codec,
    control::WorkerReport,
    jail::{ActiveLayers, Missing},
    validator_query::printable,
};
use link::descriptor;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::Signal,
};

use super::binaries::{self, MissingProgram};
use crate::syscall;

/// The longest text of a program about its jail that is shown, in characters.
const MAX_WHY: usize = 600;

/// A program and the bounds within which it answers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OneShot {
    /// Its file name.
    pub(crate) program: &'static str,
    /// How long an answer may take.
    pub(crate) time_limit: Duration,
    /// The longest answer in bytes.
    pub(crate) max_answer: usize,
}

/// What a program answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answered {
    /// The bytes of its answer.
    pub(crate) answer: Vec<u8>,
    /// The missing layers of the jail in which it worked.
    pub(crate) missing: Vec<Missing>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum OneShotError {
    /// The program is not where it belongs.
    #[error(transparent)]
    NoProgram(#[from] MissingProgram),
    /// It could not be started or spoken to.
    #[error("cannot run {0}: {1}")]
    Io(&'static str, io::Error),
    /// It did not end in time and was killed.
    #[error("{0} gave no answer within {seconds} s", seconds = .1.as_secs())]
    Timeout(&'static str, Duration),
    /// It was killed.
    #[error("{0} died of {1}")]
    Died(&'static str, Signal),
    /// Its filter killed it.
    #[error("{0} died of a system call that its policy does not list: {1}")]
    Refused(&'static str, String),
    /// It ended without an answer, or with one that is no answer.
    #[error("the answer of {0} is malformed or too long")]
    Malformed(&'static str),
}

impl OneShot {
    /// Sends `request` with `descriptors` and waits for the answer.
    pub(crate) fn ask(self, request: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<Answered, OneShotError> {
        let program = self.find()?;
        self.ask_program(&program, request, descriptors)
    }

    fn find(self) -> Result<PathBuf, OneShotError> {
        let own = std::env::current_exe().map_err(|error| OneShotError::Io(self.program, error))?;
        Ok(binaries::find(self.program, own.parent().unwrap_or(Path::new("/")))?)
    }

    /// As [`OneShot::ask`], with the program at `path`.
    pub(crate) fn ask_program(
        self,
        path: &Path,
        request: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<Answered, OneShotError> {
        let failed = |error: io::Error| OneShotError::Io(self.program, error);
        let end = Instant::now() + self.time_limit;
        let (ours, theirs) = descriptor::control_pair().map_err(failed)?;
        // Sent before the process exists. The end of the link follows it.
        descriptor::send(ours.as_fd(), request, descriptors).map_err(failed)?;
        let control = UnixDatagram::from(ours);
        control.shutdown(Shutdown::Write).map_err(failed)?;
        let mut child = Killed(
            Command::new(path)
                .env_clear()
                .current_dir("/")
                .stdin(theirs)
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .map_err(failed)?,
        );
        let answer = self.read_answer(&mut child.0, end)?;
        let mut killer = None;
        if answer.is_empty() {
            // If it is dead already, this does not change the signal that killed it.
            let _ = child.0.kill();
            killer = child.0.wait().map_err(failed)?.signal().and_then(|signal| Signal::try_from(signal).ok());
        }
        let Reported { missing, refused } = Reported::on(&control).map_err(failed)?;
        match killer {
            Some(Signal::SIGSYS) => {
                let call = refused.map_or_else(|| "unknown".to_owned(), syscall::name);
                Err(OneShotError::Refused(self.program, call))
            }
            Some(signal) if signal != Signal::SIGKILL => Err(OneShotError::Died(self.program, signal)),
            _ if answer.is_empty() => Err(OneShotError::Malformed(self.program)),
            _ => Ok(Answered { answer, missing }),
        }
    }

    fn read_answer(self, child: &mut Child, end: Instant) -> Result<Vec<u8>, OneShotError> {
        let failed = |error: io::Error| OneShotError::Io(self.program, error);
        let mut answer = Vec::new();
        let Some(stdout) = &mut child.stdout else {
            return Ok(answer);
        };
        let mut chunk = [0; 4096];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
            match poll(&mut [PollFd::new(stdout.as_fd(), PollFlags::POLLIN)], timeout) {
                Ok(0) => return Err(OneShotError::Timeout(self.program, self.time_limit)),
                Ok(_) => {}
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(failed(error.into())),
            }
            match stdout.read(&mut chunk).map_err(failed)? {
                0 => return Ok(answer),
                read => answer.extend(chunk.iter().take(read)),
            }
            if answer.len() > self.max_answer {
                return Err(OneShotError::Malformed(self.program));
            }
        }
    }
}

/// Logs one line for all missing layers of `program`, if there are any, as for the workers.
pub(crate) fn log_missing_layers(program: &str, missing: &[Missing]) {
    let missing: Vec<String> =
        missing.iter().map(|Missing { layer, why }| format!("{layer} is missing: {why}")).collect();
    if !missing.is_empty() {
        tracing::warn!(id = "GWD-G006", "The jail of {program} was incomplete. {}", missing.join(". "));
    }
}

/// The reports of a program about its jail. Only the first report of each kind counts, because an attacker may control the process later.
#[derive(Debug, Default)]
struct Reported {
    missing: Vec<Missing>,
    refused: Option<u32>,
}

impl Reported {
    /// Reads the reports from its control link. The process has ended or closed its output, so that no more than a full link can come.
    fn on(control: &UnixDatagram) -> io::Result<Self> {
        control.set_nonblocking(true)?;
        let (mut layers, mut refused) = (None, None);
        while let Ok((bytes, _)) = descriptor::receive(control.as_fd()) {
            match codec::decode_one(&bytes) {
                Ok(WorkerReport::JailClosed(active)) => layers = layers.or(Some(active)),
                Ok(WorkerReport::RefuseSyscall { number }) => refused = refused.or(Some(number)),
                _ => break,
            }
        }
        let ActiveLayers { missing, .. } = layers.unwrap_or_default();
        let clean = |Missing { layer, why }| Missing { layer, why: printable(&why, MAX_WHY) };
        Ok(Self { missing: missing.into_iter().map(clean).collect(), refused })
    }
}

/// A child that does not outlive the question.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself; after a kill, waiting is short.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _, os::unix::fs::PermissionsExt as _};

    use ipc::jail::Layer;

    use super::*;

    const PROGRAM: OneShot = OneShot { program: "script", time_limit: Duration::from_secs(5), max_answer: 64 };

    fn ask_script(script: &str, asked: OneShot, descriptors: &[BorrowedFd<'_>]) -> Result<Answered, OneShotError> {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("script");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        asked.ask_program(&program, b"request", descriptors)
    }

    fn ask(script: &str) -> Result<Answered, OneShotError> {
        ask_script(script, PROGRAM, &[])
    }

    #[test]
    fn the_child_gets_the_request_and_nothing_else() {
        // Answers only if it was given the whole request, and no HOME.
        let answered = ask(r#"[ "$(/bin/cat)" = request ] && [ -z "$HOME" ] && printf yes"#).unwrap();
        assert_eq!(answered, Answered { answer: b"yes".to_vec(), missing: vec![] });
    }

    #[test]
    fn what_is_missing_of_its_jail_is_heard_once_and_printable() {
        // The bytes of `JailClosed`: no layer holds, one is missing, and why in three letters.
        let say = |layer: u8, why: &str| format!(r"printf '\004\000\001\00{layer}\003{why}' >&0");
        let script = format!(r"/bin/cat >/dev/null; {}; {}; printf x", say(3, r"o\033d"), say(4, "new"));
        let missing = vec![Missing { layer: Layer::LandlockFiles, why: "o?d".into() }];
        assert_eq!(ask(&script).unwrap(), Answered { answer: b"x".to_vec(), missing });
    }

    #[test]
    fn the_call_that_it_dies_of_is_named() {
        // The bytes of `RefuseSyscall` for call 59, on this architecture.
        let killed = |report: &str| match ask(&format!("/bin/cat >/dev/null; {report} kill -SYS $$")) {
            Err(OneShotError::Refused(_, call)) => call,
            other => panic!("{other:?}"),
        };
        let number = u8::try_from(nix::libc::SYS_execve).unwrap();
        assert_eq!(killed(&format!(r"printf '\005\{number:03o}' >&0;")), "execve");
        assert_eq!(killed(""), "unknown");
        // A report of a refusal is believed only of a process that died of one.
        let script = format!(r"/bin/cat >/dev/null; printf '\005\{number:03o}' >&0; printf x");
        assert_eq!(ask(&script).unwrap().answer, b"x");
    }

    #[test]
    fn silence_is_ended_and_nonsense_refused() {
        let started = Instant::now();
        let impatient = OneShot { time_limit: Duration::from_millis(100), ..PROGRAM };
        // `exec`: the killed process is the one that sleeps.
        assert!(matches!(ask_script("exec /bin/sleep 60", impatient, &[]), Err(OneShotError::Timeout(..))));
        assert!(started.elapsed() < PROGRAM.time_limit);
        assert!(matches!(ask("/bin/cat >/dev/null"), Err(OneShotError::Malformed(_))));
        assert!(matches!(ask("/bin/cat >/dev/null; kill -SEGV $$"), Err(OneShotError::Died(_, Signal::SIGSEGV))));
        assert!(matches!(ask("/bin/cat >/dev/null; exec /bin/cat /dev/zero"), Err(OneShotError::Malformed(_))));
    }

    #[test]
    fn a_descriptor_is_lent_with_the_request_alone() {
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"key").unwrap();
        drop(writer);
        let lent = format!("pipe:[{}]", nix::sys::stat::fstat(&reader).unwrap().st_ino);
        // A shell does not take descriptors out of a message, so none of its own leads to what was lent.
        let script = "/bin/cat >/dev/null; for open in /proc/$$/fd/*; do /bin/readlink $open; done";
        let asked = OneShot { max_answer: 4_096, ..PROGRAM };
        let answered = ask_script(script, asked, &[reader.as_fd()]).unwrap();
        let open = String::from_utf8(answered.answer).unwrap();
        assert!(open.contains("socket:[") && !open.contains(&lent), "{lent}: {open}");
    }
}
