//! Commands of `gatewayd`: by whom, below which program and within which limits each is started.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
};

use super::{Home, ID, give, outcome::Outcome, programs::program};
use crate::deadline;

impl Home {
    /// A command of `gatewayd` on this gateway (`config show` is one), ready to be spawned. Nothing of the test's environment reaches it.
    ///
    /// # Errors
    /// If the program has not been built.
    pub fn command(&self, command: &str, arguments: &[&str]) -> Result<Command> {
        let process = match &self.launcher {
            Some((launcher, what)) => self.start_below(launcher, what)?,
            None => self.start_of(&self.gatewayd_program()?),
        };
        self.command_of(process, command, arguments)
    }

    /// The program itself, or a copy that the user of this home may start.
    pub(super) fn for_its_user(&self, program: &Path) -> Result<PathBuf> {
        let Some(user) = self.user else { return Ok(program.to_owned()) };
        let copy = self.root().join("bin/launcher");
        fs::copy(program, &copy)?;
        give(&copy, user)?;
        Ok(copy)
    }

    fn start_of(&self, program: &Path) -> Command {
        let start = |program: &Path| match self.user.filter(|_| self.as_unit) {
            Some(user) => unit(user, program),
            None => Command::new(program),
        };
        if self.limits.is_empty() {
            return start(program);
        }
        let mut process = start(Path::new("prlimit"));
        process.args(&self.limits).arg(program);
        process
    }

    /// `gatewayd`, started by `launcher`, which is told `what`.
    fn start_below(&self, launcher: &Path, what: &[impl AsRef<OsStr>]) -> Result<Command> {
        let mut process = self.start_of(launcher);
        process.args(what).arg("--").arg(self.gatewayd_program()?);
        Ok(process)
    }

    fn gatewayd_program(&self) -> Result<PathBuf> {
        if self.has_programs { Ok(self.root().join("bin/gatewayd")) } else { program("gatewayd") }
    }

    fn command_of(&self, mut process: Command, command: &str, arguments: &[&str]) -> Result<Command> {
        process.env_clear();
        process.args(command.split(' ')).args(["--id", ID]).args(arguments).arg("--home").arg(self.root());
        process.stdin(Stdio::null()).kill_on_drop(true);
        if let Some(user) = self.user.filter(|_| !self.as_unit) {
            process.uid(user).gid(user).current_dir("/");
        }
        Ok(process)
    }

    /// As [`gatewayd`](Self::gatewayd), started by `launcher`, which is told `what`.
    ///
    /// # Errors
    /// If it cannot be started, or does not end.
    pub async fn below(&self, launcher: &Path, what: &[&str], command: &str, arguments: &[&str]) -> Result<Outcome> {
        let process = self.start_below(&self.for_its_user(launcher)?, what)?;
        finish(command, self.command_of(process, command, arguments)?).await
    }

    /// As [`gatewayd`](Self::gatewayd), by the user of the tests, whatever user owns the gateway.
    ///
    /// # Errors
    /// If it cannot be started, or does not end.
    pub async fn gatewayd_by_us(&self, command: &str, arguments: &[&str]) -> Result<Outcome> {
        let mut process = Command::new(self.gatewayd_program()?);
        process.env_clear().args(command.split(' ')).args(["--id", ID]).args(arguments).arg("--home").arg(self.root());
        finish(command, process).await
    }

    /// Runs the gateway until it is up, or has ended by itself.
    ///
    /// # Errors
    /// If it cannot be started, or does neither.
    pub async fn gatewayd_for_a_moment(&self) -> Result<()> {
        let mut command = self.command("run", &[])?;
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(child.stderr.take().context("no standard error")?).lines();
        let is_up = async {
            while let Some(line) = lines.next_line().await? {
                if line.contains("Finished nym gateway startup procedure") {
                    break;
                }
            }
            anyhow::Ok(())
        };
        deadline::soon("gatewayd run to be up or to end", is_up).await??;
        child.kill().await?;
        Ok(())
    }

    /// Runs a command of `gatewayd` that ends by itself.
    ///
    /// # Errors
    /// If it cannot be started, or does not end.
    pub async fn gatewayd(&self, command: &str, arguments: &[&str]) -> Result<Outcome> {
        finish(command, self.command(command, arguments)?).await
    }
}

async fn finish(command: &str, mut process: Command) -> Result<Outcome> {
    let output = deadline::soon(&format!("gatewayd {command} to end"), process.output()).await??;
    Ok(Outcome {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// As the service manager starts it: another user, and of root's privileges those in the unit.
fn unit(user: u32, program: &Path) -> Command {
    const PRIVILEGES: &str = "-all,+setuid,+setgid,+setpcap,+kill,+chown";
    let mut process = Command::new("setpriv");
    process.args([format!("--reuid={user}"), format!("--regid={user}")]).args(["--clear-groups", "--no-new-privs"]);
    for set in ["--inh-caps", "--ambient-caps", "--bounding-set"] {
        process.args([set, PRIVILEGES]);
    }
    process.arg(program);
    process
}
