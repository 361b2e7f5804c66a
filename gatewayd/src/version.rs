//! The version that the network sees. It is not the version of the program.
//!
//! Clients of 2021 use only gateways whose major and minor version equal their own. For this reason the bonding block and the configuration
//! contain 0.10.1.

use semver::Version;

use crate::own_command::command_for;

/// The version of the network we serve, in the bonding block and in `config.toml`.
pub const NETWORK: Version = Version::new(0, 10, 1);

/// How the version of a usable configuration file relates to [`NETWORK`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fit {
    /// It is equal.
    Same,
    /// Major and minor version are equal, so that the settings have the same meaning.
    Compatible(Version),
}

/// A configuration of another major or minor version, or without a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Incompatible {
    /// Older, or newer.
    #[error("the configuration is of version {0}, which does not fit {NETWORK}: run `{upgrade}` first", upgrade = command_for("upgrade", .1))]
    Version(Version, String),
    /// Of a gateway after 0.10.
    #[error(
        "the configuration is of nym-gateway {0}; gatewayd takes over from 0.10 and cannot read it. To keep the gateway's identity, \
         move its folder away, run `{init}` with its addresses, stop, and copy its four key files (`private_` \
         and `public_`, `identity` and `sphinx`) over the new ones in `data`; registered clients register again",
        init = command_for("init", .1)
    )]
    Later(Version, String),
    /// Without a version, as all files before 0.9.0.
    #[error(
        "the configuration names no version, so it is older than 0.9.0: run `{upgrade} \
         --current-version <its version>` first", upgrade = command_for("upgrade", .0)
    )]
    Missing(String),
}

/// Whether the configuration of gateway `id` can be used as it is.
pub fn check(config: Option<&Version>, id: &str) -> Result<Fit, Incompatible> {
    match config {
        None => Err(Incompatible::Missing(id.to_owned())),
        Some(version) if *version == NETWORK => Ok(Fit::Same),
        Some(version) if (version.major, version.minor) == (NETWORK.major, NETWORK.minor) => {
            Ok(Fit::Compatible(version.clone()))
        }
        Some(version) if is_later(version) => Err(Incompatible::Later(version.clone(), id.to_owned())),
        Some(version) => Err(Incompatible::Version(version.clone(), id.to_owned())),
    }
}

/// Whether the configuration is of a gateway after 0.10, whose settings have another meaning.
pub fn is_later(config: &Version) -> bool {
    (config.major, config.minor) > (NETWORK.major, NETWORK.minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn major_and_minor_must_match() {
        let check = |text: &str| check(Some(&text.parse().unwrap()), "demo");
        assert_eq!(check("0.10.1"), Ok(Fit::Same));
        assert_eq!(check("0.10.0"), Ok(Fit::Compatible(Version::new(0, 10, 0))));
        let error = check("0.9.2").unwrap_err().to_string();
        assert!(error.contains("`gatewayd upgrade --id demo`") && error.contains("0.9.2"), "{error}");
        for text in ["0.11.0", "1.1.0"] {
            let error = check(text).unwrap_err().to_string();
            assert!(error.contains(text) && error.contains("four key files") && !error.contains("upgrade"), "{error}");
        }
        assert!(super::check(None, "demo").unwrap_err().to_string().contains("--current-version"));
    }
}
