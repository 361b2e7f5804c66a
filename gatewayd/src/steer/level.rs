//! `gatewayd log`: what a process logs for a time.

use std::{num::NonZeroU32, str::FromStr, time::Duration};

use ipc::{Role, log::LogLevel};

use crate::{
    admin::{
        client::{AdminError, give_order},
        wire::{AdminAnswer, Order},
    },
    console::Console,
    paths::{GatewayId, Root},
};

/// The longest time. What is wanted for longer belongs into `RUST_LOG`.
const LONGEST: Duration = Duration::from_hours(24);

/// For how long a level holds: a second at the least, a day at the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LevelTime(NonZeroU32);

impl FromStr for LevelTime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let time = humantime::parse_duration(text).map_err(|error| format!("{error}; write it as 10m or 1h 30m"))?;
        let seconds = u32::try_from(time.as_secs()).ok().and_then(NonZeroU32::new).filter(|_| time <= LONGEST);
        seconds.map(Self).ok_or_else(|| "give a time from 1s to 24h; RUST_LOG sets a level for good".to_owned())
    }
}

/// The names of processes: the supervisor first.
pub fn processes() -> [Option<Role>; 6] {
    let [a, b, c, d, e] = Role::ALL.map(Some);
    [None, a, b, c, d, e]
}

/// The name of a process in the log.
pub const fn process_name(of: Option<Role>) -> &'static str {
    match of {
        None => logging::SUPERVISOR,
        Some(role) => role.name(),
    }
}

/// Has a process log at `level` for a time, and prints until when.
///
/// # Errors
/// If the gateway cannot be told.
pub fn execute(
    id: &GatewayId,
    root: &Root,
    of: Option<Role>,
    level: LogLevel,
    LevelTime(seconds): LevelTime,
    console: &mut Console<'_>,
) -> Result<(), AdminError> {
    match give_order(id, root, Order::ChangeLog { of, level, seconds: seconds.get() })? {
        AdminAnswer::Done => {
            let time = humantime::format_duration(Duration::from_secs(seconds.get().into()));
            let (name, level) = (process_name(of), level.name());
            console.line(format_args!("{name} logs {level} for {time}, and then what RUST_LOG says again."));
            Ok(())
        }
        other => Err(AdminError::of_other_answer(&other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_holds_for_a_second_to_a_day() {
        let time = |text: &str| text.parse::<LevelTime>().map(|LevelTime(seconds)| seconds.get());
        assert_eq!((time("1s"), time("10m"), time("24h")), (Ok(1), Ok(600), Ok(86_400)));
        for text in ["", "10", "0s", "999ms", "24h 1s", "-1m", "1000years"] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
