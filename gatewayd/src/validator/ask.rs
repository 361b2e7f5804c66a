//! The supervisor's end: starts `validator-query`, gives it the request, waits a bounded time for the answer.

use std::{
    io::{self, Read as _, Write as _},
    os::{fd::AsFd as _, unix::process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::Signal,
};

use super::message::{Answer, MAX_ANSWER, Malformed, Request};

/// How long the whole question may take.
pub const PATIENCE: Duration = Duration::from_secs(5);

const PROGRAM: &str = "validator-query";

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The request does not fit.
    #[error("the list of validators is too long: give fewer")]
    TooMany,
    /// The program is not where it belongs.
    #[error("the program {PROGRAM} is neither beside gatewayd nor in ../libexec/gatewayd: install it there")]
    NoProgram,
    /// It could not be started or spoken to.
    #[error("cannot run {PROGRAM}: {0}")]
    Io(#[from] io::Error),
    /// It did not end in time and was killed.
    #[error("{PROGRAM} gave no answer within {} s", PATIENCE.as_secs())]
    Timeout,
    /// It was killed; by `SIGSYS` if it made a system call that its policy does not list.
    #[error("{PROGRAM} died of {0}")]
    Died(Signal),
    /// It ended without an answer, or with nonsense.
    #[error("the answer of {PROGRAM} is {0}")]
    Malformed(#[from] Malformed),
}

/// Asks. Takes at most [`PATIENCE`]; nothing of the child is left afterwards.
pub fn ask(request: &Request) -> Result<Answer, AskError> {
    let own = std::env::current_exe()?;
    let program = find(&own).ok_or(AskError::NoProgram)?;
    ask_program(&program, request, PATIENCE)
}

fn find(own: &Path) -> Option<PathBuf> {
    let folder = own.parent()?;
    [folder.join(PROGRAM), folder.join("../libexec/gatewayd").join(PROGRAM)].into_iter().find(|path| path.is_file())
}

fn ask_program(program: &Path, request: &Request, patience: Duration) -> Result<Answer, AskError> {
    let end = Instant::now() + patience;
    let request = request.encode().map_err(|Malformed| AskError::TooMany)?;
    let mut child = Killed(
        Command::new(program)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?,
    );
    // Dropping standard input behind the request is the end of file that the child waits for.
    if let Some(mut stdin) = child.0.stdin.take() {
        stdin.write_all(&request)?;
    }
    let answer = read_answer(&mut child.0, end)?;
    if answer.is_empty() {
        // What it died of before is not changed by this.
        let _ = child.0.kill();
        match child.0.wait()?.signal().map(Signal::try_from) {
            Some(Ok(signal)) if signal != Signal::SIGKILL => return Err(AskError::Died(signal)),
            _ => {}
        }
    }
    Ok(Answer::decode(&answer)?)
}

fn read_answer(child: &mut Child, end: Instant) -> Result<Vec<u8>, AskError> {
    let mut answer = Vec::new();
    let Some(stdout) = &mut child.stdout else {
        return Ok(answer);
    };
    let mut chunk = [0; 4096];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
        match poll(&mut [PollFd::new(stdout.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(0) => return Err(AskError::Timeout),
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(io::Error::from(error).into()),
        }
        match stdout.read(&mut chunk)? {
            0 => return Ok(answer),
            read => answer.extend(chunk.iter().take(read)),
        }
        if answer.len() > MAX_ANSWER {
            return Err(Malformed.into());
        }
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
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    fn request() -> Request {
        Request {
            account: None,
            validators: vec!["http://a".into()],
            contract: "c".into(),
            mix_host: "m".into(),
            clients_host: "w".into(),
            identity: "i".into(),
        }
    }

    fn ask_script(script: &str, patience: Duration) -> Result<Answer, AskError> {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("script");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        ask_program(&program, &request(), patience)
    }

    #[test]
    fn the_child_gets_the_request_and_nothing_else() {
        // Answers with the bytes of `Conflict` only if it was given the whole request, and no HOME.
        let script = format!(
            r#"[ "$(/usr/bin/wc -c)" -eq {} ] && [ -z "$HOME" ] && printf '\001\002id'"#,
            request().encode().unwrap().len()
        );
        let answer = ask_script(&script, PATIENCE).unwrap();
        assert_eq!(answer, Answer::Conflict { identity: "id".into() });
    }

    #[test]
    fn silence_is_ended_and_nonsense_refused() {
        let started = Instant::now();
        let patience = Duration::from_millis(100);
        // `exec`: the killed process is the one that sleeps.
        assert!(matches!(ask_script("exec /bin/sleep 60", patience), Err(AskError::Timeout)));
        assert!(started.elapsed() < PATIENCE);
        assert!(matches!(ask_script("/bin/cat >/dev/null", PATIENCE), Err(AskError::Malformed(_))));
        assert!(matches!(
            ask_script("/bin/cat >/dev/null; kill -SYS $$", PATIENCE),
            Err(AskError::Died(Signal::SIGSYS))
        ));
        assert!(matches!(
            ask_script("/bin/cat >/dev/null; exec /bin/cat /dev/zero", PATIENCE),
            Err(AskError::Malformed(_))
        ));
    }

    #[test]
    fn a_long_list_is_refused_before_anything_is_started() {
        let mut request = request();
        request.validators = vec!["http://validator.example".into(); 500];
        let outcome = ask_program(Path::new("/nonexistent"), &request, PATIENCE);
        assert!(matches!(outcome, Err(AskError::TooMany)));
    }

    #[test]
    fn the_program_is_a_sibling_or_in_libexec() {
        let folder = tempfile::tempdir().unwrap();
        let bin = folder.path().join("bin");
        let libexec = folder.path().join("libexec/gatewayd");
        fs::create_dir(&bin).unwrap();
        fs::create_dir_all(&libexec).unwrap();
        let own = bin.join("gatewayd");
        assert_eq!(find(&own), None);
        fs::write(libexec.join(PROGRAM), "").unwrap();
        assert!(find(&own).is_some());
        fs::write(bin.join(PROGRAM), "").unwrap();
        assert_eq!(find(&own), Some(bin.join(PROGRAM)));
    }
}
