//! What is wrong with a configuration file, and in which line.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use super::edit;
use crate::version::Incompatible;

/// How many characters of a wrong value an error shows.
const LONGEST_VALUE: usize = 80;

/// A key that is ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownKey {
    /// Line of the file, from 1.
    pub line: usize,
    /// The section, without brackets.
    pub section: &'static str,
    /// The key.
    pub key: String,
}

impl fmt::Display for UnknownKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, section, key } = self;
        write!(f, "line {line}: unknown key `{key}` in [{section}] is ignored")
    }
}

/// Why a configuration file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file could not be read.
    #[error("{error}: {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system answered.
        error: io::Error,
    },
    /// The file is of a later gateway.
    #[error(transparent)]
    Later(Incompatible),
    /// The text is not a configuration.
    #[error("{}", listed(path, errors))]
    Parse {
        /// The file.
        path: PathBuf,
        /// Everything that is wrong, with its line.
        errors: Vec<ParseError>,
    },
}

impl LoadError {
    /// Whether there is no such file.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Read { error, .. } if error.kind() == io::ErrorKind::NotFound)
    }
}

fn listed(path: &Path, errors: &[ParseError]) -> String {
    let errors: Vec<_> = errors.iter().map(|error| format!("{}: {error}", path.display())).collect();
    errors.join("\n")
}

/// A setting as it is written in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenSetting {
    /// The section, without brackets.
    pub section: String,
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
}

/// `, [section] key = value`, or nothing.
fn named(setting: Option<&WrittenSetting>) -> String {
    let named = |WrittenSetting { section, key, value }: &WrittenSetting| {
        let value: String = value.escape_debug().take(LONGEST_VALUE).collect();
        format!(", [{}] {} = {value}", section.escape_debug(), key.escape_debug())
    };
    setting.map(named).unwrap_or_default()
}

/// The remedy, with the default of the setting if new files have one.
fn example(setting: Option<&WrittenSetting>) -> String {
    let Some(line) = setting.and_then(|setting| edit::default_line(&setting.section, &setting.key)) else {
        return "correct the line".to_owned();
    };
    format!("correct the line; the default is `{line}`")
}

/// What is wrong in the text of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}{}: {message}; {}", named(setting.as_ref()), example(setting.as_ref()))]
pub struct ParseError {
    /// Line of the file, from 1.
    pub line: usize,
    /// The setting, if the error is in one.
    pub setting: Option<WrittenSetting>,
    /// What is wrong.
    pub message: String,
}
