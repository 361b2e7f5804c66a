//! Commands in texts for the operator. They work as they are printed: with the gateway and the folder that this process was given.

use std::{
    ffi::OsString,
    fmt::Display,
    path::{Path, PathBuf},
};

/// `gatewayd WHAT` for the gateway of this process.
pub(crate) fn command(what: &str) -> String {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let id = value_of("--id", &arguments).map(|id| format!(" --id {}", quoted(Path::new(&id)))).unwrap_or_default();
    format!("gatewayd {what}{id}{}", home_of(&arguments))
}

/// `gatewayd WHAT` for the gateway `id` in the folder of this process.
pub(crate) fn command_for(what: &str, id: impl Display) -> String {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    format!("gatewayd {what} --id {id}{}", home_of(&arguments))
}

/// ` --home FOLDER` if the folder was given by the flag. A variable of the environment is that of the operator's next command, too.
fn home_of(arguments: &[OsString]) -> String {
    let Some(given) = value_of("--home", arguments) else { return String::new() };
    let given = PathBuf::from(given);
    // The next command may be given elsewhere.
    let absolute = std::path::absolute(&given).unwrap_or(given);
    format!(" --home {}", quoted(&absolute))
}

/// The value of a flag, which is the next argument or behind a `=`.
fn value_of(flag: &str, arguments: &[OsString]) -> Option<OsString> {
    let mut arguments = arguments.iter();
    loop {
        let argument = arguments.next()?;
        if argument == flag {
            return arguments.next().cloned();
        }
        let behind = argument.to_str().and_then(|text| text.strip_prefix(flag)).and_then(|text| text.strip_prefix('='));
        if let Some(value) = behind {
            return Some(value.into());
        }
    }
}

/// A word that a shell takes as it is.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-".contains(letter);
    if text.chars().all(is_plain) { text.into_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(line: &[&str]) -> String {
        home_of(&line.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn a_folder_that_was_given_is_in_the_next_command() {
        assert_eq!(home(&["gatewayd", "status", "--id", "one"]), "");
        assert_eq!(home(&["gatewayd", "status", "--id", "one", "--home", "/srv/g"]), " --home /srv/g");
        assert_eq!(home(&["gatewayd", "--home=/srv/g", "status"]), " --home /srv/g");
        assert_eq!(home(&["gatewayd", "--home", "/srv/it's here"]), r" --home '/srv/it'\''s here'");
        let here = std::env::current_dir().unwrap();
        assert_eq!(home(&["gatewayd", "--home", "run"]), format!(" --home {}", quoted(&here.join("run"))));
        assert_eq!(home(&["gatewayd", "--home"]), "");
    }
}
