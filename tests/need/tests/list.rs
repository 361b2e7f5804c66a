//! What was left out is on the list, the list is printed, and a strict run fails.

use std::{
    env, fs,
    path::Path,
    process::{Command, Output},
};

use anyhow::{Result, ensure};
use need::Need;

/// Run by the other test, in a process of its own.
#[test]
#[ignore = "leaves something out whatever the machine has"]
fn leaves_something_out() {
    need::missing(Need::Mount, 29);
}

fn run(list: &Path, strict: &str) -> Result<Output> {
    let arguments = ["--ignored", "--exact", "leaves_something_out"];
    let mut command = Command::new(env::current_exe()?);
    command.env_remove("NEXTEST_TEST_NAME").env_remove("NEXTEST_BINARY_ID");
    Ok(command.args(arguments).env("NOT_TESTED", list).env("STRICT", strict).output()?)
}

fn print(list: &Path, strict: &str) -> Result<Output> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dev/not-tested");
    Ok(Command::new(script).arg(list).env("STRICT", strict).output()?)
}

#[test]
fn what_is_left_out_is_said_last_and_fails_a_strict_run() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let list = folder.path().join("list");
    fs::write(&list, "")?;
    ensure!(print(&list, "1")?.status.success());

    ensure!(run(&list, "")?.status.success());
    ensure!(fs::read_to_string(&list)? == "mount\t29\tleaves_something_out\n");
    ensure!(!run(&list, "1")?.status.success());

    let printed = print(&list, "")?;
    let text = String::from_utf8(printed.stdout)?;
    ensure!(printed.status.success() && text.contains("promise 29 needs mount:\n    leaves_something_out\n"), "{text}");
    ensure!(print(&list, "1")?.status.code() == Some(1));
    Ok(())
}
