//! A role whose worker at work is not quite in the jail that its probes show: see [`harness::other_jail`]. It reports ready and follows
//! orders, but does no work.

use std::{
    collections::BTreeMap,
    env,
    fs::File,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context, Result};
use harness::{
    impostor,
    other_jail::{self, Difference},
};
use ipc::{Role, control::Grant, jail::Layer};
use sandbox::{Jail, close, policy::Policy};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use tokio::{runtime::Builder, sync::mpsc};
use worker::{birth::Birth, control_link::Ending};

fn main() -> ExitCode {
    impostor::run(live)
}

fn live(role: Role, folder: &Path, birth: &Birth) -> Result<Ending> {
    let (start, mut grants) = birth.receive_start()?;
    let how = other_jail::read(folder)?;
    let at_work = start.probe.is_none();
    let directories = [Grant::LedgerDirectory, Grant::InboxDirectory, Grant::ReplayDirectory];
    let directories: Vec<OwnedFd> = directories.into_iter().filter_map(|grant| grants.take(grant).ok()).collect();
    let links: Vec<OwnedFd> = Role::ALL.into_iter().filter_map(|peer| grants.take(Grant::Link(peer)).ok()).collect();
    drop(grants);
    let _kept = (how == Difference::File && at_work).then(|| File::open(folder.join(role.name()))).transpose()?;
    if how == Difference::Filter && !at_work {
        one_filter_more()?;
    }
    let granted: Vec<_> = directories.iter().map(AsFd::as_fd).collect();
    let closed = close(Jail { policy: Policy::of(role), spec: &start.jail, directories: &granted })?;
    let mut held = closed.layers().clone();
    if how == Difference::Layer && at_work {
        held.active.retain(|layer| *layer != Layer::LandlockFiles);
    }
    birth.report_jail(&held);
    if let Some(what) = &start.probe {
        return Ok(birth.probe(what, sandbox::probe::attempt));
    }
    Builder::new_current_thread().enable_io().build()?.block_on(async {
        let (_reporter, reports) = mpsc::channel(1);
        let ending = birth.control_link()?.follow(reports).await;
        drop(links);
        Ok(ending)
    })
}

/// A filter that forbids nothing. Only the probe has it, so the worker at work has one filter less.
fn one_filter_more() -> Result<()> {
    let architecture = env::consts::ARCH.try_into()?;
    let refused = SeccompAction::Errno(u32::try_from(nix::libc::ENOSYS)?);
    let nothing = BTreeMap::from([(nix::libc::SYS_kexec_load, vec![])]);
    let filter = SeccompFilter::new(nothing, SeccompAction::Allow, refused, architecture)?;
    nix::sys::prctl::set_no_new_privs().context("no new privileges")?;
    Ok(seccompiler::apply_filter(&BpfProgram::try_from(filter)?)?)
}
