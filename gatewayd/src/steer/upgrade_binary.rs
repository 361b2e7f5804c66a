//! `gatewayd upgrade-binary`.
//!
//! The command may be of another build than the running gateway, and the gateway becomes another program while the command waits: it asks again
//! and again, over new connections, what has become of the upgrade with its number.

use std::{
    fs,
    num::NonZeroU32,
    path::{Path, PathBuf},
    str::FromStr,
    thread,
    time::{Duration, Instant},
};

use nix::unistd::Pid;
use serde::Serialize;

use crate::{
    admin::{
        client::{AdminClient, AdminError, on_a_loop},
        wire::{AdminAnswer, AdminQuestion},
    },
    console::Console,
    handover::wire::{UpgradeAnswer, UpgradeQuestion},
    launch::process_exists,
    paths::{GatewayId, Root},
};

/// The longest probation.
const LONGEST: Duration = Duration::from_hours(1);
/// The time for everything but the probation: two stores may have to start, ten minutes each.
const LIMIT: Duration = Duration::from_mins(25);
/// So long nobody may answer: the gateway becomes another program and starts.
const SILENCE: Duration = Duration::from_secs(30);
/// The time for one answer. The longest is that to the order: the programs are tried first.
const ANSWER_LIMIT: Duration = Duration::from_mins(2);
/// The pause between two questions.
const PAUSE: Duration = Duration::from_millis(250);

/// For how long the new programs are watched: a second at the least, an hour at the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probation(NonZeroU32);

impl FromStr for Probation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let time = humantime::parse_duration(text).map_err(|error| format!("{error}; write it as 1m or 90s"))?;
        let seconds = u32::try_from(time.as_secs()).ok().and_then(NonZeroU32::new).filter(|_| time <= LONGEST);
        seconds.map(Self).ok_or_else(|| "give a time from 1s to 1h".to_owned())
    }
}

/// Why the new programs are not in force.
#[derive(Debug, thiserror::Error)]
pub enum UpgradeBinaryError {
    /// The gateway cannot be told.
    #[error(transparent)]
    Running(#[from] AdminError),
    /// There is no new `gatewayd`.
    #[error("there is no gatewayd in {} ({source}); nothing was changed: name the folder of the new programs with --from", folder.display())]
    NoProgram {
        /// The folder.
        folder: PathBuf,
        /// What the operating system answered.
        source: std::io::Error,
    },
    /// The new programs were tried and are no good.
    #[error("the new programs cannot be used, and nothing was changed: {0}")]
    Refused(String),
    /// The old programs have come back.
    #[error("the upgrade was undone, and the old programs run again: {0}; the gateway's log says more")]
    Undone(String),
    /// The new programs failed and run on.
    #[error(
        "the new programs failed, and run on, because there is no safe way back: {0}; see the gateway's log, and restart it if need be"
    )]
    NoWayBack(String),
    /// The gateway does not answer any more.
    #[error("the gateway became the new program and does not answer: {0}; see its log, and `systemctl status`")]
    Silent(#[source] AdminError),
    /// The gateway was stopped, or has died, before there was a verdict.
    #[error(
        "the gateway has ended before the new programs had their verdict: it was stopped, or it died, as its log says; its next start takes \
         the programs at the path in its unit or on its command line"
    )]
    Ended,
    /// The gateway knows nothing of this upgrade.
    #[error("the gateway was restarted meanwhile, and nobody has watched the programs with which it runs; see its log")]
    Restarted,
    /// There is no verdict in time.
    #[error("there is no verdict yet after {} minutes; the gateway's log will say what becomes of the upgrade", .0.as_secs() / 60)]
    Late(Duration),
    /// The result could not be written as JSON.
    #[error("cannot write the result: {0}")]
    Json(#[from] serde_json::Error),
}

impl UpgradeBinaryError {
    /// Whether the running gateway could not be told anything.
    pub const fn is_unavailable(&self) -> bool {
        matches!(self, Self::Running(_))
    }
}

/// The result, for programs.
#[derive(Debug, Serialize)]
struct Report<'a> {
    /// `kept`, `undone`, `refused`, `failed` or `ended`.
    verdict: &'a str,
    /// The new `gatewayd`, as the gateway describes it if it took it.
    program: &'a str,
    /// Why they are not in force.
    why: Option<&'a str>,
}

/// Has the gateway become the `gatewayd` in folder `from` (that of this program if none is given), waits for the verdict, and prints it.
///
/// # Errors
/// If the new programs are not in force.
pub fn execute(
    id: &GatewayId,
    root: &Root,
    from: Option<PathBuf>,
    Probation(seconds): Probation,
    json: bool,
    console: &mut Console<'_>,
) -> Result<(), UpgradeBinaryError> {
    let program = find(from)?;
    let outcome = upgrade(id, root, &program, seconds, |line| {
        if !json {
            console.line(line);
            console.flush();
        }
    });
    let (verdict, why) = match &outcome {
        Ok(()) => ("kept", None),
        Err(UpgradeBinaryError::Refused(why)) => ("refused", Some(why.as_str())),
        Err(UpgradeBinaryError::Undone(why)) => ("undone", Some(why.as_str())),
        Err(UpgradeBinaryError::NoWayBack(why)) => ("failed", Some(why.as_str())),
        Err(UpgradeBinaryError::Ended) => ("ended", None),
        Err(_) => return outcome,
    };
    if json {
        let program = program.to_string_lossy();
        console.line(serde_json::to_string_pretty(&Report { verdict, program: &program, why })?);
    }
    outcome
}

/// The new `gatewayd`, by its real path.
fn find(from: Option<PathBuf>) -> Result<PathBuf, UpgradeBinaryError> {
    let no_program = |folder: &Path| {
        let folder = folder.to_owned();
        move |source| UpgradeBinaryError::NoProgram { folder, source }
    };
    let folder = match from {
        Some(folder) => folder,
        None => {
            let own = std::env::current_exe().map_err(no_program(Path::new("/proc/self/exe")))?;
            own.parent().unwrap_or(Path::new("/")).to_owned()
        }
    };
    folder.join("gatewayd").canonicalize().map_err(no_program(&folder))
}

fn upgrade(
    id: &GatewayId,
    root: &Root,
    program: &Path,
    seconds: NonZeroU32,
    mut tell: impl FnMut(String),
) -> Result<(), UpgradeBinaryError> {
    let number: u64 = rand::random();
    let probation = u64::from(seconds.get());
    let program = program.to_string_lossy().into_owned();
    tell(format!("The programs beside {program} are tried in their jails."));
    let order = UpgradeQuestion::Begin { program, probation, number };
    let (answer, supervisor) = ask(id, root, &order)?;
    match answer {
        UpgradeAnswer::Begun { program } => tell(format!("The gateway becomes {program}.")),
        UpgradeAnswer::Refused { why } => return Err(UpgradeBinaryError::Refused(why)),
        UpgradeAnswer::Busy => return Err(AdminError::Busy.into()),
        UpgradeAnswer::Probation { left, .. } => {
            return Err(AdminError::OnProbation(Duration::from_secs(left.unwrap_or_default())).into());
        }
        _ => return Err(AdminError::other_answer().into()),
    }
    let limit = LIMIT + Duration::from_secs(probation);
    let begun = Instant::now();
    let (mut answered, mut is_watched) = (begun, false);
    loop {
        thread::sleep(PAUSE);
        match ask(id, root, &UpgradeQuestion::Outcome).map(|(answer, _)| answer) {
            Ok(UpgradeAnswer::Probation { number: this, .. }) if this == number => {
                answered = Instant::now();
                if !is_watched {
                    tell(format!("The new programs start, and are watched for {probation} s."));
                    is_watched = true;
                }
            }
            Ok(UpgradeAnswer::Kept { number: this }) if this == number => {
                tell("The new programs stay: no worker died or hung, every packet is accounted for, storage is no worse, no more is refused than before.".into());
                return Ok(());
            }
            Ok(UpgradeAnswer::Undone { number: this, why }) if this == number => {
                return Err(UpgradeBinaryError::Undone(why));
            }
            Ok(UpgradeAnswer::Failed { number: this, why }) if this == number => {
                return Err(UpgradeBinaryError::NoWayBack(why));
            }
            // The old programs come back.
            Ok(UpgradeAnswer::Busy) => answered = Instant::now(),
            Ok(_) => return Err(UpgradeBinaryError::Restarted),
            Err(_) if supervisor.is_some_and(has_ended) => {
                return Err(UpgradeBinaryError::Ended);
            }
            // It ends its workers, or becomes the other program just now.
            Err(error) if answered.elapsed() > SILENCE => return Err(UpgradeBinaryError::Silent(error)),
            Err(_) => {}
        }
        if begun.elapsed() > limit {
            return Err(UpgradeBinaryError::Late(limit));
        }
    }
}

/// Whether this process has ended, even if nobody has taken note of it yet.
fn has_ended(process: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    !process_exists(process) || status.lines().any(|line| line.starts_with("State:\tZ"))
}

/// Asks, and returns the answer and the process that has answered.
fn ask(id: &GatewayId, root: &Root, question: &UpgradeQuestion) -> Result<(UpgradeAnswer, Option<Pid>), AdminError> {
    on_a_loop(async {
        let mut client = AdminClient::open(id, root)?;
        match client.ask(AdminQuestion::Upgrade(question.encode()), ANSWER_LIMIT).await? {
            AdminAnswer::Upgrade(text) => UpgradeAnswer::decode(&text)
                .map(|answer| (answer, client.supervisor()))
                .map_err(|error| AdminError::Ended(format!("its answer is not understood: {error}"))),
            other => Err(AdminError::of_other_answer(&other)),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probation_lasts_a_second_to_an_hour() {
        let time = |text: &str| text.parse::<Probation>().map(|Probation(seconds)| seconds.get());
        assert_eq!((time("1s"), time("1m"), time("1h")), (Ok(1), Ok(60), Ok(3_600)));
        for text in ["", "60", "0s", "999ms", "1h 1s", "-1m"] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
