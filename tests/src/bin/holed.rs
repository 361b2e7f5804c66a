//! A role with holes in its jail: born, lent its descriptors and jailed as the real one, but for the rules that [`tests::hole`]
//! adds. It only probes: the cells of an audit show what the holes let through.

use std::{
    fs::File,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context, Result};
use ipc::{Role, control::Grant};
use sandbox::{Jail, close};
use tests::{hole, home::ID, impostor};
use worker::{birth::Birth, control_link::Ending};

fn main() -> ExitCode {
    impostor::run(live)
}

fn live(role: Role, folder: &Path, birth: &Birth) -> Result<Ending> {
    let (start, mut grants) = birth.receive_start()?;
    let gateway = folder.parent().context("a home")?.join(ID);
    let holes = hole::read(folder)?;
    let lent = [Grant::LedgerDirectory, Grant::InboxDirectory, Grant::ReplayDirectory];
    let lent: Vec<OwnedFd> = lent.into_iter().filter_map(|grant| grants.take(grant).ok()).collect();
    drop(grants);
    let opened = holes.iter().filter_map(|hole| hole.directory(&gateway)).map(File::open);
    let opened = opened.collect::<Result<Vec<_>, _>>()?;
    let policy = hole::Hole::all_in(role, &holes)?;
    let directories: Vec<_> = lent.iter().map(AsFd::as_fd).chain(opened.iter().map(AsFd::as_fd)).collect();
    let closed = close(Jail { policy, spec: &start.jail, directories: &directories })?;
    birth.report_jail(closed.layers());
    // A rule for Landlock is granted, not the descriptor by which it was named.
    drop(opened);
    let what = start.probe.context("it does nothing but probe")?;
    Ok(birth.probe(&what, sandbox::probe::attempt))
}
