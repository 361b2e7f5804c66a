//! A worker that works, and dies of an alarm some seconds after its start: the program of the same name in the folder `real` beside it, with an
//! alarm set, which outlives the exec.

use std::{env, os::unix::process::CommandExt as _, process::Command};

use anyhow::{Context, Result};
use nix::unistd::alarm;

/// The life of such a worker, in seconds.
const LIFE: u32 = 5;

fn main() -> Result<()> {
    let program = env::current_exe()?;
    let (folder, name) = (program.parent().context("a folder")?, program.file_name().context("a name")?);
    alarm::set(LIFE);
    Err(Command::new(folder.join("real").join(name)).args(env::args_os().skip(1)).exec().into())
}
