//! `deny_syscalls <system call>... -- <program> <argument>...`: runs a program as on a kernel that does not have those system calls.
//!
//! A test takes a layer of the jail away with it, in the way in which an old kernel or a container does.

use std::{collections::BTreeMap, env, os::unix::process::CommandExt, process::Command};

use anyhow::{Context, Result, bail};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

fn main() -> Result<()> {
    let mut arguments = env::args_os().skip(1);
    let mut calls = BTreeMap::new();
    for name in arguments.by_ref().take_while(|argument| argument != "--") {
        let number = match name.to_str() {
            Some("landlock_create_ruleset") => nix::libc::SYS_landlock_create_ruleset,
            Some("seccomp") => nix::libc::SYS_seccomp,
            Some("unshare") => nix::libc::SYS_unshare,
            _ => bail!("{} is no system call that a layer of the jail is made with", name.display()),
        };
        calls.insert(number, vec![]);
    }
    let program = arguments.next().context("there is no program to run")?;
    let absent = SeccompAction::Errno(u32::try_from(nix::libc::ENOSYS)?);
    let filter = SeccompFilter::new(calls, SeccompAction::Allow, absent, env::consts::ARCH.try_into()?)?;
    nix::sys::prctl::set_no_new_privs()?;
    seccompiler::apply_filter(&BpfProgram::try_from(filter)?)?;
    Err(Command::new(program).args(arguments).exec().into())
}
