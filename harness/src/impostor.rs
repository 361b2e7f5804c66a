//! Programs that take the place of one worker (see [`crate::home::Home::with_impostor`]): born as it is, and knowing whose name
//! and folder they have.

use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use ipc::Role;
use sandbox::descriptors::close_inherited;
use worker::{
    birth::{self, Birth},
    control_link::Ending,
};

use crate::rogue::role;

/// The `main` of such a program: `live` is told its role and the folder it lies in.
pub fn run(live: impl FnOnce(Role, &Path, &Birth) -> Result<Ending>) -> ExitCode {
    let alone = close_inherited();
    match place() {
        Ok((role, folder)) => {
            birth::run(role, alone, |birth| live(role, &folder, birth).map_err(|error| format!("{error:#}")))
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn place() -> Result<(Role, PathBuf)> {
    let program = env::current_exe()?;
    let name = program.file_name().and_then(|name| name.to_str()).context("a program has a name")?;
    Ok((role(name)?, program.parent().context("a program is in a folder")?.to_owned()))
}
