//! The program whose name and version are announced.

use std::{fmt, str::FromStr};

use ipc::http_api::AnnouncedProgram;
use semver::Version;

/// The longest name, in characters.
const MAX_NAME: usize = 64;

/// A name and a version: `nym-node 1.31.0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    name: String,
    version: Version,
}

/// Why a text names no program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a program with its version: give a name, a space and three numbers, such as 'nym-node 1.31.0'")]
pub struct InvalidProgram;

impl Program {
    /// This program, which is what is announced unless the operator chooses otherwise.
    pub fn ours() -> Self {
        let version = Version::parse(env!("CARGO_PKG_VERSION")).unwrap_or(Version::new(0, 0, 0));
        Self { name: "gatewayd".into(), version }
    }

    /// The name alone.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// As the worker is told.
    pub fn announced(&self) -> AnnouncedProgram {
        AnnouncedProgram { name: self.name.clone(), version: self.version.to_string() }
    }
}

impl FromStr for Program {
    type Err = InvalidProgram;

    fn from_str(text: &str) -> Result<Self, InvalidProgram> {
        let (name, version) = text.trim().split_once(' ').ok_or(InvalidProgram)?;
        let is_name = |letter: u8| letter.is_ascii_alphanumeric() || matches!(letter, b'-' | b'_' | b'.');
        let version = version.trim();
        let version = Version::parse(version.strip_prefix('v').unwrap_or(version)).map_err(|_| InvalidProgram)?;
        if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(is_name) {
            return Err(InvalidProgram);
        }
        Ok(Self { name: name.to_owned(), version })
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_has_a_name_and_a_version() {
        assert_eq!("nym-node v1.31.0".parse::<Program>().unwrap().to_string(), "nym-node 1.31.0");
        assert_eq!(Program::ours().to_string(), format!("gatewayd {}", env!("CARGO_PKG_VERSION")));
        assert_eq!(Program::ours().to_string().parse(), Ok(Program::ours()));
        for bad in ["nym-node", "nym-node 1.31", " 1.31.0", "", "nym node 1.31.0", "\"x\" 1.0.0"] {
            assert_eq!(bad.parse::<Program>(), Err(InvalidProgram), "{bad}");
        }
    }
}
