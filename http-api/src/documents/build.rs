//! The document about the build of the program.

use ipc::http_api::AnnouncedProgram;
use serde_json::{Value, json};

/// For what this build does not know. Readers require every field.
const UNKNOWN: &str = "unknown";

/// How this program was built.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Build {
    pub(crate) commit: &'static str,
    pub(crate) commit_time: &'static str,
    pub(crate) rustc: &'static str,
    pub(crate) channel: &'static str,
    pub(crate) profile: &'static str,
    pub(crate) target: &'static str,
}

impl Build {
    /// Of the running program.
    pub(crate) const THIS: Self = Self {
        commit: env!("HTTP_API_COMMIT"),
        commit_time: env!("HTTP_API_COMMIT_TIME"),
        rustc: env!("HTTP_API_RUSTC"),
        channel: env!("HTTP_API_CHANNEL"),
        profile: env!("HTTP_API_PROFILE"),
        target: env!("HTTP_API_TARGET"),
    };

    /// The document. Name and version are what the operator announces; everything else is of this build. The time of the build is not
    /// kept, so that two builds are the same.
    pub(crate) fn document(&self, program: &AnnouncedProgram) -> Value {
        json!({
            "binary_name": program.name,
            "build_timestamp": UNKNOWN,
            "build_version": program.version,
            "commit_sha": self.commit,
            "commit_timestamp": self.commit_time,
            "commit_branch": UNKNOWN,
            "rustc_version": self.rustc,
            "rustc_channel": self.channel,
            "cargo_profile": self.profile,
            "cargo_triple": self.target,
        })
    }
}
