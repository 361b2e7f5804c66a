//! The programs of a new gateway: all of them are there, and all are of one build.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use ipc::{ASK_BUILD, BUILD, Role};
use tokio::{process::Command, time::timeout};

use crate::{
    launch::{self, MissingProgram},
    path_guard::{ProgramPathError, check_program},
};

/// The programs beside the workers.
const OTHERS: [&str; 3] = ["validator-query", "node-check", "signer"];
/// The time for an answer.
const LIMIT: Duration = Duration::from_secs(5);

/// Why programs cannot be used together.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProgramError {
    /// It is not there.
    #[error(transparent)]
    Missing(#[from] MissingProgram),
    /// Others can change it.
    #[error(transparent)]
    Unsafe(#[from] ProgramPathError),
    /// It does not answer.
    #[error("{} does not say which build it is of ({why}); install all programs of gatewayd together", path.display())]
    Silent {
        /// The program.
        path: PathBuf,
        /// What came of it.
        why: String,
    },
    /// It is of another build.
    #[error(
        "{} is of another build ({its}) than gatewayd ({BUILD}); install all programs of gatewayd together", path.display()
    )]
    OtherBuild {
        /// The program.
        path: PathBuf,
        /// Its build.
        its: String,
    },
}

/// Asks every program that belongs to the `gatewayd` in `folder`.
///
/// # Errors
/// Names the first that cannot be used.
pub(super) async fn ask_all(folder: &Path) -> Result<(), ProgramError> {
    for name in Role::ALL.into_iter().map(Role::name).chain(OTHERS) {
        let path = launch::find_program(name, folder)?;
        check_program(&path)?;
        match ask(&path).await {
            Ok(build) if build == BUILD => {}
            Ok(its) => return Err(ProgramError::OtherBuild { path, its }),
            Err(why) => return Err(ProgramError::Silent { path, why }),
        }
    }
    Ok(())
}

async fn ask(path: &Path) -> Result<String, String> {
    let mut command = Command::new(path);
    command.arg(ASK_BUILD).env_clear().current_dir("/").kill_on_drop(true);
    command.stdin(Stdio::null()).stderr(Stdio::null());
    let output = match timeout(LIMIT, command.output()).await {
        Ok(output) => output.map_err(|error| error.to_string())?,
        Err(_) => return Err(format!("no answer within {} s", LIMIT.as_secs())),
    };
    let answer = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let is_build = answer.len() == BUILD.len() && answer.bytes().all(|byte| byte.is_ascii_hexdigit());
    if output.status.success() && is_build { Ok(answer) } else { Err(output.status.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::fixtures;

    #[tokio::test]
    async fn programs_of_another_build_or_none_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let asked = async || ask_all(folder.path()).await.unwrap_err().to_string();
        assert!(asked().await.contains("`store` is neither in"));
        for name in Role::ALL.into_iter().map(Role::name).chain(OTHERS) {
            fixtures::program(folder.path(), name, &format!("[ \"$*\" = {ASK_BUILD} ] && echo {BUILD}"));
        }
        ask_all(folder.path()).await.unwrap();
        fixtures::program(folder.path(), "signer", "echo 0123456789abcdef");
        let said = asked().await;
        assert!(said.contains("signer is of another build (0123456789abcdef)"), "{said}");
        fixtures::program(folder.path(), "store", "exit 3");
        let said = asked().await;
        assert!(said.contains("store does not say which build it is of (exit status: 3)"), "{said}");
    }
}
