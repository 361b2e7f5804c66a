//! A role with weaknesses in its jail: born, given its descriptors and jailed as the real one, but for the rules that [`harness::weak_jail`]
//! adds. It only probes: the cells of an audit show what they let through.

use std::{
    fs::File,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context, Result};
use harness::{
    home::ID,
    impostor,
    weak_jail::{self, Weakness},
};
use ipc::{Role, control::Grant};
use sandbox::{Jail, close};
use worker::{birth::Birth, control_link::Ending};

fn main() -> ExitCode {
    impostor::run(live)
}

fn live(role: Role, folder: &Path, birth: &Birth) -> Result<Ending> {
    let (start, mut grants) = birth.receive_start()?;
    let gateway = folder.parent().context("a home")?.join(ID);
    let weaknesses = weak_jail::read(folder)?;
    let granted = [Grant::LedgerDirectory, Grant::InboxDirectory, Grant::ReplayDirectory];
    let granted: Vec<OwnedFd> = granted.into_iter().filter_map(|grant| grants.take(grant).ok()).collect();
    drop(grants);
    let opened = weaknesses.iter().filter_map(|weakness| weakness.directory(&gateway)).map(File::open);
    let opened = opened.collect::<Result<Vec<_>, _>>()?;
    let policy = Weakness::all_in(role, &weaknesses)?;
    let directories: Vec<_> = granted.iter().map(AsFd::as_fd).chain(opened.iter().map(AsFd::as_fd)).collect();
    let closed = close(Jail { policy, spec: &start.jail, directories: &directories })?;
    birth.report_jail(closed.layers());
    // A rule for Landlock is granted, not the descriptor by which it was named.
    drop(opened);
    let what = start.probe.context("it does nothing but probe")?;
    Ok(birth.probe(&what, sandbox::probe::attempt))
}
