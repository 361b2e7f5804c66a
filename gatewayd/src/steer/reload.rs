//! `gatewayd reload`.

use crate::{
    admin::{
        client::{AdminError, give_order},
        wire::{AdminAnswer, Order, ReloadAnswer, ReloadReport},
    },
    console::Console,
    paths::{GatewayId, Root},
};

/// Why the configuration was not taken over.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The gateway cannot be told.
    #[error(transparent)]
    Running(#[from] AdminError),
    /// It is wrong.
    #[error("{0}\nThe old configuration stays in force; correct the file, and reload again")]
    Wrong(String),
    /// It changes what only a start can change.
    #[error(
        "nothing was changed, because a running gateway cannot change {}; restart the gateway to change it, or take these changes back \
         and reload again", .0.join(", ")
    )]
    NeedsStart(Vec<String>),
    /// A worker does not start with it.
    #[error("the old configuration is in force again: {0}; correct the file, and reload again")]
    Undone(String),
    /// The result could not be written as JSON.
    #[error("cannot write the result: {0}")]
    Json(#[from] serde_json::Error),
}

impl ReloadError {
    /// Whether the file has to be corrected first.
    pub const fn is_of_configuration(&self) -> bool {
        matches!(self, Self::Wrong(_))
    }
}

/// Has the gateway read its configuration again, and prints what has changed, or with `dry_run` what would.
///
/// # Errors
/// If the configuration was not taken over.
pub fn execute(
    id: &GatewayId,
    root: &Root,
    dry_run: bool,
    json: bool,
    console: &mut Console<'_>,
) -> Result<(), ReloadError> {
    let report = order(id, root, dry_run)?;
    if json {
        console.line(serde_json::to_string_pretty(&report)?);
    } else {
        print(&report, dry_run, console);
    }
    Ok(())
}

/// Has the gateway read its configuration again, or with `dry_run` say what that would do.
///
/// # Errors
/// If the configuration was not taken over, or would not be.
pub(super) fn order(id: &GatewayId, root: &Root, dry_run: bool) -> Result<ReloadReport, ReloadError> {
    match give_order(id, root, Order::Reload { dry_run })? {
        AdminAnswer::Reload(ReloadAnswer::Done(report)) => Ok(report),
        AdminAnswer::Reload(ReloadAnswer::Wrong(why)) => Err(ReloadError::Wrong(why)),
        AdminAnswer::Reload(ReloadAnswer::NeedsStart(what)) => Err(ReloadError::NeedsStart(what)),
        AdminAnswer::Reload(ReloadAnswer::Undone(why)) => Err(ReloadError::Undone(why)),
        other => Err(AdminError::of_other_answer(&other).into()),
    }
}

fn print(report: &ReloadReport, dry_run: bool, console: &mut Console<'_>) {
    let ReloadReport { changed, replaced, at_next_start, doubtful } = report;
    for doubt in doubtful {
        console.line(doubt);
    }
    if changed.is_empty() && replaced.is_empty() {
        console.line("Nothing in the configuration has changed.");
        return;
    }
    for change in changed {
        console.line(change);
    }
    let roles: Vec<&str> = replaced.iter().map(|role| role.name()).collect();
    match (&roles[..], dry_run) {
        ([], true) => console.line("No worker would be replaced."),
        ([], false) => console.line("No worker had to be replaced."),
        (roles, true) => console.line(format_args!("Would be replaced: {}. The others would go on.", roles.join(", "))),
        (roles, false) => console.line(format_args!("Replaced: {}. The others went on.", roles.join(", "))),
    }
    if !at_next_start.is_empty() {
        console.line(format_args!("In force from the next start only: {}.", at_next_start.join(", ")));
    }
}
