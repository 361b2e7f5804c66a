//! The running supervisor tries new programs: it starts the new `gatewayd` with its own arguments, environment and privileges, and asks it
//! whether it could run the gateway. So they are tried where they would run: within the unit, with its filter and its view of the files.

use std::{
    fs::File,
    os::{fd::AsRawFd as _, unix::fs::OpenOptionsExt as _},
    path::Path,
    process::Stdio,
    time::Duration,
};

use nix::libc::O_PATH;
use tokio::{process::Command, time::timeout};

use super::{
    exec,
    fitness::Fitness,
    record::{FORMAT, Probation},
};
use crate::path_guard::check_program;

/// The time for all of it: eight programs are asked, and five jails closed.
const LIMIT: Duration = Duration::from_secs(60);
/// The last words of a program that are shown, in characters.
const LAST_WORDS: usize = 600;

/// New programs that could run the gateway.
#[derive(Debug)]
pub(crate) struct Candidate {
    /// The new `gatewayd`.
    pub(crate) program: File,
    /// Its path and its version, for people.
    pub(crate) name: String,
    /// How it is watched.
    pub(crate) probation: Probation,
    /// The number of the upgrade.
    pub(crate) number: u64,
}

/// Tries the `gatewayd` at `path` and the programs beside it. Returns it opened, with its path and its version for people.
///
/// # Errors
/// Why the gateway could not run with it.
pub(crate) async fn try_programs(path: &Path) -> Result<(File, String), String> {
    let opened = File::options().read(true).custom_flags(O_PATH).open(path);
    let program = opened.map_err(|error| {
        format!(
            "cannot open {}: {error}; the programs must be where the gateway can see them, and its unit hides /home, /root and /tmp from it",
            path.display()
        )
    })?;
    check_program(path).map_err(|error| error.to_string())?;
    let mut command = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()));
    command.arg0(path).args(exec::own_arguments()).args(["--trial", &FORMAT.to_string()]);
    command.env_clear().envs(exec::own_environment()).env_remove("NOTIFY_SOCKET");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let output = match timeout(LIMIT, command.output()).await {
        Ok(output) => output.map_err(|error| format!("cannot run {}: {error}", path.display()))?,
        Err(_) => return Err(format!("{} did not end its self-test within {} s", path.display(), LIMIT.as_secs())),
    };
    let said = String::from_utf8_lossy(&output.stdout);
    match said.lines().last().map(serde_json::from_str) {
        Some(Ok(Fitness::Fit { version })) if output.status.success() => {
            Ok((program, format!("{} ({version})", path.display())))
        }
        Some(Ok(Fitness::Unfit { why })) => Err(why),
        _ => Err(format!(
            "{} is no gatewayd that could take over: its self-test ended with {}; its last words: {}",
            path.display(),
            output.status,
            last_words(&output.stderr)
        )),
    }
}

fn last_words(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("none");
    last.chars().take(LAST_WORDS).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
