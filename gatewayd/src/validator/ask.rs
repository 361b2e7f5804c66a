//! Starts `validator-query`, sends it the query, and waits a limited time for the answer.
//!
//! The query goes over a control link, as the commands for a worker do. The program reports there which layers of its jail are missing, and
//! for which system call the filter kills it. The answer comes through a pipe.

use std::{
    io::{self, Read as _},
    net::Shutdown,
    os::{
        fd::AsFd as _,
        unix::{net::UnixDatagram, process::ExitStatusExt as _},
    },
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use ipc::{
    codec,
    control::WorkerReport,
    jail::{ActiveLayers, Missing},
    validator_query::{MAX_ANSWER, Malformed, ValidatorAnswer, ValidatorQuery, printable},
};
use link::descriptor;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::Signal,
};

use crate::{launch::find_program, syscall};

/// The time for the whole question.
pub const TIME_LIMIT: Duration = Duration::from_secs(5);

const PROGRAM: &str = "validator-query";

/// The longest text of the program about its jail that is shown, in characters.
const MAX_WHY: usize = 600;

/// The result of asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryResult {
    /// What the validators say.
    pub answer: ValidatorAnswer,
    /// The missing layers of the jail in which they were asked.
    pub missing: Vec<Missing>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ValidatorQueryError {
    /// The query is too long.
    #[error("the list of validators is too long: give fewer")]
    TooMany,
    /// The program is not installed.
    #[error("the program {PROGRAM} is neither beside gatewayd nor in ../libexec/gatewayd: install it there")]
    NoProgram,
    /// It could not be started or spoken to.
    #[error("cannot run {PROGRAM}: {0}")]
    Io(#[from] io::Error),
    /// It did not end in time, and was killed.
    #[error("{PROGRAM} gave no answer within {} s", TIME_LIMIT.as_secs())]
    Timeout,
    /// A signal killed it.
    #[error("{PROGRAM} died of {0}")]
    Died(Signal),
    /// The filter of system calls killed it.
    #[error("{PROGRAM} died of a system call that its policy does not list: {0}")]
    Refused(String),
    /// It ended without a valid answer.
    #[error("the answer of {PROGRAM} is {0}")]
    Malformed(#[from] Malformed),
}

/// Asks. Takes at most [`TIME_LIMIT`]. The child process has ended when this returns.
pub fn ask(query: &ValidatorQuery) -> Result<QueryResult, ValidatorQueryError> {
    let own = std::env::current_exe()?;
    let program =
        own.parent().and_then(|folder| find_program(PROGRAM, folder)).ok_or(ValidatorQueryError::NoProgram)?;
    ask_program(&program, query, TIME_LIMIT)
}

fn ask_program(
    program: &Path,
    query: &ValidatorQuery,
    time_limit: Duration,
) -> Result<QueryResult, ValidatorQueryError> {
    let end = Instant::now() + time_limit;
    let query = query.encode().map_err(|Malformed| ValidatorQueryError::TooMany)?;
    let (ours, theirs) = descriptor::control_pair()?;
    // Sent before the process exists. The end of the link follows it.
    descriptor::send(ours.as_fd(), &query, &[])?;
    let control = UnixDatagram::from(ours);
    control.shutdown(Shutdown::Write)?;
    let mut child = Killed(
        Command::new(program)
            .env_clear()
            .current_dir("/")
            .stdin(theirs)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?,
    );
    let answer = read_answer(&mut child.0, end)?;
    let mut killer = None;
    if answer.is_empty() {
        // If it is dead already, this does not change the signal that killed it.
        let _ = child.0.kill();
        killer = child.0.wait()?.signal().and_then(|signal| Signal::try_from(signal).ok());
    }
    let said = Said::on(&control)?;
    match killer {
        Some(Signal::SIGSYS) => {
            Err(ValidatorQueryError::Refused(said.refused.map_or_else(|| "unknown".to_owned(), syscall::name)))
        }
        Some(signal) if signal != Signal::SIGKILL => Err(ValidatorQueryError::Died(signal)),
        _ => Ok(QueryResult { answer: ValidatorAnswer::decode(&answer)?, missing: said.missing }),
    }
}

/// The reports of a program about its jail. Only the first report of each kind counts, because an attacker may control the process later.
#[derive(Debug, Default)]
struct Said {
    missing: Vec<Missing>,
    refused: Option<u32>,
}

impl Said {
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

fn read_answer(child: &mut Child, end: Instant) -> Result<Vec<u8>, ValidatorQueryError> {
    let mut answer = Vec::new();
    let Some(stdout) = &mut child.stdout else {
        return Ok(answer);
    };
    let mut chunk = [0; 4096];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
        match poll(&mut [PollFd::new(stdout.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(0) => return Err(ValidatorQueryError::Timeout),
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

/// A child process that is killed when this value is dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself. After a kill, waiting is short.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use ipc::jail::Layer;

    use super::*;

    fn query() -> ValidatorQuery {
        ValidatorQuery {
            account: None,
            validators: vec!["http://a".into()],
            contract: "c".into(),
            mix_host: "m".into(),
            clients_host: "w".into(),
            identity: "i".into(),
        }
    }

    fn ask_script(script: &str, time_limit: Duration) -> Result<QueryResult, ValidatorQueryError> {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("script");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        ask_program(&program, &query(), time_limit)
    }

    #[test]
    fn the_child_gets_the_request_and_nothing_else() {
        // Answers with the bytes of `Conflict` only if it was given the whole query, and no HOME.
        let script = format!(
            r#"[ "$(/usr/bin/wc -c)" -eq {} ] && [ -z "$HOME" ] && printf '\001\002id'"#,
            query().encode().unwrap().len()
        );
        let asked = ask_script(&script, TIME_LIMIT).unwrap();
        assert_eq!(asked, QueryResult { answer: ValidatorAnswer::Conflict { identity: "id".into() }, missing: vec![] });
    }

    #[test]
    fn what_is_missing_of_its_jail_is_heard_once_and_printable() {
        // The words of `JailClosed`: no layer holds, one is missing, and why in three letters.
        let say = |layer: u8, why: &str| format!(r"printf '\004\000\001\00{layer}\003{why}' >&0");
        let script = format!(r"/bin/cat >/dev/null; {}; {}; printf '\000'", say(3, r"o\033d"), say(4, "new"));
        let asked = ask_script(&script, TIME_LIMIT).unwrap();
        let missing = vec![Missing { layer: Layer::LandlockFiles, why: "o?d".into() }];
        assert_eq!(asked, QueryResult { answer: ValidatorAnswer::NoConflict, missing });
    }

    #[test]
    fn the_call_that_it_dies_of_is_named() {
        // The words of `RefuseSyscall` for call 59, on this architecture.
        let killed = |words: &str| match ask_script(&format!("/bin/cat >/dev/null; {words} kill -SYS $$"), TIME_LIMIT) {
            Err(ValidatorQueryError::Refused(call)) => call,
            other => panic!("{other:?}"),
        };
        let number = u8::try_from(nix::libc::SYS_execve).unwrap();
        assert_eq!(killed(&format!(r"printf '\005\{number:03o}' >&0;")), "execve");
        assert_eq!(killed(""), "unknown");
        // A word about a refusal is believed only of a process that died of one.
        let script = format!(r"/bin/cat >/dev/null; printf '\005\{number:03o}' >&0; printf '\000'");
        assert_eq!(ask_script(&script, TIME_LIMIT).unwrap().answer, ValidatorAnswer::NoConflict);
    }

    #[test]
    fn silence_is_ended_and_nonsense_refused() {
        let started = Instant::now();
        let time_limit = Duration::from_millis(100);
        // `exec`: the killed process is the one that sleeps.
        assert!(matches!(ask_script("exec /bin/sleep 60", time_limit), Err(ValidatorQueryError::Timeout)));
        assert!(started.elapsed() < TIME_LIMIT);
        assert!(matches!(ask_script("/bin/cat >/dev/null", TIME_LIMIT), Err(ValidatorQueryError::Malformed(_))));
        assert!(matches!(
            ask_script("/bin/cat >/dev/null; kill -SEGV $$", TIME_LIMIT),
            Err(ValidatorQueryError::Died(Signal::SIGSEGV))
        ));
        assert!(matches!(
            ask_script("/bin/cat >/dev/null; exec /bin/cat /dev/zero", TIME_LIMIT),
            Err(ValidatorQueryError::Malformed(_))
        ));
    }

    #[test]
    fn a_long_list_is_refused_before_anything_is_started() {
        let mut query = query();
        query.validators = vec!["http://validator.example".into(); 500];
        let outcome = ask_program(Path::new("/nonexistent"), &query, TIME_LIMIT);
        assert!(matches!(outcome, Err(ValidatorQueryError::TooMany)));
    }
}
